"""The door for images: each has its turn, and what cannot be answered in time is refused before a
byte of it is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import parse_qs

from opentelemetry.instrumentation.asgi import asgi_getter
from opentelemetry.propagate import extract
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode, Tracer, use_span
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.api import detect, idempotency, preferences, problems
from frontend.arrival import Arrival, begun
from frontend.detection import DetectionService
from frontend.edge.layer import route_path
from frontend.identity.principal import principal
from frontend.image_request import TIMEOUT_S, ImageRequest
from frontend.layers import name_server
from frontend.server.protocol import scope_connection
from frontend.status import Status
from frontend.turns import Turns
from pipeline.errors import Overloaded
from pipeline.job import DetectOptions, Priority
from pipeline.queue.admission import Admissions, Reckoned
from pipeline.queue.keys import QUEUES

#: Refusals of one frontend that are traced in a second. They say the same each time, and to record,
#: send and store the span takes more than all the rest of a refusal; every one is counted.
TRACED_PER_S = 10
#: The field of a request that may be one that was sent before.
IDEMPOTENCY_KEY = idempotency.FIELD.encode()


class EarlyRefusals:
    """Inside of the layers that say who the client is and may, outside of the tracing. What it lets
    through is asked again where it is enqueued."""

    def __init__(
        self,
        app: ASGIApp,
        turns: Turns,
        admissions: Admissions,
        status: Status,
        tracer: Tracer,
        detection: Callable[[], DetectionService],
    ) -> None:
        self.app, self._turns, self._admissions, self._status = app, turns, admissions, status
        self._tracer, self._detection = tracer, detection
        self._second, self._traced = 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] != "POST"
            or route_path(scope) != detect.DETECT_PATH
        ):
            await self.app(scope, receive, send)
            return
        arrival, client = Arrival.now(), principal(scope).share
        arrival.note(scope)
        connection = scope_connection(scope)
        if not await self._turns.mine(client, lambda: connection is not None and connection.gone):
            # Nothing was begun, so there is nothing to trace.
            self._detection().gone(_asked(scope, arrival, INVALID_SPAN))
            if connection is not None:
                connection.drop()
            return
        terms = _terms(scope)
        try:
            reckoned = terms and self._early(client, terms, arrival)
        except Overloaded as error:
            await self._refuse(scope, receive, send, arrival, error)
            return
        with begun(arrival):
            await _reckoned(self.app, scope, receive, send, reckoned)

    def _early(self, client: str, terms: Terms, arrival: Arrival) -> Reckoned | None:
        """Raises Overloaded. What names a model that nobody serves is refused elsewhere."""
        pool = self._status.snapshot.pool_of(terms.model)
        if pool is None:
            return None
        left_s = terms.timeout_s - (time.monotonic() - arrival.monotonic_s)
        return self._admissions.of(pool).early(client, terms.priority, left_s)

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, arrival: Arrival, error: Overloaded
    ) -> None:
        span = _server_span(self._tracer, scope, arrival) if self._traces() else INVALID_SPAN
        with use_span(span, end_on_exit=True):
            await self._detection().refuse(_asked(scope, arrival, span), error)
            response = await problems.on_error(Request(scope), error)
            status = response.status_code
            span.set_attributes({"http.response.status_code": status, "error.type": str(status)})
            span.set_status(StatusCode.ERROR)
            await response(scope, receive, send)

    def _traces(self) -> bool:
        """Whether this refusal is traced."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._traced = second, 0
        self._traced += 1
        return self._traced <= TRACED_PER_S


async def _reckoned(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, reckoned: Reckoned | None
) -> None:
    """Answer a request of which the image is reckoned as ahead of others for as long."""
    if reckoned is None:
        await app(scope, receive, send)
        return

    async def send_noted(message: Message) -> None:
        # Before its client knows, who may come again at once.
        if message["type"] == "http.response.start" and message["status"] < 500:
            reckoned.ended(done=True)
        await send(message)

    try:
        await app(scope, receive, send_noted)
    finally:
        reckoned.ended(done=False)


class Terms(NamedTuple):
    priority: Priority
    timeout_s: float
    #: Empty where none is named.
    model: str = ""


def _terms(scope: Scope) -> Terms | None:
    """What a detection asks for whose client waits for it. None for others, for one that may be
    answered already, and where a parameter is not as it should be, which is said elsewhere."""
    if any(name == IDEMPOTENCY_KEY for name, _ in scope["headers"]):
        return None
    prefer = [value.decode("latin-1") for name, value in scope["headers"] if name == b"prefer"]
    preferred = preferences.read(prefer)
    if preferred.respond_async:
        return None
    timeout_s, priority, model = TIMEOUT_S, "normal", ""
    if query := scope["query_string"]:
        given = parse_qs(query.decode("latin-1"))
        try:
            (timeout_s,) = map(float, given.get("timeout", [TIMEOUT_S]))
            (priority,) = given.get("priority", ["normal"])
            (model,) = given.get("model", [""])
        except ValueError:
            return None
    if priority not in QUEUES or not 0 < timeout_s <= detect.TIMEOUT_MAX_S:
        return None
    return Terms(priority, min(timeout_s, preferred.wait_s or timeout_s), model)


def _asked(scope: Scope, arrival: Arrival, span: Span) -> ImageRequest:
    """A request whose image is not read."""
    who = principal(scope)
    return ImageRequest(
        span=span,
        route="api",
        received_ns=arrival.unix_ns,
        began_s=arrival.monotonic_s,
        read=_nothing,
        options=DetectOptions(),
        client=who.share,
        who=who,
    )


async def _nothing() -> bytes:
    return b""


def _server_span(tracer: Tracer, scope: Scope, arrival: Arrival) -> Span:
    """The SERVER span of a request that never comes to the instrumentation, with what that would
    say by the stable conventions."""
    headers = Headers(scope=scope)
    path, client = scope["path"], scope.get("client") or ("", 0)
    said = {
        "http.request.method": "POST",
        "http.route": detect.DETECT_PATH,
        "url.path": path,
        "url.query": scope["query_string"].decode("latin-1"),
        "url.scheme": scope["scheme"],
        "network.protocol.version": scope["http_version"],
        "client.address": client[0],
        "client.port": client[1],
        "user_agent.original": headers.get("user-agent", ""),
    }
    span = tracer.start_span(
        f"POST {detect.DETECT_PATH}",
        extract(dict(scope), getter=asgi_getter),
        SpanKind.SERVER,
        {name: value for name, value in said.items() if value},
        start_time=arrival.unix_ns,
    )
    name_server(span, dict(scope))
    return span
