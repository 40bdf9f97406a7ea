"""One frontend process, from start to end."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import time
from types import FrameType

import uvicorn
from pydantic import SecretStr

from frontend.app import Frontend, build
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
#: Seconds for the answers to those who wait, and so for the ends of their spans.
ANSWERS_S = 0.1


class Server(uvicorn.Server):
    """Uvicorn that answers waiting requests and sends its telemetry before it stops listening.

    The order matters on a single machine, where the receiver of the telemetry is this
    very process.
    """

    def __init__(self, config: uvicorn.Config, app: Frontend, telemetry: Telemetry) -> None:
        super().__init__(config)
        self._app, self._telemetry = app, telemetry
        self._leaving = False
        self._liveness = Liveness()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._beat(asyncio.get_running_loop(), self._liveness.watch("the event loop"))
        self._liveness.start()

    def _beat(self, loop: asyncio.AbstractEventLoop, alive: Alive) -> None:
        alive()
        loop.call_later(BEAT_S, self._beat, loop, alive)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._leaving:
            super().handle_exit(sig, frame)
            return
        self._leaving = True
        threading.Thread(target=self._leave, args=(asyncio.get_event_loop(),)).start()

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self._app.state.detection.stop)
        time.sleep(ANSWERS_S)
        self._telemetry.shutdown(timeout_s=1.5)
        self.should_exit = True


def configuration(app: Frontend, settings: Settings) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        http=BoundedProtocol.within(
            Connections(app.state.bounds, app.state.memory, settings.trusted_proxies)
        ),
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


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigurationError when it cannot begin."""
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
    server = Server(configuration(app, settings), app, telemetry)
    try:
        server.run()
    except SystemExit as error:  # uvicorn's answer to a port that cannot be bound
        raise ConfigurationError(
            f"DAMOSCOPE_PORT={settings.port}: cannot listen on {settings.host}:{settings.port}"
        ) from error
    finally:
        telemetry.shutdown(timeout_s=0.5)
