"""Labels as COCO has them: one JSON file of images, categories and annotations."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigurationError
from run.evaluate.dataset import (
    ANNOTATIONS_BYTES_MAX,
    OBJECTS_MAX,
    Dataset,
    LabelledImage,
    Problems,
    counted,
)

PARTS = ("images", "annotations", "categories")


def read(annotations: Path, images: Path | None) -> Dataset:
    """The images of a file of annotations; `images` is their folder where they lie elsewhere.

    Raises ConfigurationError saying what is wrong.
    """
    content = _content(annotations)
    names, numbers = _categories(content["categories"], annotations)
    counted(content["images"], annotations)
    problems = Problems(annotations)
    entries: dict[Any, dict[str, Any]] = {}
    for entry in content["images"]:
        if wrong := _wrong_image(entry, entries):
            problems.add(wrong)
        else:
            entries[entry["id"]] = entry
    objects: dict[Any, list[list[float]]] = {number: [] for number in entries}
    for annotation in content["annotations"]:
        try:
            image = _member(annotation, "image_id", objects, "image")
            number = _member(annotation, "category_id", numbers, "category")
            objects[image].append([number, *_box(annotation, entries[image])])
            if len(objects[image]) > OBJECTS_MAX:
                raise ValueError(f"more than the {OBJECTS_MAX:,} objects allowed in image {image}")
        except (TypeError, ValueError) as error:
            shown = annotation.get("id", "?") if isinstance(annotation, dict) else "?"
            problems.add(f"annotation {shown}: {error}")
    problems.check()
    folder = _folder(annotations, next(iter(entries.values()))["file_name"], images)
    for entry in entries.values():
        if not (folder / entry["file_name"]).is_file():
            problems.add(f"{folder / entry['file_name']}: no such image")
    problems.check()
    found = [_labelled(entry, objects[number], folder) for number, entry in entries.items()]
    return Dataset(folder, "COCO", names, found)


def _content(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > ANNOTATIONS_BYTES_MAX:
            raise ConfigurationError(f"{path}: more than {ANNOTATIONS_BYTES_MAX:,} bytes")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not readable as JSON: {error}") from error
    missing = [
        part for part in PARTS
        if not isinstance(content, dict) or not isinstance(content.get(part), list)
    ]  # fmt: skip
    if missing:
        raise ConfigurationError(
            f"{path}: no annotations of COCO: there is no list of {' and '.join(missing)}"
        )
    found: dict[str, Any] = content
    return found


def _categories(entries: list[Any], path: Path) -> tuple[tuple[str, ...], dict[Any, int]]:
    """Names of the classes, and which of them each id is."""
    try:
        numbers = {entry["id"]: number for number, entry in enumerate(entries)}
        names = tuple(str(entry["name"]) for entry in entries)
    except (KeyError, TypeError) as error:
        raise ConfigurationError(f"{path}: a category without an id and a name") from error
    if not names or len(numbers) < len(names):
        raise ConfigurationError(f"{path}: the categories have no ids of their own")
    return names, numbers


def _wrong_image(entry: Any, known: dict[Any, dict[str, Any]]) -> str:
    """What is wrong with an entry of `images`; nothing where nothing is."""
    try:
        name, width, height = entry["file_name"], entry["width"], entry["height"]
        if entry["id"] in known:
            return f"image {entry['id']}: there are two of this id"
    except (KeyError, TypeError):
        return f"an image without id, file_name, width and height: {str(entry)[:80]}"
    if (
        not isinstance(name, str)
        or not name
        or Path(name).is_absolute()
        or ".." in Path(name).parts
    ):
        return f"image {entry['id']}: {name!r} is no file below the folder of images"
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
        return f"image {entry['id']}: {width!r} x {height!r} is no size"
    return ""


def _member(annotation: Any, key: str, known: dict[Any, Any], what: str) -> Any:
    if not isinstance(annotation, dict) or annotation.get(key) not in known:
        shown = annotation.get(key) if isinstance(annotation, dict) else annotation
        raise ValueError(f"{key} {shown!r} is no {what} of this file")
    value = annotation[key]
    return known[value] if what == "category" else value


def _box(annotation: dict[str, Any], image: dict[str, Any]) -> list[float]:
    """xyxy in pixels, whether it is a crowd, and the area that COCO gives."""
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise ValueError(f"bbox {box!r} is not x, y, width, height")
    x, y, width, height = map(float, box)
    x1, x2 = max(x, 0.0), min(x + width, float(image["width"]))
    y1, y2 = max(y, 0.0), min(y + height, float(image["height"]))
    if not all(map(math.isfinite, (x, y, width, height))) or x2 <= x1 or y2 <= y1:
        raise ValueError(f"bbox {box} has no area inside {image['width']} x {image['height']}")
    area = annotation.get("area")
    if not isinstance(area, int | float) or not 0 < area < math.inf:
        area = (x2 - x1) * (y2 - y1)
    return [x1, y1, x2, y2, float(bool(annotation.get("iscrowd"))), float(area)]


def _folder(annotations: Path, first: str, given: Path | None) -> Path:
    """Where the images are: beside the file, or where COCO and its tools put them."""
    beside, above = annotations.parent, annotations.parent.parent
    part = annotations.stem.rpartition("_")[2]  # instances_val2017.json
    tried = [given] if given else [
        beside, beside / "images", beside / "data", above / "images", above / part,
        above / "images" / part, above,
    ]  # fmt: skip
    for each in tried:
        if (each / first).is_file():
            return each
    raise ConfigurationError(
        f"{annotations}: {first} is in none of {', '.join(map(str, tried))}; name the folder of "
        "the images with --images"
    )


def _labelled(entry: dict[str, Any], rows: list[list[float]], folder: Path) -> LabelledImage:
    table = np.array(rows, np.float64).reshape(-1, 7)
    return LabelledImage(
        path=folder / entry["file_name"],
        name=entry["file_name"],
        classes=table[:, 0].astype(np.int64),
        boxes=table[:, 1:5],
        size=(entry["width"], entry["height"]),
        crowds=table[:, 5] > 0,
        areas=table[:, 6],
    )
