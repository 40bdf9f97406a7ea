"""What can be asked of telemetry, whichever store answers: traces and metrics.

Times: `*_unix_ns` are nanoseconds and `*_s` seconds since the Unix epoch (UTC);
`duration_ms` milliseconds. Trace and span ids are lower-case hexadecimal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from monitoring.stores.histogram import Histogram as Histogram
from telemetry.definitions import Across as Across
from telemetry.definitions import Metric

if TYPE_CHECKING:
    from monitoring.stores.comparing import ComparedSides
    from monitoring.stores.finding import FoundImages, Tally, TraceQuery

T = TypeVar("T")

SpanStatus = Literal["unset", "ok", "error"]
RequestStatus = Literal["ok", "error"]
Order = Literal["newest", "slowest"]
#: The values of the attributes that were asked for with `by`, in that order.
#: An attribute that a series does not have reads as "".
Labels = tuple[str, ...]

#: Resource attributes that `where` and `by` take as well: every metric has the
#: first; only gauges keep the others.
SERVICE_NAME = "service.name"
SERVICE_INSTANCE = "service.instance.id"
HOST_ID = "host.id"

#: Log lines that are kept of one trace.
TRACE_MAX_LINES = 200
#: A process that has been silent for longer no longer counts in `latest`.
LIVE_S = 60.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at one moment of a span, such as an exception."""

    name: str
    time_unix_ns: int
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """A pointer to a span of another trace."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One span as it was exported; attribute values are JSON values."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: str  # INTERNAL | SERVER | CLIENT | PRODUCER | CONSUMER
    service: str
    start_unix_ns: int
    duration_ms: float
    status: SpanStatus = "unset"
    status_message: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class LogLine:
    """What a process has logged within a span."""

    trace_id: str
    #: "" when the line names none.
    span_id: str
    time_unix_ns: int
    level: str  # DEBUG | INFO | WARN | ERROR | FATAL
    logger: str
    message: str
    service: str
    #: Of an exception; "" when there is none.
    stack: str = ""


def by_span(
    spans: Sequence[Span], lines: Sequence[LogLine], *, whole: bool = True
) -> dict[str, list[LogLine]]:
    """The lines that each span has logged.

    Those of a span that is not here are the first's, or, where `spans` are not the `whole`
    trace, nobody's: they come with their span.
    """
    found: dict[str, list[LogLine]] = {span.span_id: [] for span in spans}
    others = found[spans[0].span_id] if whole else []
    for line in lines:
        found.get(line.span_id, others).append(line)
    return found


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One image request: a SERVER span of the frontend that carries `damoscope.route`.

    A caller that sends several images under one `traceparent` gets several
    summaries with one trace id; `span_id` tells them apart.
    """

    trace_id: str
    span_id: str
    start_unix_ns: int
    duration_ms: float
    status: RequestStatus
    outcome: str
    route: str
    detections: int | None = None
    job_id: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    #: Stage name to milliseconds, for the stages whose spans have arrived. Of an
    #: image that was tried more than once, the last try.
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    #: Who sent it, where that is known.
    client: str | None = None
    #: From here on of the worker's last try: None and () while it has not told.
    worker: str | None = None
    model: str | None = None
    model_version: str | None = None
    labels: tuple[str, ...] = ()
    #: Of the best box; None where nothing was found.
    score: float | None = None


@dataclass(frozen=True, slots=True)
class TracePart:
    """Some spans of a trace, by start, and how much there is of it in all."""

    spans: tuple[Span, ...] = ()
    #: Spans that the store has of the trace.
    total: int = 0
    #: Spans that came and were not kept because the trace was too large.
    dropped: int = 0
    #: From the first span's start to the last one's end, those that are not among `spans` too.
    start_unix_ns: int = 0
    end_unix_ns: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, start included, end not: adjacent windows share nothing."""

    start_s: float
    end_s: float

    @classmethod
    def last(cls, seconds: float, now_s: float, align_s: float = 1.0) -> Window:
        """The `seconds` up to now, the end rounded up so that a plot's steps stay put."""
        end = (math.floor(now_s / align_s) + 1) * align_s
        return cls(end - seconds, end)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s

    def elapsed_s(self, now_s: float) -> float:
        """How much of it is over; all but a second of a window that ends now counts as all."""
        return self.seconds if self.end_s <= now_s + 1 else max(1.0, now_s - self.start_s)

    @property
    def before(self) -> Window:
        """The window of the same length just before."""
        return Window(self.start_s - self.seconds, self.start_s)


@dataclass(frozen=True, slots=True)
class Series(Generic[T]):
    """Values in steps of equal length: value i belongs to start_s + i * step_s and after."""

    start_s: float
    step_s: float
    values: tuple[T, ...]

    @property
    def times_s(self) -> tuple[float, ...]:
        """Where each step starts."""
        return tuple(self.start_s + i * self.step_s for i in range(len(self.values)))


@dataclass(frozen=True, slots=True)
class Measured:
    """How many values a histogram holds, and their total, without its buckets."""

    count: int = 0
    sum: float = 0.0

    @property
    def mean(self) -> float | None:
        """Mean of the values; None when there are none."""
        return self.sum / self.count if self.count else None


def total(measured: Iterable[Measured]) -> Measured:
    """All of them together."""
    every = list(measured)
    return Measured(sum(each.count for each in every), math.fsum(each.sum for each in every))


class TraceStore(Protocol):
    """Where traces are read from."""

    def search(
        self,
        *,
        limit: int = 50,
        min_duration_ms: float | None = None,
        status: RequestStatus | None = None,
        window: Window | None = None,
        order: Order = "newest",
    ) -> list[TraceSummary]:
        """Requests that started in `window` (default: ever), newest or slowest first.

        Raises Unavailable when the store cannot be read.
        """
        ...

    def find(
        self,
        query: TraceQuery,
        *,
        limit: int = 50,
        order: Order = "newest",
        cursor: str | None = None,
    ) -> FoundImages:
        """The images that are asked for, or those after the ones that gave the `cursor`.

        Images that arrive in the meantime change nothing of what comes after a cursor. Raises
        Unavailable, and InvalidParameter for a cursor that is none.
        """
        ...

    def tally(self, query: TraceQuery) -> Tally:
        """How many images are found in all, by duration."""
        ...

    def compare(self, query: TraceQuery, slowest: float) -> ComparedSides:
        """The images whose duration the question asks for, or without one the share `slowest`
        (0..1) of them that took longest; and the others that it finds, whatever they took.

        Raises Unavailable.
        """
        ...

    def not_searched(self, query: TraceQuery) -> tuple[str, ...]:
        """What of the question the store cannot search by, so that only as many images as it
        hands over at once are looked through for it; () where it can."""
        ...

    def get(self, trace_id: str) -> list[Span]:
        """Every span of one trace, of every service, by start; empty when it is not known."""
        ...

    def part(self, trace_id: str, offset: int = 0, limit: int | None = None) -> TracePart:
        """`limit` spans of one trace from the `offset`-th on: a trace may have thousands."""
        ...

    def lines(self, trace_id: str) -> list[LogLine]:
        """What was logged within one trace, by time; empty where the store keeps no lines."""
        ...


class MetricsStore(Protocol):
    """Where metrics are read from.

    Metrics go by their entries in telemetry.catalogue. `where` selects series by attribute
    values, `by` names the attributes to keep apart; both also take `service.name`.
    What is asked for and was never measured is left out of the answer.

    Data lies in buckets of 5 s, coarser the older it is; a bucket belongs to the
    window in which it starts. `step_s` is rounded up to a whole number of buckets:
    the answer's own `step_s` tells. Every method raises Unavailable when the store
    cannot be read, and may be called from any thread.
    """

    def resolution_s(self, window: Window) -> int:
        """Length of the buckets in which the window's data lies, in seconds."""
        ...

    def window(self, seconds: float, now_s: float, step_s: float = 1.0) -> Window:
        """The last `seconds`, in steps that begin where the data's buckets begin.

        It ends with the step of `step_s`, or the bucket, that goes on: a little after now.
        """
        ...

    def increase(
        self,
        metric: Metric,
        window: Window,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, float]:
        """How much a counter grew in the window, over all processes and their restarts."""
        ...

    def increase_series(
        self,
        metric: Metric,
        window: Window,
        step_s: float,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Series[float]]:
        """The same, step by step: the steps add up to the increase of the window."""
        ...

    def histogram(
        self,
        metric: Metric,
        window: Window,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Histogram]:
        """What was measured in the window, all processes merged."""
        ...

    def histogram_series(
        self,
        metric: Metric,
        window: Window,
        step_s: float,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Series[Histogram]]:
        """The same, step by step; a step without measurements holds an empty histogram."""
        ...

    def measured_series(
        self,
        metric: Metric,
        window: Window,
        step_s: float,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Series[Measured]]:
        """Count and sum of a histogram, step by step: cheaper than its buckets."""
        ...

    def latest(
        self,
        metric: Metric,
        *,
        across: Across = "sum",
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, float]:
        """A gauge's value now, from the processes heard of within LIVE_S seconds."""
        ...

    def gauge_series(
        self,
        metric: Metric,
        window: Window,
        step_s: float,
        *,
        across: Across = "sum",
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Series[float | None]]:
        """A gauge over time; None where no process reported it.

        `sum` and `avg` are over each process's mean within the step, `max` over its
        highest reading.
        """
        ...
