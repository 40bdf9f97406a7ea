"""Sockets that we open for the programs that listen on them, and that outlive those programs.

A frontend that dies leaves its socket open with us: whoever connects before it is there again
waits for a moment, and is not refused.
"""

from __future__ import annotations

import socket

from pipeline.errors import ConfigurationError


def listening(host: str, port: int) -> list[socket.socket]:
    """A bound socket for each address of this host, which nobody listens on yet.

    Not until the program does: who connects before its first start is to be refused. Raises
    ConfigurationError.
    """
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            opened.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # each address is for itself, as in asyncio
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:  # the latter: no port, no host
        for one in opened:
            one.close()
        raise ConfigurationError(
            f"DAMOSCOPE_PORT={port}: cannot listen on {host}:{port}: "
            f"{getattr(error, 'strerror', None) or error}; set another one"
        ) from error
    return opened
