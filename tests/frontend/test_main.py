"""frontend.main: how the application is served."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from fastapi import FastAPI, Request

from frontend.main import configuration
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings, load

FORWARDED = {"x-forwarded-for": "10.9.8.7", "x-forwarded-proto": "https"}


@pytest.mark.parametrize(
    ("trusted", "client", "scheme"),
    [
        (None, "127.0.0.1", "http"),
        ("10.0.0.0/8", "127.0.0.1", "http"),
        ("10.0.0.1, 127.0.0.0/8", "10.9.8.7", "https"),
    ],
)
def test_a_proxy_is_believed_by_choice_only(
    monkeypatch: pytest.MonkeyPatch, trusted: str | None, client: str, scheme: str
) -> None:
    """Who a request comes from is the connection's address, unless the proxy is trusted by name;
    uvicorn's own variable changes nothing."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    app = FastAPI(telemetry={"tracing": False})

    @app.get("/")
    async def who(request: Request) -> list[str]:
        assert request.client
        return [request.client.host, request.url.scheme]

    config = configuration(app, Settings(trusted_proxies=trusted))
    config.load()

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=config.loaded_app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as opened:
            return await opened.get("/", headers=FORWARDED)

    assert asyncio.run(ask()).json() == [client, scheme]


def test_a_proxy_that_is_none() -> None:
    """What is no address is refused by the setting's name."""
    with pytest.raises(ConfigurationError, match=r"DAMOSCOPE_TRUSTED_PROXIES=proxy\.local"):
        load(trusted_proxies="proxy.local")
