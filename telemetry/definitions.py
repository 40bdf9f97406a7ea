"""What the catalogue says of a metric, a span, an attribute, and a metric's name in Prometheus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

#: How a level is put together from the processes that report it.
Across = Literal["sum", "avg", "max"]
#: Which way is good: 1 up, -1 down, 0 neither.
Good = Literal[-1, 0, 1]
Kind = Literal["counter", "histogram", "up-down counter", "gauge"]
SpanKind = Literal["SERVER", "INTERNAL", "PRODUCER", "CONSUMER"]
Process = Literal["frontend", "worker"]
AttributeType = Literal["string", "string[]", "int", "int[]", "double", "double[]"]
#: Attributes with the values that they can have; without values, any.
Attributes = Mapping[str, tuple[str, ...]]

#: UCUM's units as Prometheus writes them out.
_UNITS = {"s": "seconds", "ms": "milliseconds", "By": "bytes"}


@dataclass(frozen=True, eq=False)
class Metric:
    """One metric. `unit` is UCUM's: `1` is a plain number or a share, `{...}` says what is counted.

    Those of one name are one object, which is its own key.
    """

    kind: ClassVar[Kind]

    name: str
    unit: str = "1"
    description: str = ""
    attributes: Attributes = field(default_factory=dict)
    good: Good = 0
    #: An example of how Prometheus is asked; `{}` stands for the metric's name there.
    example: str = ""

    @property
    def exported(self) -> str:
        """The name in Prometheus, as the Collector makes it from name, unit and kind."""
        words = re.findall(r"[a-zA-Z0-9]+", self.name)
        unit = _UNITS.get(self.unit, "ratio" if self.unit == "1" and self.kind == "gauge" else "")
        for suffix in (unit, "total" if self.kind == "counter" else ""):
            if suffix and suffix not in words:
                words.append(suffix)
        return "_".join(words)

    @property
    def parts(self) -> tuple[str, ...]:
        """What the names of its series in Prometheus have after that name."""
        return ("",)


class Counter(Metric):
    """Only grows. Those of several processes are summed."""

    kind = "counter"


@dataclass(frozen=True, eq=False)
class Histogram(Metric):
    """How values are distributed. Those of several processes are merged, bucket by bucket."""

    kind = "histogram"

    #: Upper bounds of the buckets, in `unit`; there is one more, without a bound.
    buckets: tuple[float, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        return "_bucket", "_sum", "_count"


@dataclass(frozen=True, eq=False)
class Level(Metric):
    """How much there is at a moment.

    Some levels are each process's own and are summed. Some are one level that several processes
    report (every frontend the same queue, every process the CPU of its host): of these the mean
    or the largest is taken, never the sum.
    """

    #: How it is put together from processes, the usual way first; each is recorded by Prometheus.
    across: tuple[Across, ...] = ("max",)
    #: Whether it belongs to a host: that of another host is another level.
    of_host: bool = False
    #: Attributes that nothing tells apart over a long window.
    merged: tuple[str, ...] = ()


class Gauge(Level):
    """A level that is read."""

    kind = "gauge"


class UpDownCounter(Level):
    """A level that is counted up and down."""

    kind = "up-down counter"


@dataclass(frozen=True, slots=True)
class SpanDefinition:
    """One span of an image's trace, by what it lasts from and to."""

    kind: SpanKind
    process: Process
    #: Name of the span that it is a child of.
    parent: str
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of spans."""

    type: AttributeType
    #: Names of the spans that have it.
    spans: tuple[str, ...]
    meaning: str
