"""Files that belong to a page's result: the image, the image with boxes, JSON, and all in a ZIP.

They are made when they are asked for. What is shown or downloaded by nobody costs nothing.
"""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from fastapi import APIRouter
from PIL import Image, ImageOps
from starlette.responses import FileResponse, Response

from frontend.pages.detect_one import Outcome
from pipeline.draw import draw
from pipeline.errors import NotFound
from pipeline.job import DetectionResult

#: Results and batches remembered by one process; an image takes its file's space on disk only.
MOST = 2000
#: Formats that every browser shows as they are.
SHOWN = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "GIF": "image/gif",
}
#: Longer side of a preview, in pixels.
PREVIEW = 480
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=600"}

T = TypeVar("T")


class Results:
    """The latest results, by ids that nobody can guess."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._images: OrderedDict[str, tuple[Path, DetectionResult]] = OrderedDict()
        self._batches: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def add(self, outcome: Outcome) -> None:
        """Remember the result of an outcome that has one, under its job id."""
        if outcome.result is not None:
            self._images[outcome.result.job_id] = (outcome.path, outcome.result)
            _shrink(self._images, self._most)

    def add_batch(self, outcomes: Sequence[Outcome]) -> str:
        """Remember which results belong together; returns the batch's id."""
        batch_id = uuid4().hex
        self._batches[batch_id] = tuple(o.result.job_id for o in outcomes if o.result)
        _shrink(self._batches, self._most)
        return batch_id

    def image(self, job_id: str) -> tuple[Path, DetectionResult]:
        """File and result of one image. Raises NotFound."""
        path, result = self._images.get(job_id, (None, None))
        if path is None or result is None or not path.exists():
            raise NotFound(f"no image {job_id}: it is kept no longer")
        return path, result

    def batch(self, batch_id: str) -> list[tuple[Path, DetectionResult]]:
        """Files and results of a batch, without those kept no longer. Raises NotFound."""
        jobs = self._batches.get(batch_id, ())
        found = [self._images[job] for job in jobs if job in self._images]
        if not found:
            raise NotFound(f"no images {batch_id}: they are kept no longer")
        return found


def router(results: Results) -> APIRouter:
    """The addresses that result pages refer to."""
    routes = APIRouter(prefix="/pages/results", include_in_schema=False)

    @routes.get("/{job_id}/image")
    async def image(job_id: str) -> Response:
        path, result = results.image(job_id)
        kind = SHOWN.get(result.image.format)
        if kind:
            return FileResponse(path, media_type=kind, headers=_HEADERS)
        return _jpeg(await asyncio.to_thread(_reduced, path, None))

    @routes.get("/{job_id}/preview")
    async def preview(job_id: str) -> Response:
        path, _ = results.image(job_id)
        return _jpeg(await asyncio.to_thread(_reduced, path, PREVIEW))

    @routes.get("/{job_id}/boxes.jpg")
    async def boxes(job_id: str) -> Response:
        path, result = results.image(job_id)
        return _jpeg(await asyncio.to_thread(_with_boxes, path, result))

    @routes.get("/{job_id}/result.json")
    async def result_json(job_id: str) -> Response:
        _, result = results.image(job_id)
        return Response(result.model_dump_json(indent=2), media_type="application/json")

    @routes.get("/batch/{batch_id}/results.json")
    async def batch_json(batch_id: str) -> Response:
        return Response(_batch_json(results.batch(batch_id)), media_type="application/json")

    @routes.get("/batch/{batch_id}/images.zip")
    async def batch_zip(batch_id: str) -> Response:
        packed = await asyncio.to_thread(_zip, results.batch(batch_id))
        return Response(packed, media_type="application/zip")

    return routes


def _shrink(kept: OrderedDict[str, T], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)


def _jpeg(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg", headers=_HEADERS)


def _reduced(path: Path, side: int | None) -> bytes:
    """The image as JPEG, upright, and at most `side` pixels long when that is given."""
    with Image.open(path) as image:
        if side:
            image.draft("RGB", (side, side))  # a JPEG decodes quicker at a fraction of its size
        upright = ImageOps.exif_transpose(image).convert("RGB")
        if side:
            upright.thumbnail((side, side))
        return _encoded(upright)


def _with_boxes(path: Path, result: DetectionResult) -> bytes:
    with Image.open(path) as image:
        return _encoded(draw(image, result.detections))


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def _batch_json(found: Sequence[tuple[Path, DetectionResult]]) -> bytes:
    body = [{"file": path.name, **result.model_dump()} for path, result in found]
    return json.dumps(body, indent=2, ensure_ascii=False).encode()


def _zip(found: Sequence[tuple[Path, DetectionResult]]) -> bytes:
    buffer = io.BytesIO()
    # Stored, not deflated: JPEGs do not get smaller.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:
        for number, (path, result) in enumerate(found, 1):
            if path.exists():
                packed.writestr(f"{number:03d}-{path.stem}.jpg", _with_boxes(path, result))
        packed.writestr("results.json", _batch_json(found))
    return buffer.getvalue()
