"""The door for images: each has its turn, and what cannot be answered in time is refused before a
byte of it is read."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qs

from opentelemetry.trace import get_current_span
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.api import detect, idempotency, preferences, problems
from frontend.detection import DetectionService
from frontend.edge.layer import route_path
from frontend.identity.principal import principal
from frontend.image_request import TIMEOUT_S, Arrival, ImageRequest
from pipeline.job import DetectOptions, Priority
from pipeline.queue.admission import Admission
from pipeline.queue.keys import QUEUES

#: The field of a request that may be one that was sent before.
IDEMPOTENCY_KEY = idempotency.FIELD.encode()
#: Rounds of the event loop from one turn to the next.
ROUNDS_A_TURN = 4


@dataclass(slots=True)
class _Line:
    """The requests of one client."""

    turns: deque[asyncio.Future[None]] = field(default_factory=deque)
    newest: bool = False

    def next(self) -> asyncio.Future[None]:
        """Alternately the newest and the oldest."""
        self.newest = not self.newest
        return self.turns.pop() if self.newest else self.turns.popleft()


class Turns:
    """Lets one request begin every few rounds of the event loop; clients take turns.

    What is in hand needs a dozen rounds from its first byte to its answer. Where hundreds are
    refused in each of them, it needs seconds, and is never done in time. The rounds between are
    for connections: one is accepted in each.

    Of one client, the newest request and the oldest have their turns alternately: if all waited in
    line while more come than can be refused, each would have its turn when its time is over.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, _Line] = OrderedDict()
        self._given = False

    async def mine(self, client: str) -> None:
        """Return when it is this client's turn."""
        loop = asyncio.get_running_loop()
        if not self._given:
            self._given = True
            loop.call_soon(self._next, ROUNDS_A_TURN)
            return
        turn = loop.create_future()
        self._waiting.setdefault(client, _Line()).turns.append(turn)
        await turn

    def _next(self, rounds: int) -> None:
        if rounds > 1:
            asyncio.get_running_loop().call_soon(self._next, rounds - 1)
            return
        while self._waiting:
            client, line = self._waiting.popitem(last=False)
            turn = line.next()
            if line.turns:
                self._waiting[client] = line
            if not turn.done():  # its request was not cancelled meanwhile
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._next, ROUNDS_A_TURN)
                return
        self._given = False


class EarlyRefusals:
    """Inside of the tracing and of the layer that says who the client is, outside of that which
    makes room for bodies. What it lets through is asked again where it is enqueued."""

    def __init__(self, app: ASGIApp, admission: Admission, detection: DetectionService) -> None:
        self.app, self._admission, self._detection = app, admission, detection
        self._turns = Turns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] != "POST"
            or route_path(scope) != detect.DETECT_PATH
        ):
            await self.app(scope, receive, send)
            return
        arrived, who = Arrival.now(scope), principal(scope)
        await self._turns.mine(who.name)
        terms = _terms(scope)
        error = terms and self._admission.early(
            who.name, terms.priority, terms.timeout_s - (time.monotonic() - arrived.monotonic_s)
        )
        if error is None:
            await self.app(scope, receive, send)
            return
        refused = ImageRequest(
            span=get_current_span(),
            route="api",
            received_ns=arrived.unix_ns,
            read=_nothing,
            options=DetectOptions(),
            client=who.name,
            who=who,
        )
        await self._detection.refuse(refused, error)
        response = await problems.on_error(Request(scope), error)
        await response(scope, receive, send)


class Terms(NamedTuple):
    priority: Priority
    timeout_s: float


def _terms(scope: Scope) -> Terms | None:
    """What a detection asks for whose client waits for it. None for others, for one that may be
    answered already, and where a parameter is not as it should be, which is said elsewhere."""
    if any(name == IDEMPOTENCY_KEY for name, _ in scope["headers"]):
        return None
    prefer = [value.decode("latin-1") for name, value in scope["headers"] if name == b"prefer"]
    preferred = preferences.read(prefer)
    if preferred.respond_async:
        return None
    timeout_s, priority = TIMEOUT_S, "normal"
    if query := scope["query_string"]:
        given = parse_qs(query.decode("latin-1"))
        try:
            (timeout_s,) = map(float, given.get("timeout", [TIMEOUT_S]))
            (priority,) = given.get("priority", ["normal"])
        except ValueError:
            return None
    if priority not in QUEUES or not 0 < timeout_s <= detect.TIMEOUT_MAX_S:
        return None
    return Terms(priority, min(timeout_s, preferred.wait_s or timeout_s))


async def _nothing() -> bytes:
    return b""
