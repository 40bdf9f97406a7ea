"""One job: what is asked of a worker, and what comes back.

These models are the wire format between frontend and worker (as JSON) and the
schema that the HTTP API documents.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, overload

from pydantic import BaseModel, ConfigDict, Field

from pipeline.tiles import PATTERN, TILES_MOST, Grid, grid_for, images_of

#: Upper bound on `max_detections`; DAMO-YOLO's own post-processing keeps 500 at most.
MAX_DETECTIONS = 500

Count = Annotated[int, Field(ge=0, lt=2**40)]
Threshold = Annotated[float, Field(ge=0, le=1)]
JobStatus = Literal["queued", "started", "finished", "failed", "expired", "cancelled"]
Priority = Literal["high", "normal", "low"]


class DetectOptions(BaseModel):
    """What a request may choose; None stands for the model's own default."""

    model_config = ConfigDict(frozen=True)

    score_threshold: Threshold | None = None
    iou_threshold: Threshold | None = None
    max_detections: Annotated[int, Field(ge=1, le=MAX_DETECTIONS)] = 100
    labels: tuple[str, ...] | None = None
    #: Boxes that score less than `score_threshold`, and at least this, are told apart from the
    #: detections, in `DetectionResult.weaker`; with them there are `max_detections` at most.
    weaker_from: Threshold | None = Field(None, exclude_if=lambda score: score is None)
    #: `auto` or a grid, as a request asks; in a job the grid of its image. None: as a whole.
    tiles: Annotated[str, Field(pattern=PATTERN)] | None = Field(
        None, exclude_if=lambda asked: asked is None
    )


class ImageInfo(BaseModel):
    """An image as a person sees it: width and height in pixels after EXIF orientation."""

    model_config = ConfigDict(frozen=True)

    width: Count
    height: Count
    format: Annotated[str, Field(max_length=32)]
    bytes: Count


class DetectJob(BaseModel):
    """The single argument of the RQ job. The image itself lies under its own key."""

    model_config = ConfigDict(frozen=True)

    options: DetectOptions
    image: ImageInfo
    #: How long the upload stage took; the worker copies it into the result.
    upload_ms: Annotated[float, Field(ge=0, le=1e9)]

    @property
    def grid(self) -> Grid | None:
        """The tiles that the image is cut into; None where it is run as a whole."""
        asked, image = self.options.tiles, self.image
        return grid_for(asked, image.width, image.height, TILES_MOST)

    @property
    def images(self) -> int:
        """How many images' work it is."""
        return images_of(self.grid)


@dataclass(slots=True)
class Box:
    """Corners in pixels of the uploaded image as a person sees it; x2 > x1, y2 > y1."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(slots=True)
class Detection:
    """One object that was found."""

    label: str
    score: float
    box: Box


@dataclass(slots=True)
class Detections(Sequence[Detection]):
    """What was found in one image, best first, by columns: so many objects cost more than NMS."""

    labels: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    #: x1, y1, x2, y2 of each, as in `Box`.
    corners: list[list[float]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> Detection: ...
    @overload
    def __getitem__(self, index: slice) -> Detections: ...
    def __getitem__(self, index: int | slice) -> Detection | Detections:
        label, score, corners = self.labels[index], self.scores[index], self.corners[index]
        if isinstance(index, slice):
            return Detections(label, score, corners)  # type: ignore[arg-type]
        return Detection(label, score, Box(*corners))  # type: ignore[arg-type]

    def split(self, score_threshold: float) -> tuple[Detections, Detections]:
        """Those that score as much or more, and the others. The first are what a run with this
        threshold would have found: a weaker box never suppresses a better one."""
        count = bisect_right(self.scores, -score_threshold, key=lambda score: -score)
        return self[:count], self[count:]

    def plain(self) -> list[dict[str, Any]]:
        """The same as JSON values."""
        return [
            {"label": label, "score": score, "box": {"x1": x1, "y1": y1, "x2": x2, "y2": y2}}
            for label, score, (x1, y1, x2, y2) in zip(
                self.labels, self.scores, self.corners, strict=True
            )
        ]


class Timings(BaseModel):
    """Milliseconds spent in each stage; `total` runs from first byte to answer."""

    upload: float
    queue_wait: float
    preprocess: float
    inference: float
    nms: float
    total: float


class DetectionResult(BaseModel):
    """The answer to one image; detections are sorted by score, highest first."""

    job_id: str
    trace_id: str
    status: Literal["finished"] = "finished"
    model: str
    #: What tells two files of one name apart: the first digits of the file's SHA-256.
    model_version: str = ""
    provider: str
    image: ImageInfo
    detections: list[Detection]
    weaker: list[Detection] | None = Field(
        None,
        exclude_if=lambda boxes: boxes is None,
        description="Boxes below the score threshold, of jobs that have asked for them: those of "
        "the Detect page.",
    )
    tiles: str | None = Field(
        None,
        exclude_if=lambda grid: grid is None,
        description="Columns and rows of the overlapping tiles that were looked at beside the "
        "whole image, such as `4x3`; not there where there were none.",
    )
    timings_ms: Timings
    batch_size: int
    worker: str


class JobError(BaseModel):
    """Why a job failed: a `DamoscopeError.code` and its message."""

    code: str
    message: str


class JobState(BaseModel):
    """What `GET /api/v1/jobs/{job_id}` answers."""

    job_id: str
    status: JobStatus
    trace_id: str | None = None
    result: DetectionResult | None = None
    error: JobError | None = None
