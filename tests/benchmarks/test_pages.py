"""benchmarks.pages: a whole run of one visit each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import pages
from tests.security.proxies import program


def test_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each page is of use at some time and weighs something; a table, and JSON of all visits."""
    program("chromium")
    output = tmp_path / "pages.json"
    pages.main(["--rounds", "1", "--output", str(output)])
    visits = json.loads(output.read_text())["visits"]
    assert set(visits) == set(pages.PAGES)
    assert all(one["ms"] > 0 and one["kb"] > 10 for (one,) in visits.values())
    said = capsys.readouterr().out
    assert all(f"| `{path}` |" in said for path in pages.PAGES)
