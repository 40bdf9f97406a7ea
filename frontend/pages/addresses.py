"""An image by its address, on the page: fetched by the service, and then an upload like any."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

import gradio as gr
import httpx
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from frontend.api.by_address import read_address, unless_gone
from frontend.fetching import URL_MOST, ImageFetcher
from frontend.identity.principal import share_of
from frontend.pages import modules
from frontend.pages.browser import owner
from frontend.pages.i18n import both
from frontend.pages.upload_request import file_name
from frontend.pages.uploads import Upload, Uploads
from frontend.server.bodies import disconnected
from pipeline.errors import Cancelled, DamoscopeError, Unavailable
from telemetry.context import extract


def field() -> None:
    """Add the field to the page that is being built."""
    gr.HTML(
        '<form class="ds-filter ds-address" inert><label>'
        f"<span>{both('address')}</span>"
        f'<input type="text" inputmode="url" name="url" maxlength="{URL_MOST}" required '
        'placeholder="https://" autocomplete="off" spellcheck="false"></label>'
        f"<button>{both('address.fetch')}</button></form>",
        apply_default_css=False,
        js_on_load=modules.detect("address"),
    )


@dataclass(frozen=True)
class ImageAddresses:
    """Takes the addresses that the page sends."""

    uploads: Uploads
    fetcher: ImageFetcher
    #: Counts one upload of a client; raises DamoscopeError where it has sent too many.
    check_rate: Callable[[str], Awaitable[None]]

    async def fetch(self, request: Request) -> Response:
        """Fetch an image and keep it; answers its id, name and bytes.

        An address that is not allowed, or where there is no image, is an upload with that error:
        its run tells it, with a trace. Raises DamoscopeError for a request that is none.
        """
        address = await read_address(request, self.fetcher)
        client = share_of(request.scope)
        upload = Upload(
            owner(request.scope),
            client,
            _name(address),
            time.time_ns(),
            extract(dict(request.headers)),
            host=_host(address),
        )
        self.uploads.begin(upload)
        try:
            await self._fill(upload, address, request)
        except BaseException:
            self.uploads.discard(upload)
            raise
        self.uploads.complete(upload)
        return JSONResponse(
            {"id": upload.id, "name": upload.name, "size": upload.size},
            headers={"Cache-Control": "no-store"},
        )

    async def _fill(self, upload: Upload, address: str, request: Request) -> None:
        try:
            await self.check_rate(upload.client)
            data = await unless_gone(
                self.fetcher.fetch(address, upload.client), partial(disconnected, request.receive)
            )
            await self.uploads.write(upload, data)
        except Cancelled:
            raise
        except DamoscopeError as error:
            self.uploads.fail(upload, error)
        except RedisError:
            unavailable = Unavailable("Redis does not answer; try again shortly")
            self.uploads.fail(upload, unavailable)


def _host(address: str) -> str:
    try:
        return httpx.URL(address).host
    except (httpx.InvalidURL, UnicodeError):
        return ""


def _name(address: str) -> str:
    """What the file is called there."""
    try:
        path = httpx.URL(address).path
    except (httpx.InvalidURL, UnicodeError):
        path = ""
    return file_name((PurePosixPath(path).name or _host(address)).encode())
