"""The one address that runs the pages' events, and what may pass to Gradio by it.

Gradio's own handling of an event opens what a client names as a path. Nothing of a request's
body gets there: it is read here, against the types that the event's handler declares, and what
Gradio is given is written anew from the values. None of them is a file: an event names an image
by the id that its upload was given.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, get_type_hints

import gradio as gr
import orjson
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.identity.principal import share_of
from frontend.pages.uploads import ID
from frontend.server.bodies import disconnected
from frontend.slots import Slots
from models.names import NAME_MAX
from models.names import PATTERN as NAME
from pipeline.errors import InvalidParameter
from pipeline.tiles import PATTERN as TILES

#: Bytes of an event's body at most: the ids of 1,000 images are 33,000.
BODY_MOST = 128 * 1024
#: Images that one event may name.
IMAGES_MOST = 1000
#: Events under way at once, of each client and of all.
EACH, MOST = 64, 256

#: No image, or the id of one.
ImageId = Annotated[str, StringConstraints(pattern=rf"^$|{ID}")]
#: Ids of images, in order, with blanks between them.
ImageIds = Annotated[
    str,
    StringConstraints(
        max_length=33 * IMAGES_MOST,
        pattern=r"^([0-9a-f]{32}( [0-9a-f]{32})*)?$",
    ),
]
Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
#: Nothing, or the tiles that an image is to be looked at in.
AskedTiles = Annotated[str, StringConstraints(max_length=8, pattern=rf"^$|{TILES}")]
#: Nothing, or the name of a model that images are to be looked at by.
AskedModel = Annotated[str, StringConstraints(max_length=NAME_MAX, pattern=rf"^$|{NAME}")]


class PageEvent(BaseModel):
    """What of an event's body is read; the rest is left out."""

    model_config = ConfigDict(strict=True)

    fn_index: int
    data: list[Any] = Field(max_length=32)


class Events:
    """Reads an event, and gives Gradio what it says."""

    def __init__(self, app: ASGIApp, blocks: gr.Blocks) -> None:
        self.app = app
        self._slots = Slots("events", each=EACH, most=MOST)
        self._arguments = {
            index: arguments(event.fn)
            for index, event in blocks.fns.items()
            if event.fn is not None
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._slots.one(share_of(scope)):
            event = read(await _body(Request(scope, receive)), self._arguments)
            body = orjson.dumps({"fn_index": event.fn_index, "data": event.data})
            headers = [
                (name, value)
                for name, value in scope["headers"]
                if name not in (b"content-length", b"content-type", b"transfer-encoding")
            ]
            headers += [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
            ]
            given = False

            async def receive_written() -> Message:
                nonlocal given
                if given:
                    return await receive()  # that the client has gone
                given = True
                return {"type": "http.request", "body": body}

            await self.app(
                {**scope, "headers": headers, "query_string": b""}, receive_written, send
            )


def read(body: bytes, wanted: Mapping[int, list[TypeAdapter[Any]]]) -> PageEvent:
    """The event of a body, with the values as its handler declares them.

    Raises InvalidParameter.
    """
    try:
        event = PageEvent.model_validate_json(body)
    except ValidationError as error:
        raise InvalidParameter(f"the event cannot be read: {_why(error)}") from None
    if (types := wanted.get(event.fn_index)) is None:
        raise InvalidParameter(f"fn_index={event.fn_index}: there is no such event")
    if len(event.data) != len(types):
        raise InvalidParameter(f"data: the event takes {len(types)} values, not {len(event.data)}")
    for position, kind in enumerate(types):
        try:
            event.data[position] = kind.validate_python(event.data[position], strict=True)
        except ValidationError as error:
            raise InvalidParameter(f"data[{position}]: {_why(error)}") from None
    return event


def arguments(handler: Callable[..., Any]) -> list[TypeAdapter[Any]]:
    """What a handler takes from a page, by its annotations. Raises TypeError without one."""
    hints = get_type_hints(handler, include_extras=True)
    names = list(inspect.signature(handler).parameters)
    if missing := [name for name in names if name not in hints]:
        raise TypeError(f"{handler}: what is {missing[0]}? Events are read by their annotations")
    return [TypeAdapter(hints[name]) for name in names if hints[name] is not gr.Request]


def scope_of(request: gr.Request) -> Scope:
    """The request that an event came with, as the layers before it left it."""
    assert request.request is not None
    return request.request.scope


def hung_up(request: gr.Request) -> Callable[[], Awaitable[None]]:
    """What returns once the browser has given an event up: its page was left, or asks anew."""
    assert request.request is not None
    receive = request.request.receive
    return lambda: disconnected(receive)


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_MOST:
                raise HTTPException(413, f"an event has no more than {BODY_MOST:,} bytes")
    except ClientDisconnect:
        raise InvalidParameter("the client went away before the event was complete") from None
    return bytes(body)


def _why(error: ValidationError) -> str:
    # Without the value: it may be anything, and of any size.
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"][:4])
    return f"{place}: {first['msg']}" if place else str(first["msg"])
