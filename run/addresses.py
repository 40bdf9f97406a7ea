"""What is said at the start: the addresses of the service, and who may use it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

import psutil

from frontend.identity.start import is_loopback, keys_file
from pipeline.settings import Settings

#: What stands for every address of a machine.
EVERYWHERE = ("", "0.0.0.0", "::")


def reached(settings: Settings) -> list[str]:
    """The addresses under which the service can be reached: the public one first, then each of
    this machine that it listens on."""
    public = [settings.public_url.rstrip("/")] if settings.public_url else []
    if settings.host not in EVERYWHERE:
        return [*public, settings.base_url]
    own = [f"http://{_written(each)}:{settings.port}" for each in _own(settings.host)]
    return [*public, *own, settings.base_url]


def who(settings: Settings, keys: bool) -> str:
    """Who may use it, in one line."""
    if keys:
        return f"to holders of keys (damoscope keys list; {keys_file(settings)})"
    if is_loopback(settings.host):
        return "to everybody on this machine: no key is needed"
    return "to EVERYBODY who reaches these addresses, because --insecure says so"


def _own(host: str) -> Iterator[str]:
    """The addresses of this machine's networks; of IPv6 only those that others can use."""
    for _, each in sorted(psutil.net_if_addrs().items()):
        for found in each:
            if found.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            address = ip_address(found.address.partition("%")[0])
            if address.is_loopback or address.is_link_local:
                continue
            if address.version == 4 or host != "0.0.0.0":
                yield str(address)


def _written(address: str) -> str:
    return f"[{address}]" if isinstance(ip_address(address), IPv6Address) else address
