"""What is generated says what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from run.generate import __main__ as command
from run.generate import generated
from run.generate.files import GENERATED
from run.generate.generated import Generated, table


@pytest.mark.parametrize("part", GENERATED, ids=lambda part: part.title)
def test_nothing_is_stale(part: Generated) -> None:
    """Every generated file, and part of one, is as `make generate` would write it."""
    assert not part.is_stale, f"{part.title} is stale: run `make generate`"


def test_check_names_what_is_stale_and_writing_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a person wrote around a section stays; the check says which file, and what to do."""
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    page = "Before.\n<!-- list: begin -->\n{}<!-- list: end -->\nAfter.\n"
    (tmp_path / "page.md").write_text(page.format("old\n"))
    made = (Generated("page.md", lambda: "new\n", "list"), Generated("all.txt", lambda: "whole"))
    monkeypatch.setattr(command, "GENERATED", made)
    assert command.main(["--check"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "page.md (list) is stale: run `make generate`",
        "all.txt is stale: run `make generate`",
    ]
    assert command.main([]) == 0
    assert (tmp_path / "page.md").read_text() == page.format("new\n")
    assert (tmp_path / "all.txt").read_text() == "whole\n"
    assert command.main(["--check"]) == 0


def test_what_is_made_of_another_is_written_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of a generated file is not stale once both were written."""
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    for name in ("made.txt", "copy.txt"):
        (tmp_path / name).write_text("old\n")
    copy = Generated("copy.txt", (tmp_path / "made.txt").read_text)
    monkeypatch.setattr(command, "GENERATED", (Generated("made.txt", lambda: "new"), copy))
    assert command.main([]) == 0
    assert (tmp_path / "copy.txt").read_text() == "new\n"


def test_a_section_needs_its_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that lost them is not rewritten, nor taken for up to date."""
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text("No marks.\n")
    with pytest.raises(ValueError, match=r"page\.md needs the lines"):
        assert Generated("page.md", str, "list").is_stale


def test_tables() -> None:
    """The first row is the head."""
    assert table(("a", "b"), ("1", "2")) == "| a | b |\n|---|---|\n| 1 | 2 |"
