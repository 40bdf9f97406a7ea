"""What a search for images asks and how it is answered, whichever store looks.

Text is compared as a whole and exactly. A duration is at least `min_duration_ms` and less than
`max_duration_ms`, so that parts of a histogram share nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from monitoring.stores.contract import Order, RequestStatus, TraceSummary, Window
from pipeline.errors import InvalidParameter

#: Where the buckets of durations begin, in milliseconds, but for the first; the last has no end.
BOUNDS_MS: Final = (
    *(step * 10.0**power for power in range(5) for step in (1, 1.5, 2, 3, 5, 7)),
    100_000.0,
)
BUCKETS: Final = len(BOUNDS_MS) + 1
#: A whole number that no time or duration reaches, and that SQLite can compare with.
NEVER: Final = 2**62
#: A text that is looked for, and what is kept of one to be found by.
VALUE_MAX: Final = 200
#: What takes one text.
DIMENSIONS: Final = ("code", "label", "client", "worker", "model", "model_version", "route")

_CURSOR = re.compile(r"(newest|slowest)\.(\d{1,19})\.([0-9a-f]{1,16})", re.ASCII)


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Which images are wanted: all that is given must hold; what is None is not asked."""

    window: Window | None = None
    status: RequestStatus | None = None
    #: Any of these; () is all.
    outcomes: tuple[str, ...] = ()
    code: str | None = None
    label: str | None = None
    client: str | None = None
    worker: str | None = None
    model: str | None = None
    model_version: str | None = None
    route: str | None = None
    #: Of the best box, both included. An image in which nothing was found scores 0.
    min_score: float | None = None
    max_score: float | None = None
    min_duration_ms: float | None = None
    max_duration_ms: float | None = None
    #: Id of a trace or of a job.
    id: str | None = None

    @property
    def begun_ns(self) -> tuple[int, int]:
        """Since when, and before when, they have begun."""
        if self.window is None:
            return 0, NEVER
        return int(self.window.start_s * 1e9), min(int(self.window.end_s * 1e9), NEVER)

    def matches(self, image: TraceSummary) -> bool:
        """Whether an image is one of those."""
        first_ns, end_ns = self.begun_ns
        return (
            first_ns <= image.start_unix_ns < end_ns
            and self.status in (None, image.status)
            and (not self.outcomes or image.outcome in self.outcomes)
            and self.code in (None, image.error_type)
            and (self.label is None or self.label in image.labels)
            and self.client in (None, image.client)
            and self.worker in (None, image.worker)
            and self.model in (None, image.model)
            and self.model_version in (None, image.model_version)
            and self.route in (None, image.route)
            and (self.min_score is None or (image.score or 0.0) >= self.min_score)
            and (self.max_score is None or (image.score or 0.0) <= self.max_score)
            and (self.min_duration_ms is None or image.duration_ms >= self.min_duration_ms)
            and (self.max_duration_ms is None or image.duration_ms < self.max_duration_ms)
            and (self.id is None or self.id in (image.trace_id, image.job_id))
        )


@dataclass(frozen=True, slots=True)
class FoundImages:
    """Some of the images that were asked for, in order."""

    images: Sequence[TraceSummary] = ()
    #: Where the next ones begin; None after the last.
    cursor: str | None = None
    #: Whether everything in the window was looked through, so that there are no others.
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Tally:
    """How many images there are, by duration: as BOUNDS_MS has it."""

    counts: tuple[int, ...] = (0,) * BUCKETS
    #: Whether these are all; otherwise there are at least so many.
    exact: bool = True

    @property
    def total(self) -> int:
        """Of all durations."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last image that was seen: the next ones are older, or quicker, than it.

    `key` is its start in nanoseconds or its duration in microseconds; `tie`, a hexadecimal
    number, puts those in order that are equal in this.
    """

    order: Order
    key: int
    tie: str

    def __str__(self) -> str:
        return f"{self.order}.{self.key}.{self.tie}"

    @classmethod
    def read(cls, text: str, order: Order) -> Cursor:
        """Raises InvalidParameter for what no answer to this question has given."""
        found = _CURSOR.fullmatch(text)
        if found is None or found[1] != order or int(found[2]) >= 2**63:
            raise InvalidParameter(
                f"cursor: not one that a search with order={order} has given; begin without it"
            )
        return cls(order, int(found[2]), found[3])
