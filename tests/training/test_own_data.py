"""training.own_data and plots: data of one's own, without PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import ConfigurationError
from training import plots
from training.own_data import read_own
from training.plan import PHONE, UNSURE, class_of, is_thing, kind_of


def image(path: Path, label: str | None = None) -> None:
    """A grey image of 80 x 40, with labels where they belong."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((40, 80, 3), 99, np.uint8))
    if label is not None:
        text = Path(str(path.with_suffix(".txt")).replace("images", "labels"))
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(label)


def test_kinds_are_classes() -> None:
    """A class is turned into what a plan calls it, and back; what may or may not be one is none."""
    classes = np.array([0, 1, 2, 79])
    kinds = kind_of(classes)
    assert kinds.tolist() == [PHONE, 3, 4, 81]
    assert class_of(kinds).tolist() == classes.tolist()
    assert is_thing(kinds).all()
    assert not is_thing(np.array([0, UNSURE])).any()


def test_parts_of_a_yolo_set(tmp_path: Path) -> None:
    """`train` is trained on, `val` validated on; boxes are shares there, and pixels here."""
    image(tmp_path / "images" / "train" / "a.jpg", "1 0.5 0.5 0.5 0.5\n0 0.25 0.25 0.5 0.5")
    image(tmp_path / "images" / "train" / "empty.jpg")
    image(tmp_path / "images" / "val" / "b.jpg", "1 0.5 0.5 0.5 0.5")
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cup, phone]")
    own = read_own(tmp_path, None)
    assert own.names == ("cup", "phone")
    assert [path.name for path in own.data.pictures] == ["a.jpg", "empty.jpg"]
    assert own.data.groups == [[], [[0]], [[1]]]
    assert own.data.labels[0].kinds.tolist() == [3, PHONE]
    assert own.data.labels[0].boxes[0].tolist() == [0.25, 0.25, 0.75, 0.75]
    assert own.shares == (0.0, 0.7, 0.3)
    (sample,) = own.data.validated["photographs"]
    assert sample.boxes.tolist() == [[20, 10, 60, 30]]
    assert sample.of_class(1).tolist() == [[20, 10, 60, 30]]
    assert sample.of_class(0).tolist() == []


def test_without_a_part_to_validate_on(tmp_path: Path) -> None:
    """Some images are kept apart by their names, the same ones each time, and that is said."""
    for number in range(30):
        image(tmp_path / "images" / f"{number}.jpg", "0 0.5 0.5 0.5 0.5")
    (tmp_path / "classes.txt").write_text("phone\n")
    own, again = read_own(tmp_path, None), read_own(tmp_path, None)
    apart = {sample.path for sample in own.data.validated["photographs"]}
    assert apart == {sample.path for sample in again.data.validated["photographs"]}
    assert 1 <= len(apart) <= 15
    assert len(own.data.pictures) == 30 - len(apart)
    assert not apart & set(own.data.pictures)
    assert "one image in 5" in own.notes[0]


def test_crowds_of_coco_are_unsure(tmp_path: Path) -> None:
    """They are neither trained for nor validated on."""
    for part in ("train", "val"):
        image(tmp_path / f"{part}2017" / f"{part}.jpg")
        content = {
            "images": [{"id": 1, "file_name": f"{part}.jpg", "width": 80, "height": 40}],
            "categories": [{"id": 67, "name": "phone"}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 67, "bbox": [8, 4, 16, 8]},
                {"id": 2, "image_id": 1, "category_id": 67, "bbox": [0, 0, 80, 40], "iscrowd": 1},
            ],
        }
        (tmp_path / "annotations").mkdir(exist_ok=True)
        file = tmp_path / "annotations" / f"instances_{part}2017.json"
        file.write_text(json.dumps(content))
    own = read_own(tmp_path, None)
    assert own.data.labels[0].kinds.tolist() == [PHONE, UNSURE]
    assert own.data.labels[0].boxes[0] == pytest.approx([0.1, 0.1, 0.3, 0.3])
    assert len(own.data.validated["photographs"][0].boxes) == 1


def test_only_some_classes(tmp_path: Path) -> None:
    """What else is there is not seen; of images that then show nothing, as many are taken as show
    something."""
    for number in range(6):
        image(tmp_path / "images" / "train" / f"cup{number}.jpg", "0 0.5 0.5 1 1")
    for number in range(2):
        image(
            tmp_path / "images" / "train" / f"phone{number}.jpg", "0 0.2 0.2 0.1 0.1\n1 0.5 0.5 1 1"
        )
    image(tmp_path / "images" / "val" / "b.jpg", "1 0.5 0.5 0.5 0.5")
    (tmp_path / "classes.txt").write_text("cup\ncell phone")
    own = read_own(tmp_path, None, ["Cell phone"])
    assert own.names == ("Cell phone",)
    assert [len(group) for group in own.data.groups] == [0, 2, 2]
    shown = [one for one in own.data.labels if len(one.boxes)]
    assert [one.kinds.tolist() for one in shown] == [[PHONE], [PHONE]]
    assert own.notes[1] == "4 images that show nothing are left out"
    with pytest.raises(ConfigurationError, match="no class 'phone' in the data; they have cup"):
        read_own(tmp_path, None, ["phone"])


@pytest.mark.parametrize(
    ("names", "label", "says"),
    [
        (None, "0 0.5 0.5 1 1", "the data name no classes: list them in classes.txt"),
        ("phone", None, "no image has a label: there is nothing to learn"),
        ("\n".join(map(str, range(251))), "0 0.5 0.5 1 1", "more than 250 classes"),
        ("phone", "0 5 5 1 1", "outside of 0 to 1"),
    ],
)
def test_what_nothing_can_be_learnt_from(
    tmp_path: Path, names: str | None, label: str | None, says: str
) -> None:
    """One line that says why."""
    image(tmp_path / "images" / "a.jpg", label)
    if names:
        (tmp_path / "classes.txt").write_text(names)
    with pytest.raises(ConfigurationError, match=says):
        read_own(tmp_path, None)


def test_broken_labels_to_validate_on(tmp_path: Path) -> None:
    """They are said, and not passed over as if there were no such part."""
    image(tmp_path / "images" / "train" / "a.jpg", "0 0.5 0.5 1 1")
    image(tmp_path / "images" / "val" / "b.jpg", "0 5 5 1 1")
    (tmp_path / "classes.txt").write_text("phone")
    with pytest.raises(ConfigurationError, match="outside of 0 to 1"):
        read_own(tmp_path, None)


def test_nothing_is_trained_and_validated_on(tmp_path: Path) -> None:
    """The image that would be is named; other classes to validate on are refused, too."""
    image(tmp_path / "a" / "images" / "a.jpg", "0 0.5 0.5 1 1")
    (tmp_path / "a" / "classes.txt").write_text("phone")
    image(tmp_path / "b" / "images" / "b.jpg", "0 0.5 0.5 1 1")
    (tmp_path / "b" / "classes.txt").write_text("cup")
    with pytest.raises(ConfigurationError, match=r"a\.jpg: it is to be trained and validated on"):
        read_own(tmp_path / "a", tmp_path / "a")
    with pytest.raises(ConfigurationError, match="its classes are"):
        read_own(tmp_path / "a", tmp_path / "b")


def test_the_course_of_an_interrupted_training(tmp_path: Path) -> None:
    """Of steps that were done twice the later counts; a line that was cut off is left out."""
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"step": 20, "loss": 2.0}\n{"step": 40, "loss": 9}\n{"step": 40, "loss": 1.0}\n'
        '{"step": 40, "photographs": 0.5}\n{"step": 60, "lo'
    )
    entries = plots.read_log(log)
    assert [entry["loss"] for entry in entries if "loss" in entry] == [2.0, 1.0]
    text = plots.course(entries, 100)
    assert text.count("<path") == 2
    assert "M180.0 28.0 L308.0 118.0" in text
    assert plots.read_log(tmp_path / "none") == []
