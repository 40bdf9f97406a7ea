"""frontend.main: how the application is served."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from frontend.api.detect import DETECT_PATH
from frontend.main import configuration
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
