"""frontend.api.preferences: the field `Prefer` as RFC 7240 has it."""

from __future__ import annotations

import pytest

from frontend.api.preferences import Preferences, read


@pytest.mark.parametrize(
    ("lines", "respond_async", "wait_s"),
    [
        ([], False, None),
        (["respond-async"], True, None),
        (["Respond-Async"], True, None),
        (['respond-async=""'], True, None),
        (["respond-async; reason=hurry"], True, None),
        (["respond-async, wait=5"], True, 5),
        (["wait=5, respond-async"], True, 5),
        (["respond-async", "wait=5"], True, 5),
        (['WAIT = "5"'], False, 5),
        (["wait=5;x=1 ; y"], False, 5),
        (["wait=5, wait=9"], False, 5),
        ([", ,wait=5,,"], False, 5),
        (['foo="respond-async, wait=5"'], False, None),
        (['foo="a\\", wait=7", wait=3'], False, 3),
        (["wait=-1"], False, None),
        (["wait=1.5"], False, None),
        (["wait=x, respond-async"], True, None),
        (["wait=٣"], False, None),
        (["wait"], False, None),
        (["respond-async=no"], False, None),
        (["not-respond-async"], False, None),
        (["respond-async-later"], False, None),
        (["@@@, respond-async"], True, None),
        (['foo="unclosed, respond-async'], True, None),
        (["x" * 5000 + ", respond-async"], False, None),
    ],
)
def test_what_is_read(lines: list[str], respond_async: bool, wait_s: int | None) -> None:
    """Names in any case, values quoted or not, several lines as one list, the first of two; what
    cannot be read is passed over."""
    assert read(lines) == Preferences(respond_async, wait_s)


@pytest.mark.parametrize("text", ["; " * 500, '"\\' * 500, "a=;" * 300, "a " * 500, 'a="' * 300])
def test_rubbish(text: str) -> None:
    """What is made to take a parser long is passed over like anything else."""
    assert read([text]) == Preferences()
