"""frontend.fetching: real servers on this machine, and a resolver that says where names are."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from frontend.fetching import EACH, ImageFetcher
from pipeline.errors import (
    DamoscopeError,
    DetectionTimeout,
    FetchFailed,
    ImageTooLarge,
    InvalidParameter,
    RateLimited,
)
from pipeline.image_hosts import Address
from pipeline.settings import Settings
from tests.integration.pictures import jpeg
from tests.servers import free_port

LOOPBACK = ip_address("127.0.0.1")
MOST = 100_000
IMAGE = jpeg(64, 48)
BOMB = gzip.compress(bytes(10**7))

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def answer(status: str = "200 OK", body: bytes = b"", *fields: str) -> Answer:
    """The same for every request."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""])

    async def send(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode() + body)
        await writer.drain()

    return send


@asynccontextmanager
async def serving(
    port: int, how: Answer, tls: ssl.SSLContext | None = None
) -> AsyncIterator[list[bytes]]:
    """A server of HTTP at a port; yields the headers of the requests that came."""
    asked: list[bytes] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            asked.append(head)
            await how(head, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", port, ssl=tls)
    try:
        yield asked
    finally:
        server.close()


class Names:
    """Where names are; each in turn as it is looked up."""

    def __init__(self, *places: str) -> None:
        self.places = [ip_address(place) for place in places]
        self.asked: list[str] = []

    async def __call__(self, name: str, port: int) -> Sequence[Address]:
        self.asked.append(name)
        return [self.places[min(len(self.asked), len(self.places)) - 1]]


def fetcher(
    hosts: str, names: Names | None = None, tls: ssl.SSLContext | None = None
) -> ImageFetcher:
    settings = Settings(image_hosts=hosts, max_upload_bytes=MOST)
    return ImageFetcher(settings, names or Names("127.0.0.1"), tls)


def get(hosts: str, url: str, how: Answer, port: int, within_s: float = 60.0) -> bytes:
    """Fetch from a name that is on this machine, as the operator said."""

    async def run() -> bytes:
        async with serving(port, how):
            return await fetcher(hosts).fetch(url, "me", within_s)

    return asyncio.run(run())


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def hosts(port: int) -> str:
    """A camera on this machine."""
    return f"http://cam.example:{port}=127.0.0.0/8"


def test_what_is_sent_and_got(hosts: str, port: int) -> None:
    """One plain request under the host's own name, with nothing of ours: no cookies, no trace, no
    way back."""

    async def run() -> tuple[bytes, list[bytes]]:
        async with serving(port, answer("200 OK", IMAGE, "Set-Cookie: a=b")) as asked:
            asks = fetcher(hosts)
            url = f"http://CAM.example:{port}/a/b.jpg?token=1#part"
            first = await asks.fetch(url, "me")
            assert await asks.fetch(url, "me") == first
            return first, asked

    found, asked = asyncio.run(run())
    assert found == IMAGE
    lines = [head.decode().lower().split("\r\n") for head in asked]
    assert lines[0] == lines[1]
    assert lines[0][0] == "get /a/b.jpg?token=1 http/1.1"
    names = {line.partition(":")[0] for line in lines[0][1:] if line}
    assert names == {"host", "user-agent", "accept", "accept-encoding", "connection"}
    assert f"host: cam.example:{port}" in lines[0]


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:{port}/", "http://[::1]:{port}/",
        "http://2130706433:{port}/", "http://0x7f.1:{port}/", "http://cam.example/",
        "https://cam.example:{port}/", "http://other.example:{port}/", "http://cam.example:{port}@evil/",
        "http://user:pass@cam.example:{port}/", "http://cam.example.evil.example:{port}/",
        "http://cam.example:{port}\\@evil.example/", "http://cam.example:{port}/\r\nX: y",
        "file:///etc/passwd", "gopher://cam.example:{port}/", "//cam.example:{port}/",
        "cam.example",
        "http://", "", "http://cam.example:0/", "http://cam.example:99999/", "http://[/",
        "http://cam.example:{port}/" + "a" * 3000,
    ],
)  # fmt: skip
def test_other_addresses_are_never_asked(hosts: str, port: int, url: str) -> None:
    """Another host, scheme or port, a user, and what can be read in two ways: refused before
    anything is looked up."""
    names = Names("127.0.0.1")

    async def run() -> list[bytes]:
        async with serving(port, answer("200 OK", IMAGE)) as asked:
            with pytest.raises(InvalidParameter, match=r"^url:"):
                await fetcher(hosts, names).fetch(url.replace("{port}", str(port)), "me")
            return asked

    assert asyncio.run(run()) == []
    assert names.asked == []


@pytest.mark.parametrize("place", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1"])
def test_a_name_leads_into_no_network_of_ones_own(port: int, place: str) -> None:
    """Unless the operator has said that it does."""

    async def run() -> list[bytes]:
        async with serving(port, answer("200 OK", IMAGE)) as asked:
            asks = fetcher(f"http://cam.example:{port}", Names(place))
            with pytest.raises(InvalidParameter, match="is in a network that images are not"):
                await asks.fetch(f"http://cam.example:{port}/", "me")
            return asked

    assert asyncio.run(run()) == []


def test_a_name_that_moves(hosts: str, port: int) -> None:
    """A name is looked up once for a connection: one that is elsewhere a moment later is not gone
    after. The next request looks anew, and is checked anew."""
    names = Names("127.0.0.1", "192.168.0.1")

    async def run() -> None:
        async with serving(port, answer("200 OK", IMAGE)):
            asks = fetcher(hosts, names)
            assert await asks.fetch(f"http://cam.example:{port}/", "me") == IMAGE
            assert names.asked == ["cam.example"]
            with pytest.raises(InvalidParameter, match="is in a network"):
                await asks.fetch(f"http://cam.example:{port}/", "me")

    asyncio.run(run())


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest/", "http://127.0.0.1:{port}/", "https://cam.example/",
     "http://cam.example:1/", "//other.example/", "file:///etc/passwd"],
)  # fmt: skip
def test_a_redirect_is_checked_like_the_first(hosts: str, port: int, location: str) -> None:
    """Wherever the other side leads."""
    leads = answer("302 Found", b"", f"Location: {location.replace('{port}', str(port))}")
    with pytest.raises(InvalidParameter, match="leads to another address"):
        get(hosts, f"http://cam.example:{port}/", leads, port)


def test_redirects_within_the_host(hosts: str, port: int) -> None:
    """A few are followed, an endless round is not."""

    async def leads(head: bytes, writer: asyncio.StreamWriter) -> None:
        further = head.startswith(b"GET /last")
        how = answer("200 OK", IMAGE) if further else answer("307 x", b"", "Location: /last")
        await how(head, writer)

    assert get(hosts, f"http://cam.example:{port}/first", leads, port) == IMAGE
    round_ = answer("302 Found", b"", "Location: /again")
    with pytest.raises(FetchFailed, match="more than 3 redirects"):
        get(hosts, f"http://cam.example:{port}/", round_, port)


async def _endless(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n")
    while True:
        writer.write(bytes(16_384))
        await writer.drain()


async def _nonsense(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    await writer.drain()


async def _broken(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    await writer.drain()


async def _drip(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def _silent(_: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        (_endless, ImageTooLarge, "sends has more than the 100,000 bytes"),
        (answer("200 OK", bytes(MOST + 1)), ImageTooLarge, "sends has more than the 100,000"),
        (answer("200 OK", BOMB, "Content-Encoding: gzip"), FetchFailed, "packs"),
        (answer("404 Not Found"), InvalidParameter, "cam.example answers 404, and no image"),
        (answer("401 Unauthorized"), InvalidParameter, "answers 401"),
        (answer("500 Oops"), FetchFailed, "answers 500"),
        (answer("204 No Content"), FetchFailed, "answers 204"),
        (_nonsense, FetchFailed, "breaks off, or is none of HTTP"),
        (_broken, FetchFailed, "breaks off, or is none of HTTP"),
    ],
)  # fmt: skip
def test_whose_fault_it_is(
    hosts: str, port: int, how: Answer, kind: type[DamoscopeError], said: str
) -> None:
    """The client's, who names what is not there or too large; or the other side's."""
    with pytest.raises(kind, match=said):
        get(hosts, f"http://cam.example:{port}/x.jpg", how, port)


@pytest.mark.parametrize("how", [_drip, _silent])
def test_who_is_slow_is_left(hosts: str, port: int, how: Answer) -> None:
    """Within the time that the request has, however the bytes come."""
    with pytest.raises(DetectionTimeout, match=r"cam.example did not send the image within 0.5 s"):
        get(hosts, f"http://cam.example:{port}/", how, port, within_s=0.5)


def test_nobody_there(hosts: str, port: int) -> None:
    """Neither at the port, nor under the name."""
    with pytest.raises(FetchFailed, match="it cannot be connected to"):
        asyncio.run(fetcher(hosts).fetch(f"http://cam.example:{port}/", "me"))

    async def unknown(name: str, port: int) -> Sequence[Address]:
        raise OSError("no such name")

    asks = ImageFetcher(Settings(image_hosts=hosts), unknown)
    with pytest.raises(FetchFailed, match="is not known to the names' servers"):
        asyncio.run(asks.fetch(f"http://cam.example:{port}/", "me"))


def test_no_proxy_is_used(hosts: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says of proxies is for others."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    assert get(hosts, f"http://cam.example:{port}/", answer("200 OK", IMAGE), port) == IMAGE


def test_a_certificate_has_the_hosts_name(tmp_path: Path, port: int) -> None:
    """By https the host proves its name, though it is its address that is connected to."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=cam.example", "-addext", "subjectAltName=DNS:cam.example",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    serves = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serves.load_cert_chain(certificate, key)
    trusts = ssl.create_default_context(cafile=certificate)

    async def run(name: str, tls: ssl.SSLContext | None) -> bytes:
        async with serving(port, answer("200 OK", IMAGE), serves):
            asks = fetcher(f"{name}:{port}=127.0.0.0/8", None, tls)
            return await asks.fetch(f"https://{name}:{port}/x.jpg", "me")

    assert asyncio.run(run("cam.example", trusts)) == IMAGE
    for name, tls in (("other.example", trusts), ("cam.example", None)):
        with pytest.raises(FetchFailed, match="certificate is not trusted"):
            asyncio.run(run(name, tls))


def test_one_client_fetches_so_many_at_once(hosts: str, port: int) -> None:
    """The others are refused, not kept waiting."""

    async def run() -> None:
        async with serving(port, _silent) as asked:
            asks = fetcher(hosts)
            url = f"http://cam.example:{port}/"
            under_way = [asyncio.create_task(asks.fetch(url, "me")) for _ in range(EACH)]
            while len(asked) < EACH:
                await asyncio.sleep(0.01)
            with pytest.raises(RateLimited, match="16 images by address under way"):
                await asks.fetch(url, "me")
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    asyncio.run(run())


def test_without_the_setting_nothing_is_asked() -> None:
    """It is off unless the operator names a host."""
    with pytest.raises(InvalidParameter, match="is none of the hosts"):
        asyncio.run(ImageFetcher(Settings()).fetch("https://cam.example/", "me"))
