"""Data of one's own to train on: YOLO or COCO labels, read as `damoscope eval` reads them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np

from pipeline.errors import ConfigurationError
from run.evaluate.classes import listed
from run.evaluate.dataset import Dataset, LabelledImage, NoSuchPart
from run.evaluate.reading import CONFIGS, read
from training.data import Data
from training.images import read_rgb
from training.photographs import Sample
from training.plan import UNSURE, Labels, kind_of

#: Where no part is kept apart to validate on, one image in so many is, by its name.
VALIDATED_SHARE = 5
#: Classes at most; a plan has a byte for them.
CLASSES_MAX = 250
#: Share of images without an object in a batch, at most.
EMPTY_SHARE = 0.3
#: Parts that are kept apart to validate on, the first that there is.
PARTS = ("val", "valid", "test")


@dataclass(frozen=True)
class OwnData:
    """What is trained and validated on, and how the samples are shared out."""

    data: Data
    names: tuple[str, ...]
    #: Of scenes (none), images with objects and images without.
    shares: tuple[float, float, float]
    notes: tuple[str, ...]


def read_own(train: Path, valid: Path | None, only: Sequence[str] = ()) -> OwnData:
    """Images of `train` to train on, of `valid` to validate on: where that is None, the part that
    the data keep apart, or else one image in five. `only` names the classes that count. Of images
    that show nothing as many are taken as show something. Raises ConfigurationError."""
    dataset = _train(train)
    names = dataset.names
    if names is None:
        raise ConfigurationError(
            f"{train}: the data name no classes: list them in classes.txt, one a line"
        )
    if len(names) > CLASSES_MAX:
        raise ConfigurationError(f"{train}: more than {CLASSES_MAX} classes")
    if not any(len(image.classes) for image in dataset.images):
        raise ConfigurationError(f"{train}: no image has a label: there is nothing to learn")
    taught, apart, note = _split(dataset, train, valid)
    if only:
        places = _places(names, only)
        names = tuple(only)
        taught, apart = ([_of(image, places) for image in each] for each in (taught, apart))
    notes = [note]
    if taught != (fewer := _balanced(taught)):
        notes.append(f"{len(taught) - len(fewer):,} images that show nothing are left out")
        taught = fewer
    apart = _balanced(apart)
    data = Data()
    for image in taught:
        labels = labels_of(image)
        data.groups[1 if len(labels.boxes) else 2].append([len(data.pictures)])
        data.pictures.append(image.path)
        data.labels.append(labels)
    samples = [sample_of(image) for image in apart]
    data.validated["photographs"] = [one for one in samples if len(one.boxes)]
    data.validated["negatives"] = [one for one in samples if not len(one.boxes)]
    if not data.groups[1] or not data.validated["photographs"]:
        raise ConfigurationError(f"{train}: no image with an object is left to train or validate")
    count = [len(group) for group in data.groups]
    empty = min(count[2] / (count[1] + count[2]), EMPTY_SHARE)
    return OwnData(data, names, (0.0, 1 - empty, empty), tuple(notes))


def _places(names: Sequence[str], only: Sequence[str]) -> dict[int, int]:
    """Class number in the data -> number among those that count."""
    known = {name.casefold(): number for number, name in enumerate(names)}
    missing = [name for name in only if name.casefold() not in known]
    if missing:
        raise ConfigurationError(f"no class {missing[0]!r} in the data; they have {listed(names)}")
    return {known[name.casefold()]: number for number, name in enumerate(only)}


def _of(image: LabelledImage, places: dict[int, int]) -> LabelledImage:
    """The image with the objects of these classes alone."""
    kept = np.isin(image.classes, list(places))
    return replace(
        image,
        classes=np.array([places[each] for each in image.classes[kept].tolist()], np.int64),
        boxes=image.boxes[kept],
        crowds=None if image.crowds is None else image.crowds[kept],
        areas=None if image.areas is None else image.areas[kept],
    )


def _balanced(images: list[LabelledImage]) -> list[LabelledImage]:
    """No more images that show nothing than show something, chosen by their names."""
    empty = [image for image in images if not len(image.classes)]
    most = len(images) - len(empty)
    if len(empty) <= max(most, 1):
        return images
    empty.sort(key=lambda image: crc32(image.name.encode()))
    left_out = set(map(id, empty[most:]))
    return [image for image in images if id(image) not in left_out]


def labels_of(image: LabelledImage) -> Labels:
    """An image's boxes as shares of it; crowds are neither right nor wrong."""
    scale = np.array([*(image.size or (1, 1))] * 2, np.float64)
    kinds = kind_of(image.classes)
    if image.crowds is not None:
        kinds = np.where(image.crowds, UNSURE, kinds).astype(np.uint8)
    return Labels((image.boxes / scale).astype(np.float32), kinds)


def sample_of(image: LabelledImage) -> Sample:
    """An image to validate on, its boxes in pixels; without crowds."""
    height, width = read_rgb(image.path).shape[:2]
    kept = np.ones(len(image.boxes), bool) if image.crowds is None else ~image.crowds
    boxes = labels_of(image).boxes * np.array([width, height] * 2, np.float32)
    return Sample(image.path, boxes[kept], image.classes[kept])


def _train(path: Path) -> Dataset:
    try:
        return read(path, "train", None)
    except NoSuchPart:
        if path.suffix in (".yaml", ".yml") or any((path / name).exists() for name in CONFIGS):
            raise
        return read(path, None, None)


def _split(
    dataset: Dataset, train: Path, valid: Path | None
) -> tuple[list[LabelledImage], list[LabelledImage], str]:
    """Images to train on and to validate on, and how they were told apart."""
    images = list(dataset.images)
    paths = {image.path.resolve() for image in images}
    for path, part in [(valid, None)] if valid else [(train, part) for part in PARTS]:
        try:
            other = read(path, part, None)
        except NoSuchPart:
            if valid:
                raise
            continue
        if other.names != dataset.names:
            raise ConfigurationError(
                f"{path}: its classes are {other.names}, and those trained on {dataset.names}"
            )
        shared = [image for image in other.images if image.path.resolve() in paths]
        if not shared:
            return images, list(other.images), f"validated on {part or path}"
        if valid:
            raise ConfigurationError(f"{shared[0].path}: it is to be trained and validated on")
    apart = [image for image in images if crc32(image.name.encode()) % VALIDATED_SHARE == 0]
    kept = [image for image in images if crc32(image.name.encode()) % VALIDATED_SHARE]
    note = (
        f"validated on one image in {VALIDATED_SHARE}, by name: where they come in series, such as "
        "frames of a video, keep whole series apart yourself (val in data.yaml)"
    )
    return kept, apart, note
