"""`damoscope eval` with the bundled model on pictures of the examples."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.errors import ConfigurationError
from pipeline.settings import load
from run.cli import app, main
from run.evaluate.command import NothingSeen, run
from run.evaluate.options import EvalOptions
from tests.paths import ROOT
from worker.detect_files import run as detect

EXAMPLES = ROOT / "examples"
#: A name that would do harm in HTML, in Markdown and on a terminal.
NASTY = "<img src=x onerror=alert(1)>|\x1b[2J"


def settings(**changed: Any) -> Any:
    return load(threads=1, provider="cpu", **changed)


def wanted(data: Path, **changed: Any) -> EvalOptions:
    given: dict[str, Any] = {
        "part": None, "images": None, "pairs": [], "match_iou": 0.5, "false_alarms": 0.05,
        "output": None, "as_json": True, **changed,
    }  # fmt: skip
    return EvalOptions(data, **given)


def size() -> tuple[int, int]:
    with Image.open(EXAMPLES / "hand.jpg") as image:
        return image.size


@pytest.fixture(scope="module")
def boxes() -> list[list[float]]:
    """What the model finds on the hand: x1, y1, x2, y2."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert detect(settings(), [EXAMPLES / "hand.jpg"], as_json=True, save=None)
    found = json.loads(printed.getvalue())["detections"]
    assert found
    return [[each["box"][side] for side in ("x1", "y1", "x2", "y2")] for each in found]


@pytest.fixture
def data(tmp_path: Path, boxes: list[list[float]]) -> Path:
    """The hand with what is found on it as labels, a thing of another class, and nothing at all."""
    folder = tmp_path / "set"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    shutil.copy(EXAMPLES / "hand.jpg", folder / "images")
    width, height = size()
    rows = [
        f"1 {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} {(x2 - x1) / width} "
        f"{(y2 - y1) / height}"
        for x1, y1, x2, y2 in boxes
    ]
    (folder / "labels" / "hand.txt").write_text("\n".join(["0 0.5 0.5 0.1 0.1", *rows]))
    Image.new("RGB", (64, 48), "gray").save(folder / "images" / "plain.png")
    (folder / "data.yaml").write_text(
        "val: images\n" + json.dumps({"names": ["wallet " + NASTY, "Cell phone"]})[1:-1]
    )
    return folder


def test_what_it_finds_is_right(
    data: Path, tmp_path: Path, boxes: list[list[float]], capsys: pytest.CaptureFixture[str]
) -> None:
    """With its own boxes as labels, all is found at an AP of 1; the answer is the same for YOLO's
    labels and COCO's; an image that is none is counted and changes no figure."""
    pairs = ["cell phone=phone"]
    found = run(settings(), wanted(data, pairs=pairs)).figures
    printed = json.loads(capsys.readouterr().out)
    assert printed["figures"]["ap50"] == found.ap50 == 1.0
    assert found.ap == 1.0
    assert (found.at.recall.hits, found.at.recall.count) == (len(boxes), len(boxes))
    assert found.at.precision.share == 1.0
    assert (found.images, found.empty_images, found.at.alarms.hits) == (2, 1, 0)
    assert [one.name for one in found.classes] == ["phone (Cell phone)"]
    assert printed["data"]["left_out"] == ["wallet " + NASTY]

    for name in ("text.jpg", "short.jpg"):
        (data / "images" / name).write_bytes(b"no picture")
    again = run(settings(), wanted(data, pairs=pairs))
    assert [name for name, _ in again.data.failed] == ["images/short.jpg", "images/text.jpg"]
    assert again.figures == found

    width, height = size()
    coco = {
        "categories": [{"id": 9, "name": "phone"}],
        "images": [
            {"id": 1, "file_name": "hand.jpg", "width": width, "height": height},
            {"id": 2, "file_name": "plain.png", "width": 64, "height": 48},
            {"id": 3, "file_name": "other.png", "width": 640, "height": 480},
        ],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 9, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for n, (x1, y1, x2, y2) in enumerate(boxes)
        ],
    }
    shutil.copy(data / "images" / "plain.png", data / "images" / "other.png")
    (tmp_path / "all.json").write_text(json.dumps(coco))
    other = run(settings(), wanted(tmp_path / "all.json", images=data / "images"))
    assert other.data.failed == [
        ("other.png", "it is 64 x 48, and its annotations are for 640 x 480")
    ]
    assert other.figures.ap == found.ap
    assert other.figures.at == found.at


class Tags(HTMLParser):
    """The tags of a page, and the addresses in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]


def test_the_report(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three forms and the sheets; nothing is fetched from elsewhere, and names are only names."""
    # A threshold at which nothing is found, and then one at which anything is.
    output = tmp_path / "made" / "here"
    options = {"pairs": ["Cell phone=phone"], "output": output, "as_json": False}
    run(settings(score_threshold=0.999), wanted(data, **options))
    said = capsys.readouterr().out
    assert NASTY not in said
    assert "\x1b" not in said
    assert "recall     0.000 (0/" in said
    assert sorted(path.name for path in output.iterdir()) == [
        "missed.jpg", "report.html", "report.json", "report.md",
    ]  # fmt: skip
    page = (output / "report.html").read_text()
    tags = Tags(page)
    assert "script" not in tags.tags
    assert tags.tags.count("img") == 1
    assert [each[:23] for each in tags.addresses] == ["data:image/jpeg;base64,"]
    assert "&lt;img src=x onerror" in page
    assert "&lt;img src=x onerror" in (output / "report.md").read_text()
    missed = json.loads((output / "report.json").read_text())["missed"]
    assert missed[0]["image"] == "images/hand.jpg"

    run(settings(score_threshold=0.02), wanted(data, **options))
    with Image.open(output / "false.jpg") as sheet:
        assert sheet.size == (480, 240)


def test_only_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of images without labels there is no AP; false alarms are all that there is to count."""
    shutil.copy(EXAMPLES / "hand.jpg", tmp_path)
    report = run(settings(), wanted(tmp_path, as_json=False, output=tmp_path / "out"))
    assert report.figures.ap50 is None
    assert report.figures.at.alarms.hits == 1
    said = capsys.readouterr().out
    assert "There is no file of labels" in said
    assert "AP50       –" in said
    assert "false boxes an image</h1>" in (tmp_path / "out" / "report.html").read_text()


def test_nothing_can_be_looked_at(tmp_path: Path) -> None:
    """The first file and what is wrong with it."""
    (tmp_path / "a.jpg").write_bytes(b"%PDF-1.4")
    with pytest.raises(NothingSeen, match=r"none of the 1 images .* a\.jpg: this is a PDF"):
        run(settings(), wanted(tmp_path))


def test_numbers_beyond_the_models(tmp_path: Path) -> None:
    """Labels without names whose numbers the model does not have."""
    (tmp_path / "a.txt").write_text("3 0.5 0.5 1 1")
    shutil.copy(EXAMPLES / "hand.jpg", tmp_path / "a.jpg")
    with pytest.raises(ConfigurationError, match=r"class 3, and the model has 1; name"):
        run(settings(), wanted(tmp_path))


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2 with one line for what a user can mend; where the report cannot go is said first."""
    (tmp_path / "file").write_text("")
    for words, says in (
        (["--data", str(tmp_path / "gone")], "there is no such folder"),
        (["--data", str(EXAMPLES), "-o", str(tmp_path / "file")], "it is no folder"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(lambda words=words: app(["eval", *words], standalone_mode=False))  # type: ignore[misc]
        assert stopped.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line
