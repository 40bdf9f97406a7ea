"""The example pictures: small buttons that put one of them where a person's own photo goes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

import gradio as gr
from fastapi import APIRouter
from starlette.responses import FileResponse

from frontend.pages.i18n import both
from frontend.pages.theme import script
from frontend.pages.uploads import Upload
from pipeline.errors import NotFound


class Examples:
    """The pictures by ids like those of uploads; unlike those, everybody may use them."""

    def __init__(self, photos: Sequence[Path]) -> None:
        self._photos = {
            photo.name: Upload(
                None, "", photo.name, path=photo, run=True,
                id=hashlib.sha256(photo.name.encode()).hexdigest()[:32],
            )
            for photo in photos
        }  # fmt: skip
        self._by_id = {upload.id: upload for upload in self._photos.values()}

    def find(self, upload_id: str) -> Upload | None:
        """The example of an id."""
        return self._by_id.get(upload_id)

    def lay_out(self, image: gr.Image) -> None:
        """Add them to the page that is being built. A click is the browser's own affair: it is
        the image's change that the service hears of."""
        if not self._photos:
            return
        buttons = "".join(
            f'<button type="button" data-example="{upload.id}" aria-label="{escape(name)}">'
            f'<img src="pages/examples/{escape(name)}" alt="" loading="lazy"></button>'
            for name, upload in self._photos.items()
        )
        shown = gr.HTML(
            html_template=f'<div class="ds-examples"><h2>{both("examples")}</h2>{buttons}</div>',
            js_on_load=script("examples"),
            apply_default_css=False,
            elem_id="examples",
        )
        files = {
            upload.id: {
                "path": upload.id,
                "url": f"pages/examples/{name}",
                "orig_name": name,
                "mime_type": "image/jpeg",
                "is_stream": False,
                "meta": {"_type": "gradio.FileData"},
            }
            for name, upload in self._photos.items()
        }
        shown.click(
            None,
            js=f"(id) => ({json.dumps(files)})[id] ?? null",
            inputs=shown,
            outputs=image,
            show_progress="hidden",
            api_visibility="private",
        )

    def router(self) -> APIRouter:
        """The pictures themselves."""
        routes = APIRouter(prefix="/pages/examples", include_in_schema=False)

        @routes.get("/{name}")
        async def picture(name: str) -> FileResponse:
            upload = self._photos.get(name)
            if upload is None or upload.path is None:
                raise NotFound(f"there is no example {name[:100]}")
            return FileResponse(upload.path, media_type="image/jpeg")

        return routes
