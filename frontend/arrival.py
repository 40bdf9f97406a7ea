"""When a detection's first byte was there. Its time counts from then on, and its span begins there,
also where it had to wait for its turn."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Tracer, TracerProvider
from opentelemetry.util.types import Attributes

_PLACE = "damoscope.arrival"


class Arrival(NamedTuple):
    """A moment by both clocks."""

    unix_ns: int
    monotonic_s: float

    @classmethod
    def now(cls) -> Arrival:
        return cls(time.time_ns(), time.monotonic())

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> Arrival:
        """That of the request of this scope; this moment where it was not noted."""
        found: Arrival | None = scope.get("state", {}).get(_PLACE)
        return found or cls.now()

    def note(self, scope: MutableMapping[str, Any]) -> None:
        """Note it as that of the request of this scope."""
        scope.setdefault("state", {})[_PLACE] = self


_begun: ContextVar[Arrival | None] = ContextVar(_PLACE, default=None)


@contextmanager
def begun(arrival: Arrival) -> Iterator[None]:
    """Spans that `SinceArrival` starts within begin at that moment."""
    token = _begun.set(arrival)
    try:
        yield
    finally:
        _begun.reset(token)


class SinceArrival(TracerProvider):
    """Tracers for the instrumentation, which by itself begins a span when it comes to be asked."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        return _Tracer(self._provider.get_tracer(*args, **kwargs))


class _Tracer(Tracer):
    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        arrival = _begun.get()
        if start_time is None and arrival is not None:
            start_time = arrival.unix_ns
        return self._tracer.start_span(
            name, context, kind, attributes, links, start_time, record_exception,
            set_status_on_exception,
        )  # fmt: skip

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        """Those within a request begin when they begin."""
        return self._tracer.start_as_current_span(*args, **kwargs)
