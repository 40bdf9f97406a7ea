"""The Chinese pages say what the English ones say, as far as a program can tell."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from pipeline.settings import Settings, variable
from telemetry.catalogue import METRICS, SPANS
from tests.paths import ROOT

#: The pages that users read; the others are for people who change the code, in English.
PAGES = (
    "README.md", "docs/alerts.md", "docs/api.md", "docs/detect.md", "docs/full-stack.md",
    "docs/kubernetes.md", "docs/metrics.md", "docs/models.md", "docs/monitor.md",
    "docs/notifications.md", "docs/reports.md", "docs/settings.md", "docs/slo.md", "docs/traces.md",
)  # fmt: skip
MARK = re.compile(r"<!-- translated from ([\w./-]+) ([0-9a-f]{12}) -->")
GENERATED = re.compile(r"<!-- ([\w ]+): begin -->\n.*?<!-- \1: end -->", re.S)
#: Tables that are made from the code in English, and that people keep in Chinese.
TABLES = {
    "settings": "docs/settings.md",
    "OpenTelemetry": "docs/settings.md",
    "metrics": "docs/metrics.md",
    "spans": "docs/traces.md",
    "attributes": "docs/traces.md",
    "servers": "docs/full-stack.md",
}
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


@pytest.mark.parametrize("table", TABLES)
def test_its_tables_have_the_rows_of_those_that_are_made_from_the_code(table: str) -> None:
    """The same names in the same order, and in each row all code of the English one: defaults,
    choices, queries."""
    (made,) = (
        found[0]
        for found in GENERATED.finditer((ROOT / TABLES[table]).read_text(encoding="utf-8"))
        if found[1] == table
    )
    rows = _rows(chinese(TABLES[table]).read_text(encoding="utf-8"))
    english = _rows(made)
    assert [name for name in rows if name in english] == list(english)
    missing = {
        name: left for name, codes in english.items() if (left := set(codes) - set(rows[name]))
    }
    assert missing == {}


def test_the_simulated_day_has_the_figures_of_the_english_page() -> None:
    """The benchmark writes its table into the English page alone."""

    def figures(page: str) -> list[list[str]]:
        """The numbers of each row about workers: six cells, the first of which names them."""
        rows = [line.split("|")[2:-1] for line in page.splitlines() if line.count("|") == 7]
        return [re.findall(r"\d[\d.,]*", "|".join(row)) for row in rows[2:]]

    english = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    (made,) = (found[0] for found in GENERATED.finditer(english) if found[1] == "autoscaling")
    found = figures(chinese("docs/kubernetes.md").read_text(encoding="utf-8"))
    assert found == figures(made)
    assert found


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("docs/settings.md", [variable(name) for name in Settings.model_fields]),
        ("docs/metrics.md", list(METRICS)),
        ("docs/traces.md", list(SPANS)),
    ],
)
def test_it_has_a_row_for_all_there_is(page: str, names: list[str]) -> None:
    """Every setting, metric and span is in the Chinese page, whatever the English one has."""
    assert names
    assert set(names) <= set(_rows(chinese(page).read_text(encoding="utf-8")))


def _rows(page: str) -> dict[str, list[str]]:
    """The code spans of each table row, by the first of them, where the row begins with one."""
    rows = (line for line in page.splitlines() if line.startswith("| `"))
    return {codes[0]: codes for codes in (re.findall(r"`([^`]+)`", row) for row in rows)}


def _levels(page: str) -> list[int]:
    return [len(found) for found in re.findall(r"^(#+) ", BLOCK.sub("", page), re.M)]


def _commands(block: str) -> list[str]:
    """Lines without their comments, which are translated."""
    return [line.partition("#")[0].strip() for line in block.splitlines()]
