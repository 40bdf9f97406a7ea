"""One frontend process, from start to end."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from types import FrameType

import uvicorn
from pydantic import SecretStr

from frontend.app import Frontend, build
from frontend.detection import DetectionService
from frontend.identity.start import keys_needed
from frontend.identity.tokens import new_token
from frontend.server.bounds import KEEP_ALIVE_S
from frontend.server.connections import Connections
from frontend.server.protocol import BoundedProtocol
from monitoring.stores.selection import open_stores
from pipeline.errors import ConfigurationError
from pipeline.liveness import Alive, Liveness
from pipeline.settings import Settings
from telemetry import catalogue, setup, variables
from telemetry.setup import Telemetry

#: Seconds that open connections (a page's event stream) are given when the service stops.
GRACE_S = 1
#: Seconds between the event loop's signs of life.
BEAT_S = 0.5
#: Connections that are accepted in one round of the event loop, from each socket: libuv accepts one
#: for each descriptor of it. With one, hundreds of clients that connect anew wait for one another.
ACCEPTS = 4
#: Seconds for the answers to those who wait, and so for the ends of their spans.
ANSWERS_S = 0.1
#: Seconds for the last telemetry, and between two looks whether something has ended.
TELEMETRY_S, LOOK_S = 1.5, 0.05


class Server(uvicorn.Server):
    """Uvicorn that finishes what it has in hand, answers who waits still, and sends its telemetry
    before it stops listening.

    The order matters on a single machine, where the receiver of the telemetry is this
    very process. A second signal leaves out the finishing, a third everything.
    """

    def __init__(
        self, config: uvicorn.Config, app: Frontend, telemetry: Telemetry, drain_s: float
    ) -> None:
        super().__init__(config)
        self._app, self._telemetry, self._drain_s = app, telemetry, drain_s
        self._signals = 0
        self._leaving: asyncio.Task[None] | None = None
        self._liveness = Liveness()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except OSError as error:  # of sockets that we were given
            raise SystemExit(str(error)) from error
        self._beat(asyncio.get_running_loop(), self._liveness.watch("the event loop"))
        self._liveness.start()

    def _beat(self, loop: asyncio.AbstractEventLoop, alive: Alive) -> None:
        alive()
        loop.call_later(BEAT_S, self._beat, loop, alive)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals == 1:
            loop = asyncio.get_event_loop()
            loop.call_soon_threadsafe(self._begin_to_leave, loop)
        elif self._signals > 2:
            self.should_exit = self.force_exit = True

    def _begin_to_leave(self, loop: asyncio.AbstractEventLoop) -> None:
        self._leaving = loop.create_task(self._leave(), name="leaving")

    async def _leave(self) -> None:
        try:
            await self._drain()
            if self._signals == 1:
                # In a thread, because the receiver may be this very loop.
                ending = threading.Thread(target=self._telemetry.shutdown, args=(TELEMETRY_S,))
                ending.start()
                while ending.is_alive():
                    await asyncio.sleep(LOOK_S)
        finally:
            self.should_exit = True

    async def _drain(self) -> None:
        """Take no more images, finish those in hand for a while, then answer who waits still."""
        state = self._app.state
        detection: DetectionService = state.detection
        connections: Connections = state.connections
        detection.take_no_more()
        connections.keep_none()
        ends = time.monotonic() + self._drain_s
        while detection.in_hand and time.monotonic() < ends and self._signals == 1:
            if state.status.snapshot.nobody_works:  # and so nothing will be finished
                break
            await asyncio.sleep(LOOK_S)
        detection.stop()
        connections.give_up_uploads()
        await asyncio.sleep(ANSWERS_S)


def configuration(app: Frontend, settings: Settings) -> uvicorn.Config:
    """How the application is served."""
    app.state.connections = Connections(
        app.state.bounds, app.state.memory, settings.trusted_proxies
    )
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        http=BoundedProtocol.within(app.state.connections),
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_S,
        # By itself uvicorn believes whatever comes from this machine; `frontend.edge` does not.
        proxy_headers=False,
    )


def _with_token(settings: Settings) -> Settings:
    """With a token for the receiver, which nobody else knows unless `damoscope up` or the user
    has told it to others."""
    if settings.otlp_token is not None:
        return settings
    return settings.model_copy(update={"otlp_token": SecretStr(new_token())})


def _each_several(sockets: Iterable[socket.socket]) -> list[socket.socket]:
    """Each of them, and further descriptors of the same."""
    return [again for one in sockets for again in (one, *(one.dup() for _ in range(ACCEPTS - 1)))]


def run(settings: Settings, descriptors: Sequence[int]) -> None:
    """Serve until SIGTERM or SIGINT, on sockets that are bound to the port of the settings. Raises
    ConfigurationError when it cannot begin."""
    if settings.prometheus_url is None:
        # The embedded store is fed like any other: over OTLP, by default by ourselves.
        settings = _with_token(settings)
        assert settings.otlp_token is not None
        token = settings.otlp_token.get_secret_value()
        variables.send_to(os.environ, f"{settings.base_url}/otlp", token)
    # Which conventions instrumentations follow. They look once, when the first of them starts,
    # and their own default are the old ones.
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    keys_needed(settings)  # says, before anything is opened, if it must not start like this
    stores = open_stores(settings)
    telemetry = setup.start(catalogue.SERVICE_FRONTEND)
    app = build(settings, telemetry, stores)
    # What is loaded by now stays: looking through it for garbage would halt requests for 0.2 s.
    gc.collect()
    gc.freeze()
    server = Server(configuration(app, settings), app, telemetry, settings.drain_s)
    try:
        server.run(_each_several(socket.socket(fileno=number) for number in descriptors))
    except SystemExit as error:  # uvicorn's answer to a port that cannot be bound
        raise ConfigurationError(
            f"DAMOSCOPE_PORT={settings.port}: cannot listen on {settings.host}:{settings.port}"
        ) from error
    finally:
        telemetry.shutdown(timeout_s=0.5)
