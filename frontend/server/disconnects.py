"""Whether a client has hung up."""

from __future__ import annotations

from starlette.types import Receive


async def disconnected(receive: Receive) -> None:
    """Return once the client of a request has hung up. To be called when its body was read: what
    still comes of it is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass
