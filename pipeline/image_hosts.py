"""From which hosts images may be fetched: what `DAMOSCOPE_IMAGE_HOSTS` says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

PORTS: Final = {"https": 443, "http": 80}
#: Scheme, perhaps; a name in the letters of DNS, or an address; a port, and a network, perhaps.
_ENTRY: Final = re.compile(
    r"(?:(?P<scheme>https?)://)?"
    r"(?P<name>(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>\d{1,5}))?/?"
    r"(?:=(?P<network>[0-9a-f:./]+))?",
    re.ASCII | re.IGNORECASE,
)
_HOW: Final = (
    "name each host, such as cameras.example, *.example.org, http://10.0.0.5:8080, or "
    "https://nvr.lan=10.0.0.0/8 for a name that leads into a private network"
)


@dataclass(frozen=True, slots=True)
class ImageHost:
    """One host, or all names beneath one, by one scheme and port."""

    scheme: str
    #: In small letters of ASCII; with `*.` before it all names beneath it, and not itself.
    name: str
    port: int
    #: The network that is not public into which it may lead; of an address, that address.
    network: IPv4Network | IPv6Network | None = None

    def named(self, scheme: str, name: str, port: int) -> bool:
        """Whether an address of a URL is of this host: `name` in small letters of ASCII."""
        if (scheme, port) != (self.scheme, self.port):
            return False
        if self.name.startswith("*."):
            return name.endswith(self.name[1:])
        return name == self.name

    def may_be_at(self, address: Address) -> bool:
        """Whether it may be connected to there."""
        if self.network is not None and address.version == self.network.version:
            return address in self.network
        return is_public(address) and not is_address(self.name)


def parsed(value: str) -> tuple[ImageHost, ...]:
    """The hosts of a setting, which has commas between them. Raises ValueError."""
    return tuple(_host(each.strip()) for each in value.split(",") if each.strip())


def is_public(address: Address) -> bool:
    """Whether an address is of the internet at large: none of a private network, of this host, of
    a link (where clouds tell their machines' secrets), nor one that stands for another address."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour is not None or address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _host(entry: str) -> ImageHost:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise ValueError(_HOW)
    scheme = (found["scheme"] or "https").lower()
    port = int(found["port"] or PORTS[scheme])
    name = found["name"].strip("[]").lower()
    if not 0 < port < 65_536 or ".." in name:
        raise ValueError(_HOW)
    network = None
    try:
        if found["network"]:
            network = ip_network(found["network"], strict=False)
        if is_address(name):
            name = str(ip_address(name))
            network = ip_network(name)
    except ValueError as error:
        raise ValueError(_HOW) from error
    return ImageHost(scheme, name, port, network)


def is_address(name: str) -> bool:
    """Whether a host is named by its address."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
