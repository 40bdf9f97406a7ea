"""Images by their address: fetched from the hosts that the operator named, and from nowhere else.

Whoever may send an image could otherwise have the service look into the network that it stands
in. So each address is read by the parser that the request is made of; its host is looked up once,
and connected to at an address that was checked; and each redirect is an address like the first.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from ipaddress import ip_address
from typing import Final

import httpx

from frontend.slots import Slots
from pipeline.errors import (
    DetectionTimeout,
    FetchFailed,
    ImageTooLarge,
    InvalidParameter,
    Unavailable,
)
from pipeline.image_hosts import PORTS, Address, ImageHost, parsed
from pipeline.settings import Settings

#: Characters of an address, redirects that are followed, and addresses of a host that are tried.
URL_MOST: Final = 2048
REDIRECTS_MOST: Final = 3
ADDRESSES_MOST: Final = 3
#: Seconds for all of it at most, whatever a request's own time is, and for each connection.
FETCH_S: Final = 20.0
CONNECT_S: Final = 5.0
#: Names that are looked up at once. Threads of their own: a server of names that does not answer
#: holds up no other work.
LOOKUPS: Final = 8

#: Images that are fetched at once: for each client, and for all.
EACH, MOST = 16, 64

#: Addresses of a host's name and port, as the system's resolver tells them.
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


def _nothing(_: int) -> Awaitable[None]:
    return asyncio.sleep(0)


class ImageFetcher:
    """Fetches an image by its address."""

    def __init__(
        self, settings: Settings, resolve: Resolve | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.hosts: tuple[ImageHost, ...] = parsed(settings.image_hosts or "")
        self._max_bytes = settings.max_upload_bytes
        self._lookups = ThreadPoolExecutor(LOOKUPS, "image-hosts") if self.hosts else None
        self._resolve = resolve or self._by_system
        self._slots = Slots("images by address", each=EACH, most=MOST)
        self._tls = tls or (httpx.create_ssl_context() if self.hosts else None)

    def close(self) -> None:
        """Look up no more names."""
        if self._lookups is not None:
            self._lookups.shutdown(wait=False, cancel_futures=True)

    def check(self, address: str) -> httpx.URL:
        """The address as a URL of a host that may be asked. Raises InvalidParameter."""
        return self._allowed(address)[0]

    async def fetch(
        self,
        address: str,
        client: str,
        within_s: float | None = None,
        take: Callable[[int], Awaitable[None]] = _nothing,
    ) -> bytes:
        """The bytes that an address leads to, for a client; `take` is told of each part how many
        they are before they are kept. No more than `within_s` seconds.

        Raises InvalidParameter for an address that is not allowed or where there is nothing,
        ImageTooLarge, DetectionTimeout, and FetchFailed where the other side is at fault.
        """
        url, host = self._allowed(address)
        limit_s = FETCH_S if within_s is None else min(FETCH_S, within_s)
        try:
            with self._slots.one(client):
                async with asyncio.timeout(limit_s):
                    return await self._follow(url, host, take)
        except TimeoutError:
            raise DetectionTimeout(
                f"{url.host} did not send the image within {limit_s:g} s"
            ) from None

    async def _follow(
        self, url: httpx.URL, host: ImageHost, take: Callable[[int], Awaitable[None]]
    ) -> bytes:
        for _ in range(REDIRECTS_MOST + 1):
            found = await self._ask(url, host, take)
            if isinstance(found, bytes):
                return found
            url, host = self._allowed(found, led_from=url.host)
        raise FetchFailed(f"{url.host} leads on and on: more than {REDIRECTS_MOST} redirects")

    async def _ask(
        self, url: httpx.URL, host: ImageHost, take: Callable[[int], Awaitable[None]]
    ) -> bytes | str:
        """What one address answers with: an image's bytes, or another address."""
        async with AsyncExitStack() as stack:
            try:
                answer = await self._connect(stack, url, host)
                if answer.is_redirect:
                    return str(url.join(answer.headers.get("location", "")))
                _check(answer, url)
                return await self._read(answer, url, take)
            except httpx.InvalidURL:
                raise FetchFailed(f"{url.host} leads to no address that can be read") from None
            except (httpx.HTTPError, ssl.SSLError, OSError) as error:
                raise FetchFailed(f"{url.host} cannot be fetched from: {_why(error)}") from error

    async def _connect(
        self, stack: AsyncExitStack, url: httpx.URL, host: ImageHost
    ) -> httpx.Response:
        """The answer's header, from the first of the host's addresses that can be reached."""
        # Of each address a client of its own: its connections are told apart by address, so that
        # one to another host there would be used; and cookies are kept by nobody.
        assert self._tls is not None
        failure: httpx.TransportError | None = None
        for address in await self._addresses(url, host):
            client = httpx.AsyncClient(
                verify=self._tls,
                trust_env=False,
                timeout=httpx.Timeout(FETCH_S, connect=CONNECT_S),
            )
            await stack.enter_async_context(client)
            request = client.build_request(
                "GET",
                url.copy_with(host=str(address), fragment=None),
                headers={
                    "Host": url.netloc.decode("ascii"),
                    "User-Agent": "damoscope",
                    "Accept": "image/*",
                    "Accept-Encoding": "identity",
                },
                extensions={"sni_hostname": url.raw_host.decode("ascii").removesuffix(".")},
            )
            try:
                answer = await client.send(request, stream=True, follow_redirects=False)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
                continue
            stack.push_async_callback(answer.aclose)
            return answer
        assert failure is not None
        raise failure

    async def _addresses(self, url: httpx.URL, host: ImageHost) -> Sequence[Address]:
        name = url.raw_host.decode("ascii")
        try:
            found = await self._resolve(name, _port(url))
        except OSError:
            raise FetchFailed(f"{url.host} is not known to the names' servers") from None
        allowed = [address for address in found if host.may_be_at(address)]
        if not allowed:
            raise InvalidParameter(
                f"url: {url.host} is in a network that images are not fetched from"
            )
        return allowed[:ADDRESSES_MOST]

    async def _by_system(self, name: str, port: int) -> Sequence[Address]:
        if self._lookups is None:
            raise Unavailable("no images are fetched here")
        found = await asyncio.get_running_loop().run_in_executor(
            self._lookups, lambda: socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        )
        return [ip_address(str(place[0]).partition("%")[0]) for *_, place in found]

    async def _read(
        self, answer: httpx.Response, url: httpx.URL, take: Callable[[int], Awaitable[None]]
    ) -> bytes:
        too_large = ImageTooLarge(
            f"what {url.host} sends has more than the {self._max_bytes:,} bytes allowed"
        )
        declared = answer.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise too_large
        data = bytearray()
        async for part in answer.aiter_raw():
            if len(data) + len(part) > self._max_bytes:
                raise too_large
            await take(len(part))
            data += part
        return bytes(data)

    def _allowed(self, address: str, *, led_from: str = "") -> tuple[httpx.URL, ImageHost]:
        """The address, and the host of the setting that it is of. Raises InvalidParameter."""
        where = f"url: {led_from} leads to another address, which" if led_from else "url:"
        if len(address) > URL_MOST or not address.isprintable() or "\\" in address:
            raise InvalidParameter(f"{where} is no address of at most {URL_MOST:,} characters")
        try:
            url = httpx.URL(address)
            scheme, name, port = url.scheme, url.raw_host.decode("ascii").lower(), _port(url)
        except (httpx.InvalidURL, UnicodeError, ValueError, KeyError):
            raise InvalidParameter(
                f"{where} cannot be read: write it like https://host/image.jpg"
            ) from None
        if scheme not in PORTS or not name:
            raise InvalidParameter(f"{where} has to begin with https://, and to name a host")
        if url.userinfo:
            raise InvalidParameter(f"{where} names a user: nothing is logged in to")
        name = _plain(name)
        for host in self.hosts:
            if host.named(scheme, name, port):
                return url, host
        raise InvalidParameter(
            f"{where} {scheme}://{url.netloc.decode('ascii', 'replace')} is none of the hosts that "
            "images are fetched from (DAMOSCOPE_IMAGE_HOSTS)"
        )


def _check(answer: httpx.Response, url: httpx.URL) -> None:
    """Raise where an answer has no image, by whose fault it is."""
    status = answer.status_code
    if 400 <= status < 500:
        raise InvalidParameter(f"url: {url.host} answers {status}, and no image")
    if status != 200:
        raise FetchFailed(f"{url.host} answers {status}, and no image")
    if answer.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise FetchFailed(f"{url.host} packs the image (Content-Encoding), unasked")


def _port(url: httpx.URL) -> int:
    return PORTS[url.scheme] if url.port is None else url.port


def _plain(name: str) -> str:
    """A host's name, or its address in the shortest way."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name.removesuffix(".")


def _why(error: Exception) -> str:
    """In words of ours: those of libraries hold addresses of the network here."""
    if isinstance(error, httpx.ConnectTimeout | httpx.ReadTimeout):
        return "it does not answer"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "its certificate is not trusted here"
        if isinstance(cause, ssl.SSLError):
            return "TLS does not come about"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError):
        return "it cannot be connected to"
    return "its answer breaks off, or is none of HTTP"
