"""How requests end: each is counted and timed once, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterable, Sized
from typing import TypeVar

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import set_span_in_context

from frontend.clients import Clients
from frontend.image_request import ImageRequest
from pipeline import errors
from pipeline.queue.pools import DEFAULT
from telemetry import catalogue, logs, spans
from telemetry.instruments import Instruments

log = logging.getLogger("damoscope.frontend")

T = TypeVar("T")


class Outcomes:
    """Counts requests by their outcome."""

    def __init__(self, instruments: Instruments, clients: Clients, waiting: Sized) -> None:
        """`waiting` for their turn are requests that will be counted, too."""
        self._instruments, self._clients, self._waiting = instruments, clients, waiting
        self._active = 0
        # A rate shows the first refusal only where there was a count before.
        instruments.add(catalogue.QUEUE_REFUSED, 0, {"queue": DEFAULT.name})
        #: Whether the service stops: what is ended by that was not given up by its client.
        self.stopping = False

    @property
    def active(self) -> int:
        """Requests that have no outcome yet."""
        return self._active + len(self._waiting)

    def observe(self) -> None:
        """Report how many requests are in flight."""

        def active(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(self.active)]

        self._instruments.observe(catalogue.REQUESTS_ACTIVE, active)

    async def of(self, request: ImageRequest, work: Awaitable[T]) -> T:
        """Count and time a request, whatever becomes of it, inside its span."""
        self._active += 1
        try:
            result = await work
        except errors.DamoscopeError as error:
            spans.fail(request.span, error)
            if not request.answered:  # the worker has said why
                logs.refusal(log, set_span_in_context(request.span), error)
            self.count(request, error.outcome, error)
            raise
        except asyncio.CancelledError:  # by who asked for it, or because the service stops
            kind = errors.Unavailable if self.stopping else errors.Cancelled
            self.count(request, kind.outcome)
            raise
        except BaseException:
            self.count(request, "failed")
            raise
        if request.sends:
            _describe(request, "ok")  # the span ends with the answer's last byte
        else:
            self.count(request, "ok")
        return result

    def gone(self, request: ImageRequest) -> None:
        """Count a request that was given up before it was worked on."""
        self._active += 1
        self.count(request, errors.Cancelled.outcome)

    def count(
        self, request: ImageRequest, outcome: str, error: errors.DamoscopeError | None = None
    ) -> None:
        """How a request ended, once, and by what error."""
        if request.outcome is not None:
            return
        request.outcome = outcome
        here = set_span_in_context(request.span)
        labels = {"outcome": outcome, "route": request.route}
        if request.span.is_recording():
            _describe(request, outcome)
        duration_s = (time.time_ns() - request.received_ns) / 1e9
        self._active -= 1
        self._instruments.add(catalogue.REQUESTS, 1, labels, context=here)
        if isinstance(error, errors.RateLimited):
            route = {"route": request.route}
            self._instruments.add(catalogue.REQUESTS_LIMITED, 1, route, context=here)
        if isinstance(error, errors.Unavailable) and error.queue:
            queue = {"queue": error.queue}
            self._instruments.add(catalogue.QUEUE_REFUSED, 1, queue, context=here)
        if client := self._clients.name(request.who.name, known=request.who.known):
            self._instruments.add(catalogue.CLIENT_REQUESTS, 1, {"client": client}, context=here)
        self._instruments.record(catalogue.REQUEST_DURATION, duration_s, labels, context=here)


def _describe(request: ImageRequest, outcome: str) -> None:
    """Say on a request's span how it ended."""
    request.span.set_attributes(
        {catalogue.ATTR_OUTCOME: outcome, catalogue.ATTR_ROUTE: request.route}
        | ({catalogue.ATTR_JOB_ID: request.job_id} if request.job_id else {})
        | ({catalogue.ATTR_ENDUSER_ID: request.who.name} if request.who.known else {})
    )
