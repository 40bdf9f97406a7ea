"""Whose an address is, for what is limited."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


def parsed(address: str) -> IPv4Address | IPv6Address | None:
    """An address without its zone, one of IPv4 also where it came as one of IPv6. None for what
    is no address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def network_of(address: str) -> str:
    """The address; of IPv6 its network of 64 bits, since who has one address of it has 2^64."""
    found = parsed(address)
    if found is None:
        return address
    return str(ip_network((found, 64), strict=False)) if found.version == 6 else str(found)
