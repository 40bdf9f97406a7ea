"""frontend.main: how the application is served."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import httpx
import pytest
import uvloop

from frontend.api.detect import DETECT_PATH
from frontend.main import ACCEPTS, _each_several, configuration
from pipeline.settings import Settings
from tests.frontend.application import application


def test_the_server_believes_nobody_by_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who a request comes from is the connection's address, unless the proxy is trusted by name;
    uvicorn's own variable changes nothing."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    with application(tmp_path) as built:
        config = configuration(built.served, Settings())
        config.load()

        async def ask() -> None:
            transport = httpx.ASGITransport(app=config.loaded_app)  # type: ignore[arg-type]
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost"
            ) as opened:
                fields = {"x-forwarded-for": "10.9.8.7", "content-type": "image/jpeg"}
                await opened.post(DETECT_PATH, content=b"1", headers=fields)

        asyncio.run(ask())
        assert [asked.client for asked in built.detection.asked] == ["127.0.0.1"]


def test_several_are_accepted_in_one_round() -> None:
    """Clients that connect anew do not each wait for a round of the event loop."""

    async def rounds(clients: int) -> int:
        accepted = 0

        class Connection(asyncio.Protocol):
            def connection_made(self, _: asyncio.BaseTransport) -> None:
                nonlocal accepted
                accepted += 1

        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listening.listen(clients)
            sockets = [stack.enter_context(one) for one in _each_several([listening])]
            for _ in range(clients):
                stack.enter_context(socket.create_connection(listening.getsockname()))
            servers = [await loop.create_server(Connection, sock=one) for one in sockets]
            count = 0
            while accepted < clients:
                await asyncio.sleep(0)
                count += 1
            for server in servers:
                server.close()
        return count

    assert uvloop.run(rounds(10 * ACCEPTS)) <= 10 + 3
