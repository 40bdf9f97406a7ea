"""models.catalogue: the models that can be had by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from models import BUNDLED
from models.catalogue import catalogue, read
from models.coco import COCO
from models.names import checked_name, is_name
from tests.paths import ROOT
from worker.model import loading

GOOD = """
[[models]]
name = "good"
about = { en = "x", zh = "y" }
licence = "MIT"
address = "https://example.org/good.onnx"
git_blob = "28028c3167762036f820360489bbc8e046bbd17a"
classes = ["phone"]
input_size = [64, 64]
score_threshold = 0.4
iou_threshold = 0.7
"""


def test_the_catalogue_that_ships() -> None:
    """One model ships; the others are pinned by commit and git blob id, under a licence."""
    found = catalogue()
    (shipped,) = (model for model in found.values() if model.bundled_file)
    assert shipped.bundled_file == BUNDLED
    for model in found.values():
        assert model.licence == "Apache-2.0"
        if model is not shipped:
            assert model.address
            assert model.git_blob
            commit = model.address.split("/")[5]
            assert len(commit) == 40
            assert set(commit) <= set("0123456789abcdef")
            assert model.labels == COCO
            assert "cell phone" in model.labels


def test_the_bundled_model_has_its_name_in_the_file() -> None:
    """Results name the bundled model as the catalogue does."""
    (name,) = (name for name, model in catalogue().items() if model.bundled_file)
    assert loading.load(BUNDLED).metadata["damoscope.name"] == name


def test_the_catalogue_says_of_the_bundled_model_what_its_file_says() -> None:
    """Classes, input size and thresholds, for who cannot read the file."""
    (known,) = (model for model in catalogue().values() if model.bundled_file)
    said = loading.load(BUNDLED).metadata
    assert list(known.labels) == json.loads(said["damoscope.labels"])
    assert list(known.input_size or ()) == json.loads(said["damoscope.input_size"])
    assert known.score_threshold == float(said["damoscope.score_threshold"])
    assert known.iou_threshold == float(said["damoscope.iou_threshold"])


def test_the_card_says_the_same() -> None:
    """The figures that the pages show of the bundled model are those of its card."""
    text = (ROOT / "models" / "README.md").read_text()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()
             if line.startswith("|")]  # fmt: skip
    rows = {row[0]: row[1:] for row in cells}
    (card,) = (model.card for model in catalogue().values() if model.card)
    assert card.source == "models/README.md"
    assert f"`{card.score_threshold}`" in rows["`damoscope.score_threshold`"][0]
    shown, empty = card.judged
    ap50, ap, precision, recall = shown.figures
    assert rows["photographs with phones"][:6] == [
        str(shown.images), str(shown.objects), f"{ap50.value} ({ap50.low} to {ap50.high})",
        str(ap.value), str(precision.value), f"{recall.value:.2f}",
    ]  # fmt: skip
    (false,) = empty.figures
    said = (
        f"On {empty.images} photographs without a phone it puts {false.value} false boxes an image"
    )
    assert said in text
    sizes = [f"{each.found}/{each.objects}" for each in card.by_size]
    assert [row[1].split()[0] for row in cells if re.fullmatch(r"\d+/\d+.*", row[1])] == sizes
    assert sum(each.objects for each in card.by_size) == shown.objects


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('name = "good"', 'name = "../good"'), "is no name for a model"),
        (("https://", "http://"), "address"),
        (("28028c31", "xxxxxxxx"), "git_blob"),
        (("[64, 64]", "[60, 64]"), "multiple of 32"),
        (("0.4", "1.4"), "score_threshold"),
        (('git_blob = "28028c3167762036f820360489bbc8e046bbd17a"\n', ""), "all that is known"),
        (("input_size = [64, 64]\n", ""), "all that is known"),
        (('licence = "MIT"', 'licence = "MIT"\nfile = "a.onnx"'), "fetched from nowhere"),
        (('zh = "y" }', 'zh = "y" }\nsize = 3'), "size"),
        (("", GOOD), "stands there twice"),
    ],
)  # fmt: skip
def test_entries_are_checked(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    """A catalogue with a mistake is refused, with what is wrong."""
    path = tmp_path / "catalogue.toml"
    path.write_text(GOOD)
    assert list(read(path)) == ["good"]
    path.write_text(GOOD.replace(*change, 1))
    with pytest.raises(ValueError, match=says):
        read(path)


@pytest.mark.parametrize("name", ["a", "damoyolo-s", "x.1", "a_b", "7", "a" * 64])
def test_names(name: str) -> None:
    """Names are short slugs."""
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".a", "a/", "a/b", "A", "a b", "-a", "a-", "a" * 65, "a.onnx", "a.pt", "a.pth",
     "a\n", "é", "a\0", "model.json"],
)  # fmt: skip
def test_what_is_no_name(name: str) -> None:
    """Paths, files, and what a shell or another system takes for something else."""
    assert not is_name(name)


def test_coco_is_said_once() -> None:
    """NOTICE names the file with COCO's class names."""
    assert "models/coco.py" in (ROOT / "NOTICE").read_text()
