"""One image on its way through the worker: the job, what each stage made, and when."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from opentelemetry.context import Context
from opentelemetry.trace import get_current_span

from pipeline.errors import DamoscopeError
from pipeline.job import Detections
from pipeline.queue.consumer import TakenJob
from telemetry.context import extract, trace_id
from worker.model.merging import View
from worker.model.preprocess import Prepared

#: Beginning and end in Unix nanoseconds, on the clock of the frontend that enqueued the image.
Interval = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of ONNX Runtime, shared by the images of its batch."""

    interval: Interval
    size: int


@dataclass(slots=True, eq=False)
class TileCalls:
    """The calls of one image's tiles, each for several of them and for no other image."""

    #: How many views of the image there were in each: its tiles, and the whole.
    sizes: list[int] = field(default_factory=list)
    #: Nanoseconds in calls; between them others' images have their turn.
    busy_ns: int = 0


@dataclass(slots=True, eq=False)
class BatchItem:
    """Filled in by the stages in turn; a stage that failed leaves `error` and `failed_stage`."""

    taken: TakenJob
    prepared: Prepared | None = None
    #: The file as it came, where it is to be kept.
    encoded: bytes | None = None
    #: A x C and A x 4, of this image.
    raw: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    call: Call | None = None
    #: In the place of `raw` and `call`, of an image that is looked at in tiles.
    views: list[View] = field(default_factory=list)
    tile_calls: TileCalls | None = None
    detections: Detections = field(default_factory=Detections)
    #: Below the score threshold, where they were asked for. They count as nothing.
    weaker: Detections | None = None
    candidates: int = 0
    #: Stage name -> when it ran.
    stages: dict[str, Interval] = field(default_factory=dict)
    error: DamoscopeError | None = None
    failed_stage: str | None = None
    #: When the outcome was stored, on the same clock.
    stored_ns: int = 0
    #: The frontend's `enqueue` span, of which the worker's are children.
    parent: Context = field(init=False)

    def __post_init__(self) -> None:
        self.parent = extract(self.taken.meta)

    @property
    def tiled(self) -> bool:
        """Whether it is to be looked at in tiles: by itself then, one call after another."""
        return self.taken.job is not None and self.taken.job.options.tiles is not None

    @property
    def tiles(self) -> int:
        """How many tiles it is cut into; 0 where it is run as a whole."""
        grid = self.prepared.grid if self.prepared else None
        return grid.tiles if grid else 0

    @property
    def largest_call(self) -> int:
        """Images, or tiles, of the largest call of ONNX Runtime that it was in."""
        if self.call is not None:
            return self.call.size
        return max(self.tile_calls.sizes, default=0) if self.tile_calls else 0

    @property
    def images_run(self) -> int:
        """How many images' work the model has had with it."""
        return sum(self.tile_calls.sizes) if self.tile_calls else int(self.call is not None)

    @property
    def trace_id(self) -> str:
        """The image's trace as 32 hexadecimal digits; empty when it has none."""
        return trace_id(get_current_span(self.parent))

    def fail(self, error: DamoscopeError, stage: str | None = None) -> None:
        """Give this image up; the others of its batch go on."""
        self.error, self.failed_stage = error, stage

    def drop(self, error: DamoscopeError) -> None:
        """Nobody wants the outcome any more: what was found counts for nothing."""
        self.error, self.failed_stage, self.detections = error, None, Detections()
        self.weaker = None

    def stage_ms(self, stage: str) -> float:
        """How long a stage took, in milliseconds; 0 when it did not run."""
        start, end = self.stages.get(stage, (0, 0))
        return round((end - start) / 1e6, 3)
