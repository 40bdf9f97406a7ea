"""The Chinese pages say what the English ones say, as far as a program can tell."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from tests.paths import ROOT

#: The pages that users read; the others are for people who change the code, in English.
PAGES = (
    "README.md", "docs/alerts.md", "docs/api.md", "docs/full-stack.md", "docs/metrics.md",
    "docs/models.md", "docs/monitor.md", "docs/notifications.md", "docs/reports.md",
    "docs/settings.md", "docs/traces.md",
)  # fmt: skip
MARK = re.compile(r"<!-- translated from ([\w./-]+) ([0-9a-f]{12}) -->")
GENERATED = re.compile(r"<!-- ([\w ]+): begin -->\n.*?<!-- \1: end -->", re.S)
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.M | re.S)


def chinese(page: str) -> Path:
    """Where a page's translation is."""
    if page == "README.md":
        return ROOT / "README.zh-CN.md"
    return ROOT / "docs" / "zh" / Path(page).name


def written(page: str) -> str:
    """What people wrote of an English page: all but its generated parts."""
    return GENERATED.sub("", (ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_it_was_translated_from_the_page_as_it_is(page: str) -> None:
    """A page that changed since is to be looked at; then the mark is set anew."""
    digest = hashlib.sha256(written(page).encode()).hexdigest()[:12]
    name = chinese(page).relative_to(ROOT)
    found = MARK.findall(chinese(page).read_text(encoding="utf-8"))
    assert found == [(page, digest)], (
        f"{page} has changed: bring {name} in step with it, then let its last line be "
        f"<!-- translated from {page} {digest} -->"
    )


@pytest.mark.parametrize("page", PAGES)
def test_it_is_built_as_the_page_is(page: str) -> None:
    """The same headings by level, and the same commands to type."""
    english = written(page)
    other = GENERATED.sub("", chinese(page).read_text(encoding="utf-8"))
    assert _levels(other) == _levels(english)
    assert [_commands(block) for block in BLOCK.findall(other)] == [
        _commands(block) for block in BLOCK.findall(english)
    ]


@pytest.mark.parametrize("page", PAGES)
def test_each_leads_to_the_other(page: str) -> None:
    """A reader of one finds the other."""
    if page == "README.md":
        assert "](README.zh-CN.md)" in (ROOT / page).read_text(encoding="utf-8")
        assert "](README.md)" in chinese(page).read_text(encoding="utf-8")
    else:
        assert f"](../{Path(page).name})" in chinese(page).read_text(encoding="utf-8")


def _levels(page: str) -> list[int]:
    return [len(found) for found in re.findall(r"^(#+) ", BLOCK.sub("", page), re.M)]


def _commands(block: str) -> list[str]:
    """Lines without their comments, which are translated."""
    return [line.partition("#")[0].strip() for line in block.splitlines()]
