"""Labels as YOLO has them: a text file for each image, a row `class x y width height` an object.

Where things are follows Ultralytics: `data.yaml` names the classes and the parts (`val`, `test`,
...), and the labels of .../images/a.jpg are in .../labels/a.txt. An image without a file of labels
shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.errors import ConfigurationError
from run.evaluate.dataset import (
    LABELS_BYTES_MAX,
    LIST_BYTES_MAX,
    OBJECTS_MAX,
    SUFFIXES,
    Dataset,
    LabelledImage,
    NoSuchPart,
    Problems,
    below,
    bounded,
    counted,
)

#: Files that name the classes, one a line, below the data's folder.
NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt")
#: Which part is taken where none is asked for: what is kept apart to judge by.
PARTS = ("test", "val", "valid", "train")
#: How far beyond the image a box may reach, as a share of it: rounding, no more.
SLACK = 0.01
#: What a box and a polygon have at least behind the class; polygons count as the box around them.
BOX, POLYGON = 4, 6


def read(folder: Path, config: Path | None, part: str | None) -> Dataset:
    """The images below `folder`, or those of a part that `config` (a data.yaml) names.

    Raises ConfigurationError saying what is wrong.
    """
    names: tuple[str, ...] | None
    images: list[Path]
    if config is not None:
        folder, names, images = _configured(config, part)
    else:
        names = _names_beside(folder)
        images = list(_images(_folder_of(folder, part)))
    counted(images, folder)
    problems, labelled, found = Problems(folder), False, []
    for image in images:
        rows = []
        label = label_file(image)
        if label.is_file():
            labelled = True
            rows = _rows(label, names, problems)
        elif not image.is_file():
            problems.add(f"{image}: no such image")
        found.append(_labelled(image, folder, rows))
    problems.check()
    return Dataset(folder, "YOLO", names, found, labelled)


def label_file(image: Path) -> Path:
    """Where the labels of an image are: below `labels` in place of the last `images`."""
    parts = list(image.parts)
    for number in range(len(parts) - 2, -1, -1):
        if parts[number] == "images":
            parts[number] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _configured(config: Path, part: str | None) -> tuple[Path, tuple[str, ...] | None, list[Path]]:
    """Folder, class names and images that a data.yaml names."""
    try:
        content = yaml.safe_load(bounded(config, LABELS_BYTES_MAX))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{config}: not readable as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{config}: not a data.yaml: no names, no parts")
    folder = config.parent
    if isinstance(content.get("path"), str):
        base = folder / Path(content["path"]).expanduser()
        folder = base if base.is_dir() else folder
    names = _names(content.get("names"), config)
    wanted = part or next((each for each in PARTS if content.get(each)), None)
    if wanted is None or not content.get(wanted):
        there = [each for each in PARTS if content.get(each)]
        if part is not None or not there:
            try:
                return folder, names, list(_images(_folder_of(folder, part)))
            except NoSuchPart as error:
                listed = f"it has {', '.join(there)}" if there else "it names none"
                raise NoSuchPart(
                    f"{config}: no part {part or ' or '.join(PARTS)}: {listed}"
                ) from error
    entries = content[wanted] if isinstance(content[wanted], list) else [content[wanted]]
    images: list[Path] = []
    for entry in entries:
        if not isinstance(entry, str):
            raise ConfigurationError(f"{config}: {wanted}: {entry!r} is no path")
        images += _entry(entry, folder, config)
    return folder, names, images


def _entry(entry: str, folder: Path, config: Path) -> list[Path]:
    """The images of a folder, or of a file that lists them. Exports by Roboflow say `../valid/...`
    or a path of another machine for what lies beside the file."""
    path = Path(entry)
    tail = Path(*path.parts[-2:])
    tried = [folder / path, folder / entry.removeprefix("../"), folder / tail]
    for each in tried:
        if each.is_dir():
            return list(_images(each))
        if each.is_file() and each.suffix == ".txt":
            lines = (line.strip() for line in bounded(each, LIST_BYTES_MAX).splitlines())
            return [each.parent / line for line in lines if line]
    raise ConfigurationError(f"{config}: {entry}: no such folder, and no list of images")


def _folder_of(folder: Path, part: str | None) -> Path:
    """Where the images are below a folder without a data.yaml."""
    tried = []
    for name in (part,) if part else ("", *PARTS):
        tried += [folder / "images" / name, folder / name / "images"]
    if part is None:
        tried.append(folder)
    for each in tried:
        if each.is_dir() and any(path.suffix.lower() in SUFFIXES for path in each.iterdir()):
            return each
    wanted = f"{folder}/images/{part} or {folder}/{part}/images" if part else f"{folder}/images"
    raise NoSuchPart(
        f"{folder}: no images in {wanted}; damoscope eval wants a folder of images and labels "
        "(YOLO), or COCO's annotations as JSON beside their images"
    )


def _images(folder: Path) -> Iterator[Path]:
    """Image files below a folder, in the order of their names."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            yield path


def _names_beside(folder: Path) -> tuple[str, ...] | None:
    for name in NAME_FILES:
        for base in (folder, folder.parent):
            if (base / name).is_file():
                lines = bounded(base / name, LABELS_BYTES_MAX).splitlines()
                return tuple(line.strip() for line in lines if line.strip())
    return None


def _names(given: Any, config: Path) -> tuple[str, ...] | None:
    """Class names, as a list or by number."""
    if given is None:
        return None
    if isinstance(given, dict):
        if sorted(given, key=str) != sorted(range(len(given)), key=str):
            raise ConfigurationError(f"{config}: the names are not numbered 0 to {len(given) - 1}")
        given = [given[number] for number in range(len(given))]
    if not isinstance(given, list) or not given:
        raise ConfigurationError(f"{config}: names is no list of class names")
    return tuple(str(name).strip() for name in given)


def _rows(path: Path, names: tuple[str, ...] | None, problems: Problems) -> list[list[float]]:
    """Class and xyxy (shares of the image) of each object."""
    rows: list[list[float]] = []
    for number, line in enumerate(bounded(path, LABELS_BYTES_MAX).splitlines(), 1):
        if not line.strip():
            continue
        if len(rows) == OBJECTS_MAX:
            problems.add(f"{path}: more than the {OBJECTS_MAX:,} objects allowed in an image")
            break
        try:
            rows.append(_row(line, names))
        except ValueError as error:
            problems.add(f"{path}, line {number}: {error}")
    return rows


def _row(line: str, names: tuple[str, ...] | None) -> list[float]:
    """One object. Raises ValueError saying what is wrong with it."""
    try:
        first, *values = map(float, line.split())
    except ValueError:
        raise ValueError(f"{line.strip()[:60]!r} is not numbers") from None
    if not first.is_integer() or not 0 <= first < 2**31:
        raise ValueError(f"class {first:g} is no number of a class")
    if names is not None and first >= len(names):
        raise ValueError(f"class {first:g}: the data name {len(names)} classes, from 0 on")
    polygon = len(values) >= POLYGON and len(values) % 2 == 0
    if len(values) != BOX and not polygon:
        raise ValueError(f"{len(values)} numbers follow the class, in place of x y width height")
    points = np.array(values)
    if not np.isfinite(points).all() or points.min() < -SLACK or points.max() > 1 + SLACK:
        worst = max(values, key=lambda value: abs(value - 0.5))
        raise ValueError(f"{worst:g} is outside of 0 to 1: labels are shares of the image")
    if polygon:
        x1, y1 = points.reshape(-1, 2).min(axis=0)
        x2, y2 = points.reshape(-1, 2).max(axis=0)
    else:
        x, y, width, height = points
        x1, y1, x2, y2 = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    x1, y1, x2, y2 = np.clip([x1, y1, x2, y2], 0, 1).tolist()
    if x2 <= x1 or y2 <= y1:
        raise ValueError("the box has no area inside the image")
    return [first, x1, y1, x2, y2]


def _labelled(image: Path, folder: Path, rows: list[list[float]]) -> LabelledImage:
    table = np.array(rows, np.float64).reshape(-1, 5)
    return LabelledImage(image, below(image, folder), table[:, 0].astype(np.int64), table[:, 1:])
