"""One image that a client sent, on its way from the first byte to its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from opentelemetry.trace import Span

from frontend.identity.principal import ANONYMOUS, Principal
from pipeline.job import DetectOptions, Priority
from pipeline.queue.idempotency import Once
from pipeline.queue.pools import DEFAULT, Pool
from telemetry.context import trace_id

#: Seconds within which a result is wanted where a client does not say.
TIMEOUT_S = 30.0


@dataclass(slots=True)
class ImageRequest:
    """One image that a client sent, with the SERVER span of its request."""

    span: Span
    #: `api` or `ui`.
    route: str
    #: Unix nanoseconds of the first byte.
    received_ns: int
    #: Reads the encoded image; raises DamoscopeError when it is too large or cut off.
    read: Callable[[], Awaitable[bytes]]
    options: DetectOptions
    #: Called when the encoded image is no longer kept here.
    stored: Callable[[], None] = lambda: None
    #: For whom the client is limited: `Principal.share`.
    client: str = ""
    #: Who the client is, and whose the job will be.
    who: Principal = ANONYMOUS
    priority: Priority = "normal"
    #: Whose workers are to look at it.
    pool: Pool = DEFAULT
    #: Seconds from the first byte on within which the result is wanted: the job's deadline. None
    #: where nobody waits and none was named.
    timeout_s: float | None = TIMEOUT_S
    #: The first byte by `time.monotonic`.
    began_s: float = field(default_factory=time.monotonic)
    #: The host from which the image is fetched, where the client sent an address.
    image_host: str = ""
    #: Returns once the client has hung up, and not before.
    gone: Callable[[], Awaitable[object]] | None = None
    #: Who sends the answer says by `delivered` whether it went out. Otherwise the result counts as
    #: delivered once it is there.
    sends: bool = False
    #: By which the client says that a request is one that it has sent before.
    idempotency_key: str | None = None
    #: The same for the queue, once it is known what is asked.
    once: Once | None = None
    #: Whether the job is that of an earlier request.
    resent: bool = False
    #: Set once the job exists.
    job_id: str | None = None
    #: The job's way into the queue, which ends whatever becomes of the request.
    enqueuing: asyncio.Task[None] | None = None
    #: Storing its image, which comes before.
    storing: asyncio.Task[None] | None = None
    #: How it ended, once that is counted.
    outcome: str | None = None
    #: Whether a worker has answered, be it with an error.
    answered: bool = False

    @property
    def left_s(self) -> float | None:
        """Seconds that are left of `timeout_s`."""
        if self.timeout_s is None:
            return None
        return max(0.0, self.timeout_s - (time.monotonic() - self.began_s))

    @property
    def trace_id(self) -> str:
        return trace_id(self.span)
