"""Addresses, and answers that are not as they should be."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.errors import ConfigurationError
from run.load.connection import BODY_MAX, Broken, Target, opened
from tests.run.load.stub import Stub, answer


@pytest.mark.parametrize(
    ("url", "port", "base", "path"),
    [
        ("http://h:7860", 7860, "http://h:7860", "/api/v1/detect"),
        ("h:7860/", 7860, "http://h:7860", "/api/v1/detect"),
        ("https://h/under", 443, "https://h/under", "/under/api/v1/detect"),
        ("http://h/api/v1/detect", 80, "http://h", "/api/v1/detect"),
        ("http://[::1]:8000", 8000, "http://[::1]:8000", "/api/v1/detect"),
    ],
)
def test_addresses(url: str, port: int, base: str, path: str) -> None:
    """A service's own address, also under a path, or that of its detections."""
    target = Target.of(url)
    assert (target.port, target.base, target.path) == (port, base, path)


@pytest.mark.parametrize(
    "url", ["", "ftp://h", "http://", "http://h:99999", "http://user:secret@h", "http://h?key=1"]
)
def test_what_is_no_address_is_said(url: str) -> None:
    """And what it holds of secrets is not repeated."""
    with pytest.raises(ConfigurationError) as raised:
        Target.of(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"SSH-2.0-x\r\n", "not HTTP"), (None, "closed"), (b"HTTP/1.1 200 OK\r\n\r", "closed")],
)
def test_what_is_no_whole_answer_is_broken(data: bytes | None, says: str) -> None:
    """Not HTTP at all, nothing, or half a head and then the end."""

    async def reply(number: int) -> bytes | None:
        return data

    async def run() -> None:
        async with Stub(reply).listening() as url:
            target = Target.of(url)
            connection = await opened(target, 20)
            asking = asyncio.create_task(connection.ask(target.request(b"x", "image/jpeg")))
            if data and says == "closed":
                await asyncio.sleep(0.1)
                connection.close()
            await asyncio.wait_for(asking, 20)

    with pytest.raises(Broken, match=says):
        asyncio.run(run())


def test_a_huge_answer_is_counted_and_not_kept() -> None:
    """Of three megabytes one is kept, and three are counted."""

    async def reply(_: int) -> bytes:
        return answer(200, b"y" * (3 * BODY_MAX))

    async def run() -> tuple[int, int]:
        async with Stub(reply).listening() as url:
            target = Target.of(url)
            connection = await opened(target, 20)
            got = await connection.ask(target.request(b"x", "image/jpeg"))
            connection.close()
            return len(got.body), got.size

    assert asyncio.run(run()) == (BODY_MAX, 3 * BODY_MAX)
