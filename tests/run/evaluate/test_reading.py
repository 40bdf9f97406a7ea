"""run.evaluate.reading: folders as Ultralytics, Roboflow and COCO have them, and broken ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigurationError
from run.evaluate import yolo
from run.evaluate.dataset import Dataset
from run.evaluate.reading import read


def touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def names(dataset: Dataset) -> list[str]:
    return [image.name for image in dataset.images]


def refused(data: Path, part: str | None = None, images: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as error:
        read(data, part, images)
    return str(error.value)


def test_images_and_labels(tmp_path: Path) -> None:
    """Boxes become corners; a polygon counts as the box around it; no file of labels: nothing."""
    touch(tmp_path / "images" / "a.jpg")
    touch(tmp_path / "images" / "b.PNG")
    touch(tmp_path / "images" / "notes.md")
    touch(tmp_path / "labels" / "a.txt", "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.1 0.3 0.1 0.3 0.4\n")
    touch(tmp_path / "classes.txt", "phone\nremote\n")
    found = read(tmp_path, None, None)
    assert (found.format, found.names) == ("YOLO", ("phone", "remote"))
    assert names(found) == ["images/a.jpg", "images/b.PNG"]
    one, two = found.images
    assert one.classes.tolist() == [1, 0]
    first, second = one.pixels(200, 100).tolist()
    assert first == pytest.approx([80, 30, 120, 70])
    assert second == pytest.approx([20, 10, 60, 40])
    assert len(two.boxes) == 0


def test_a_data_yaml(tmp_path: Path) -> None:
    """`test` before `val`, or the part that is asked for; a folder, a list of files, several."""
    for part in ("train", "val"):
        touch(tmp_path / "images" / part / f"{part}.jpg")
        touch(tmp_path / "labels" / part / f"{part}.txt", "0 0.5 0.5 1 1")
    touch(tmp_path / "list.txt", "images/train/train.jpg\n")
    touch(
        tmp_path / "data.yaml",
        "path: .\ntrain: list.txt\nval: images/val\nboth: [images/val, list.txt]\n"
        "names: {0: phone}\n",
    )
    assert names(read(tmp_path, None, None)) == ["images/val/val.jpg"]
    assert names(read(tmp_path / "data.yaml", "train", None)) == ["images/train/train.jpg"]
    assert len(read(tmp_path, "both", None).images) == 2
    assert "no part holdout: it has val, train" in refused(tmp_path, "holdout")


@pytest.mark.parametrize("entry", ["../valid/images", "/content/set-2/valid/images"])
def test_a_data_yaml_of_roboflow(tmp_path: Path, entry: str) -> None:
    """Its paths are those of another machine; the folders are beside the file."""
    touch(tmp_path / "valid" / "images" / "a.jpg")
    touch(tmp_path / "valid" / "labels" / "a.txt", "0 0.5 0.5 1 1")
    touch(tmp_path / "data.yaml", f"val: {entry}\nnc: 1\nnames: [phone]\n")
    found = read(tmp_path, None, None)
    assert [len(image.boxes) for image in found.images] == [1]


def test_only_images(tmp_path: Path) -> None:
    """Without any label they are images that show nothing, and that is known."""
    touch(tmp_path / "a.jpg")
    assert not read(tmp_path, None, None).labelled


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2 0.5 0.5 1 1", "class 2: the data name 2 classes, from 0 on"),
        ("-1 0.5 0.5 1 1", "class -1 is no number of a class"),
        ("0 320 240 64 48", "320 is outside of 0 to 1: labels are shares of the image"),
        ("0 nan 0.5 1 1", "is outside of 0 to 1"),
        ("0 0.5 0.5 0 1", "the box has no area inside the image"),
        ("0 0.5 0.5 1", "3 numbers follow the class, in place of x y width height"),
        ("0 0.5 0.5 1 1 0.9", "5 numbers follow the class"),
        ("phone 0.5 0.5 1 1", "'phone 0.5 0.5 1 1' is not numbers"),
        ("inf 0.5 0.5 1 1", "class inf is no number of a class"),
    ],
)
def test_a_broken_label(tmp_path: Path, line: str, says: str) -> None:
    """The message names file and line."""
    touch(tmp_path / "images" / "a.jpg")
    label = touch(tmp_path / "labels" / "a.txt", f"0 0.5 0.5 1 1\n{line}\n")
    touch(tmp_path / "classes.txt", "phone\nremote\n")
    said = refused(tmp_path)
    assert says in said
    assert f"{label}, line 2: " in said


def test_many_broken_labels_are_said_at_once(tmp_path: Path) -> None:
    """The first five, and how many more."""
    touch(tmp_path / "images" / "a.jpg")
    touch(tmp_path / "labels" / "a.txt", "0 7 7 7 7\n" * 12)
    assert "and 7 more" in refused(tmp_path)


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many objects of an image, and a file of labels that is too long, are refused."""
    touch(tmp_path / "images" / "a.jpg")
    label = touch(tmp_path / "labels" / "a.txt", "0 0.5 0.5 1 1\n" * 3)
    monkeypatch.setattr(yolo, "OBJECTS_MAX", 2)
    assert "more than the 2 objects allowed" in refused(tmp_path)
    monkeypatch.setattr(yolo, "LABELS_BYTES_MAX", 10)
    assert f"{label}: 42 bytes are more than the 10 allowed" in refused(tmp_path)
    label.write_bytes(b"\xff\xff")
    assert "not text in UTF-8" in refused(tmp_path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: None, "no images in"),
        (lambda folder: touch(folder / "labels" / "a.txt", "0 0.5 0.5 1 1"), "no images in"),
        (lambda folder: touch(folder / "data.yaml", "val: [\n"), "not readable as YAML"),
        (lambda folder: touch(folder / "data.yaml", "- 1"), "not a data.yaml"),
        (lambda folder: touch(folder / "data.yaml", "val: gone\nnames: [a]"),
         "gone: no such folder, and no list of images"),
        (lambda folder: touch(folder / "data.yaml", "names: {1: a}"), "not numbered 0 to 0"),
        (lambda folder: touch(folder / "data.yaml", "val: l.txt") and
         touch(folder / "l.txt", "gone.jpg\n"), "gone.jpg: no such image"),
        (lambda folder: touch(folder / "annotations" / "a.json", "{"), "not readable as JSON"),
        (lambda folder: touch(folder / "annotations" / "a.json", "[]"),
         "no annotations of COCO: there is no list of images and annotations and categories"),
        (lambda folder: [touch(folder / "annotations" / name, "{}") for name in
                         ("instances_a.json", "instances_b.json")],
         "several files of annotations: instances_a.json, instances_b.json"),
    ],
)  # fmt: skip
def test_a_folder_that_is_none(tmp_path: Path, make: Callable[[Path], Any], says: str) -> None:
    """One clear line about what is missing."""
    make(tmp_path)
    assert says in refused(tmp_path)


def test_what_is_no_data(tmp_path: Path) -> None:
    """A folder that is not there, and a file of another kind."""
    assert "there is no such folder" in refused(tmp_path / "gone")
    assert "neither a folder" in refused(touch(tmp_path / "a.zip"))


def annotations(**changed: Any) -> dict[str, Any]:
    """One image of 200 x 100 with a phone and a crowd; ids that begin anywhere."""
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}],
        "categories": [{"id": 77, "name": "cell phone"}, {"id": 3, "name": "cup"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 77, "bbox": [10, 20, 30, 40], "area": 900},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 20, 20], "iscrowd": 1},
        ],
        **changed,
    }


@pytest.mark.parametrize(
    ("file", "image"),
    [
        ("annotations/instances_val2017.json", "val2017/a.jpg"),
        ("annotations/any.json", "images/a.jpg"),
        ("_annotations.coco.json", "a.jpg"),
    ],
)
def test_annotations_of_coco(tmp_path: Path, file: str, image: str) -> None:
    """The images are found where COCO, its tools and Roboflow put them."""
    touch(tmp_path / file, json.dumps(annotations()))
    touch(tmp_path / image)
    found = read(tmp_path, None, None)
    assert (found.format, found.names) == ("COCO", ("cell phone", "cup"))
    (one,) = found.images
    assert one.classes.tolist() == [0, 1]
    assert one.boxes.tolist() == [[10, 20, 40, 60], [0, 0, 20, 20]]
    assert one.size == (200, 100)
    assert one.areas is not None
    assert one.areas.tolist() == [900, 400]
    assert one.crowds is not None
    assert one.crowds.tolist() == [False, True]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"annotations": [{"id": 1, "image_id": 8, "category_id": 3, "bbox": [0, 0, 1, 1]}]},
         "annotation 1: image_id 8 is no image of this file"),
        ({"annotations": [{"id": 1, "image_id": 7, "category_id": 4, "bbox": [0, 0, 1, 1]}]},
         "annotation 1: category_id 4 is no category of this file"),
        ({"annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [300, 0, 9, 9]}]},
         "has no area inside 200 x 100"),
        ({"annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, "x", 9, 9]}]},
         "annotation 1: could not convert"),
        ({"annotations": [7, {"image_id": {}}]}, "image_id 7 is no image"),
        ({"images": []}, "no images"),
        ({"images": [{"id": 7, "file_name": "../a.jpg", "width": 2, "height": 1}]},
         "'../a.jpg' is no file below the folder of images"),
        ({"images": [{"id": 7, "file_name": "a.jpg", "width": "2", "height": 1}]}, "is no size"),
        ({"images": [{"file_name": "a.jpg"}]}, "an image without id, file_name, width and height"),
        ({"images": [{"id": 7, "file_name": "gone.jpg", "width": 200, "height": 100}]},
         "gone.jpg is in none of"),
        ({"categories": [{"name": "cup"}]}, "a category without an id and a name"),
        ({"categories": []}, "the categories have no ids of their own"),
    ],
)  # fmt: skip
def test_broken_annotations(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    """The message names what is wrong."""
    touch(tmp_path / "a.jpg")
    assert says in refused(touch(tmp_path / "all.json", json.dumps(annotations(**changed))))


def test_an_image_that_is_gone(tmp_path: Path) -> None:
    """It is named; the folder of the images may be given."""
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 200, "height": 100} for n in (7, 8)]
    file = touch(tmp_path / "all.json", json.dumps(annotations(images=images)))
    touch(tmp_path / "elsewhere" / "7.jpg")
    assert "8.jpg: no such image" in refused(file, images=tmp_path / "elsewhere")
