"""frontend.language: English or Chinese, as the browser has it."""

from __future__ import annotations

import pytest

from frontend.language import language


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("zh", "zh"), ("ZH-tw", "zh"), ("en-US,zh", "en"),
     ("fr", "en"), ("", "en"), (None, "en"), ("zha", "en")],
)  # fmt: skip
def test_the_language_of_a_browser(accepted: str | None, expected: str) -> None:
    """The browser's first language decides, as it does in the browser itself."""
    assert language(accepted) == expected
