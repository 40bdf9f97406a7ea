"""A request that names an image's address in the place of the image: `{"url": ...}` as JSON."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request

from frontend.fetching import URL_MOST, ImageFetcher
from frontend.image_request import ImageRequest
from frontend.server.bodies import disconnected, not_the_senders, take_memory
from pipeline.errors import Cancelled, InvalidParameter, UnsupportedImage

MEDIA_TYPE = "application/json"
#: Bytes of the body at most; JSON may write a character in six.
BODY_MOST = 8 * URL_MOST


class ImageAddress(BaseModel):
    """Where an image is to be fetched from."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: str = Field(
        min_length=1,
        max_length=URL_MOST,
        description="Of a host that `DAMOSCOPE_IMAGE_HOSTS` names.",
    )


async def read_address(request: Request, fetcher: ImageFetcher) -> str:
    """The address in a request's body. Raises UnsupportedImage where none are taken,
    InvalidParameter, and Cancelled."""
    if not fetcher.hosts:
        raise UnsupportedImage(
            f"{MEDIA_TYPE} is not supported: this service fetches no images; send the image's bytes"
        )
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedImage("an address is sent without a Content-Encoding")
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > BODY_MOST:
                raise InvalidParameter(f"url: the body has more than {BODY_MOST:,} bytes")
    except ClientDisconnect:
        raise Cancelled("the client went away before the upload was complete") from None
    try:
        return ImageAddress.model_validate_json(bytes(body)).url
    except ValidationError:
        raise InvalidParameter(
            f'url: send {{"url": "https://host/image.jpg"}}, of at most {URL_MOST:,} characters, '
            "and nothing else"
        ) from None


async def fetch(request: Request, fetcher: ImageFetcher, asked: ImageRequest) -> bytes:
    """The image whose address a request's body has."""
    address = await read_address(request, fetcher)
    asked.image_host = fetcher.check(address).host
    not_the_senders(request.scope)
    take = partial(take_memory, request.scope)
    work = fetcher.fetch(address, asked.client, asked.left_s, take)
    return await unless_gone(work, partial(disconnected, request.receive))


async def unless_gone(work: Awaitable[bytes], gone: Callable[[], Awaitable[None]]) -> bytes:
    """What the work comes to, unless the client hangs up before. Raises Cancelled then."""
    fetching = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(gone())
    try:
        await asyncio.wait((fetching, watch), return_when=asyncio.FIRST_COMPLETED)
        if fetching.done():
            return fetching.result()
        raise Cancelled("the client went away before the image was fetched")
    finally:
        for task in (fetching, watch):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
