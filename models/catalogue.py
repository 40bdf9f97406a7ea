"""The models that can be had by name: `catalogue.toml`, read and checked."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from models.coco import COCO
from models.names import checked_name

FILE: Final = Path(__file__).parent / "catalogue.toml"

Fraction = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=32, le=8192, multiple_of=32)]


class ModelFigures(BaseModel):
    """What its makers say of it, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Mean AP over IoU 0.50 to 0.95 on COCO val2017.
    coco_map: Fraction
    parameters_millions: float
    gflops: float
    source: str


class Wording(BaseModel):
    """A text in the languages of the pages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    en: Annotated[str, Field(max_length=500)]
    zh: Annotated[str, Field(max_length=500)]


class MeasuredFigure(BaseModel):
    """A figure, with its 95 % interval where one is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: Literal["ap50", "ap", "precision", "recall", "false_boxes_per_image"]
    value: Annotated[float, Field(ge=0)]
    low: Annotated[float, Field(ge=0)] | None = None
    high: Annotated[float, Field(ge=0)] | None = None


class JudgedSet(BaseModel):
    """What a model was judged by, and how it did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Wording
    images: Annotated[int, Field(ge=1)]
    objects: Annotated[int, Field(ge=0)]
    figures: tuple[MeasuredFigure, ...]


class SizeRecall(BaseModel):
    """How many objects were found of those whose longer side is a share of the picture's from
    `least` up to below `most`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least: Annotated[float, Field(ge=0)]
    most: Annotated[float, Field(gt=0)] | None = None
    found: Annotated[int, Field(ge=0)]
    objects: Annotated[int, Field(ge=1)]


class ModelCard(BaseModel):
    """How good a model that ships is: what its card (`source`) says, in figures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    #: Threshold of scores at which precision, recall and false boxes were counted.
    score_threshold: Fraction
    judged: tuple[JudgedSet, ...]
    by_size: tuple[SizeRecall, ...]
    #: What it is not for, and what it does not find.
    limits: tuple[Wording, ...]


class CatalogueModel(BaseModel):
    """One model: `file` beside the catalogue, or `address` to fetch it from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(checked_name)]
    about: Wording
    licence: str
    file: str | None = None
    address: Annotated[str, Field(pattern=r"^https://")] | None = None
    #: SHA-1 of `blob SIZE\0` and the bytes, as git names a file.
    git_blob: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    #: A list of names, or `coco` for its 80. A file that ships says this itself, and its input size
    #: and thresholds: here they are for who has nothing to read ONNX with, such as a frontend.
    classes: tuple[str, ...] | Literal["coco"] | None = None
    #: Height and width in pixels.
    input_size: tuple[Side, Side] | None = None
    score_threshold: Fraction | None = None
    iou_threshold: Fraction | None = None
    figures: ModelFigures | None = None
    card: ModelCard | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        known = self.classes, self.input_size, self.score_threshold, self.iou_threshold
        if None in known or (self.file is None and None in (self.address, self.git_blob)):
            raise ValueError(f"{self.name}: all that is known of a model has to be there")
        if self.file is not None and {self.address, self.git_blob} != {None}:
            raise ValueError(f"{self.name}: what ships is fetched from nowhere")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the scores."""
        return COCO if self.classes == "coco" else self.classes or ()

    @property
    def bundled_file(self) -> Path | None:
        """The file, where it ships."""
        return None if self.file is None else FILE.parent / self.file


def read(path: Path) -> dict[str, CatalogueModel]:
    """The catalogue by name, in its order. Raises ValueError that says what is wrong with it."""
    found: dict[str, CatalogueModel] = {}
    for table in tomllib.loads(path.read_text(encoding="utf-8"))["models"]:
        model = CatalogueModel.model_validate(table)
        if model.name in found:
            raise ValueError(f"{model.name} stands there twice")
        found[model.name] = model
    return found


@cache
def catalogue() -> dict[str, CatalogueModel]:
    """The one that ships."""
    return read(FILE)
