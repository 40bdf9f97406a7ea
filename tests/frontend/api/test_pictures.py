"""frontend.api.pictures: what is answered for a picture, whatever lies in Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from frontend.api.pictures import content_type
from pipeline.queue.kept import kept_key
from tests.frontend.application import Application, application
from tests.servers import RedisProcess
from tests.worker.pictures import encode, gradient

TRACE, JOB = "a1" * 16, "b2" * 16
PATH = f"/api/v1/traces/{TRACE}/images/{JOB}"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, server: RedisProcess) -> Iterator[Application]:
    with application(tmp_path_factory.mktemp("home"), redis_url=server.url) as made:
        yield made


def put(server: RedisProcess, picture: bytes) -> None:
    server.client.delete(kept_key(TRACE, JOB))
    server.client.hset(kept_key(TRACE, JOB), "picture", picture)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_a_picture(app: Application, server: RedisProcess, kind: str) -> None:
    """Its type is by its bytes; browsers are told to believe it, to run nothing in it, and to
    show it to nobody else."""
    put(server, encode(gradient(), kind))
    answer = app.ask("GET", PATH)
    assert (answer.status_code, answer.content) == (200, encode(gradient(), kind))
    assert answer.headers["content-type"] == f"image/{kind.lower()}"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"].startswith("private")
    assert app.ask("HEAD", PATH).content == b""


@pytest.mark.parametrize("planted", [b"<html><script>alert(1)</script>", b"<svg/>", b"", b"II*\0"])
def test_what_is_no_picture(app: Application, server: RedisProcess, planted: bytes) -> None:
    """Whoever can write to Redis has no page of the service's: there is no such picture."""
    put(server, planted)
    answer = app.ask("GET", PATH)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert b"script" not in answer.content


def test_a_key_of_another_type(app: Application, server: RedisProcess) -> None:
    """There is no such picture."""
    server.client.delete(kept_key(TRACE, JOB))
    server.client.set(kept_key(TRACE, JOB), "x")
    assert app.ask("GET", PATH).status_code == 404


@pytest.mark.parametrize(
    "bad",
    ["x", JOB.upper(), f"{JOB}%0a", f"{JOB}:", "..%2f..%2fetc%2fpasswd", "*", "%00" * 32, "é" * 32],
)
def test_ids_that_are_none(app: Application, server: RedisProcess, bad: str) -> None:
    """They are refused before anything is looked for."""
    put(server, encode(gradient(), "JPEG"))
    for path in (f"/api/v1/traces/{bad}/images/{JOB}", f"/api/v1/traces/{TRACE}/images/{bad}"):
        assert app.ask("GET", path).status_code in (404, 422), path


def test_redis_is_away(tmp_path: Path) -> None:
    """That is said, in words of ours."""
    with application(tmp_path, redis_url="redis://127.0.0.1:1") as made:
        answer = made.ask("GET", PATH)
    assert answer.status_code == 503
    assert "Redis does not answer" in answer.json()["detail"]


def test_types() -> None:
    """Five formats, and nothing else."""
    assert content_type(b"RIFF\0\0\0\0WEBP") == "image/webp"
    assert content_type(b"RIFF\0\0\0\0WAVE") is None
    assert content_type(b"%PDF") is None
