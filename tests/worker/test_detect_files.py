"""worker.detect_files: files on the command line get the service's checks and answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.errors import InvalidParameter
from pipeline.settings import load
from pipeline.tiles import grid_for
from tests.paths import ROOT
from tests.worker.pictures import as_png
from worker.detect_files import run

EXAMPLE = ROOT / "examples" / "hand.jpg"


def answers(
    files: list[Path], capsys: pytest.CaptureFixture[str], tiles: str | None = None
) -> tuple[bool, list[dict[str, Any]], str]:
    good = run(load(threads=1, provider="cpu"), files, as_json=True, save=None, tiles=tiles)
    printed = capsys.readouterr()
    return good, [json.loads(line) for line in printed.out.splitlines()], printed.err


@pytest.mark.parametrize("factor", [1, 2.5])
def test_a_picture_in_two_formats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], factor: float
) -> None:
    """What a JPEG gives, its pixels give as a PNG, within 0.01 of a score; names do not matter."""
    jpeg, png = tmp_path / "a.jpg", tmp_path / "b.jpg"
    png.write_bytes(as_png(EXAMPLE, jpeg, factor))
    good, (one, two), _ = answers([jpeg, png], capsys)
    assert good
    assert one["detections"]
    assert [found["label"] for found in one["detections"]] == [
        found["label"] for found in two["detections"]
    ]
    for found, other in zip(one["detections"], two["detections"], strict=True):
        assert found["score"] == pytest.approx(other["score"], abs=0.01)


def test_what_the_service_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file is refused by its header in the same words as an upload; the next one is done."""
    document, cut = tmp_path / "a.jpg", tmp_path / "b.jpg"
    document.write_bytes(b"%PDF-1.4 ...")
    cut.write_bytes(EXAMPLE.read_bytes()[:20_000])
    good, found, said = answers([document, cut, EXAMPLE], capsys)
    assert not good
    assert [Path(each["image"]).name for each in found] == [EXAMPLE.name]
    assert f"{document}: this is a PDF, not a photograph" in said
    assert f"{cut}: the JPEG is cut short" in said


def test_labels(capsys: pytest.CaptureFixture[str]) -> None:
    """Only those that are asked for are told, in any case; one that the model has not is refused
    before anything is looked at."""
    settings = load(threads=1, provider="cpu")
    assert run(settings, [EXAMPLE], as_json=True, save=None, labels=["PHONE"])
    (found,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert {each["label"] for each in found["detections"]} == {"phone"}
    with pytest.raises(InvalidParameter, match="no model here knows 'book'; it knows phone"):
        run(settings, [EXAMPLE], as_json=True, save=None, labels=["phone", "book"])
    assert capsys.readouterr().out == ""


def test_in_tiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many as the service would take, which the answer says; a small image has none, and what
    is too many is said of that file alone."""
    small = tmp_path / "small.png"
    Image.new("RGB", (300, 200)).save(small)
    good, (one, other), _ = answers([EXAMPLE, small], capsys, "auto")
    assert good
    with Image.open(EXAMPLE) as opened:
        assert one["tiles"] == str(grid_for("auto", *opened.size, 64))
    assert "tiles" not in other
    good, (one,), said = answers([small, EXAMPLE], capsys, "9x2")
    assert (good, one["tiles"]) == (False, "9x2")
    assert f"{small}: tiles: 9x2 would be tiles of less than 64 pixels a side" in said
