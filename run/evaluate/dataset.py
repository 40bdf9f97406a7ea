"""What a model is judged by: images, and what people say is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigurationError

#: Images, and objects of one image.
IMAGES_MAX, OBJECTS_MAX = 100_000, 2_000
#: Bytes of a file of labels or names, of a list of images, and of COCO's annotations.
LABELS_BYTES_MAX, LIST_BYTES_MAX, ANNOTATIONS_BYTES_MAX = 2**20, 2**26, 2**30
#: What is wrong with a data set is listed up to this.
PROBLEMS_SHOWN = 5
#: What the service decodes, by the names that files of it have.
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".mpo", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
)

Floats = NDArray[np.float64]


class NoSuchPart(ConfigurationError):
    """The data have no images where they were looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """An image file and its N objects."""

    path: Path
    #: As reports call it: its path below the data's folder.
    name: str
    #: N indices of the data set's names.
    classes: NDArray[np.int64]
    #: N x 4, xyxy: pixels of `size`, or shares of the image where that is None.
    boxes: Floats
    #: Width and height in pixels that the labels are for.
    size: tuple[int, int] | None = None
    #: N: which stand for a crowd; what is found there is neither right nor wrong.
    crowds: NDArray[np.bool_] | None = None
    #: N areas in square pixels by which COCO calls objects small or large; None: of the boxes.
    areas: Floats | None = None

    def pixels(self, width: int, height: int) -> Floats:
        """The boxes in pixels of the image as it is seen."""
        return self.boxes if self.size else self.boxes * np.array([width, height] * 2, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Images with labels, and what their classes are called."""

    folder: Path
    format: str
    #: None where the data name no classes: their numbers are then the model's.
    names: tuple[str, ...] | None
    images: Sequence[LabelledImage]
    #: Whether there was a label at all; without one, every image is taken to show nothing.
    labelled: bool = True


@dataclass
class Problems:
    """Collects what is wrong with a data set, so that it is said at once and not one by one."""

    about: Path
    found: list[str] = field(default_factory=list)
    more: int = 0

    def add(self, text: str) -> None:
        if len(self.found) < PROBLEMS_SHOWN:
            self.found.append(text)
        else:
            self.more += 1

    def check(self) -> None:
        """Raises ConfigurationError where there are any."""
        if self.found:
            rest = f"\n  and {self.more:,} more" if self.more else ""
            raise ConfigurationError(
                f"{self.about}: the labels cannot be used:\n  " + "\n  ".join(self.found) + rest
            )


def bounded(path: Path, most: int) -> str:
    """A text file of at most so many bytes. Raises ConfigurationError."""
    try:
        size = path.stat().st_size
        if size > most:
            raise ConfigurationError(f"{path}: {size:,} bytes are more than the {most:,} allowed")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not text in UTF-8: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error


def below(path: Path, folder: Path) -> str:
    """How reports name a file of the data."""
    try:
        return str(path.resolve().relative_to(folder.resolve()))
    except ValueError:
        return str(path)


def counted(images: Sequence[object], about: Path) -> None:
    """Raises ConfigurationError for too many images, and for none."""
    if not images:
        raise ConfigurationError(
            f"{about}: no images; damoscope eval wants a folder of images and labels (YOLO), or "
            "COCO's annotations as JSON beside their images"
        )
    if len(images) > IMAGES_MAX:
        raise ConfigurationError(
            f"{about}: {len(images):,} images are more than the {IMAGES_MAX:,} allowed at a time"
        )
