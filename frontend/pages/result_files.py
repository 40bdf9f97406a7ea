"""Files that belong to a page's result: the image, the image with boxes, JSON, and all in a ZIP.

They are made when they are asked for. What is shown or downloaded by nobody costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import tempfile
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, TypeVar

from fastapi import APIRouter, Query, Request
from PIL import Image, ImageOps
from pydantic import BaseModel, Field
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Scope

from frontend.identity.principal import principal
from frontend.pages.browser import owner
from frontend.pages.detect_one import DEFAULTS, Outcome
from frontend.pages.uploads import Upload
from pipeline.draw import draw
from pipeline.errors import NotFound, Unavailable
from pipeline.job import MAX_DETECTIONS, DetectionResult, DetectOptions

#: Results and batches remembered by one process; an image takes its file's space on disk only.
MOST = 2000
#: Their boxes, of which each takes some 250 bytes.
BOXES_MOST = 200_000
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
#: Labels that a request may name.
LABELS_MOST = 1000
#: Images decoded at once for all who look; the others wait for their turn.
DECODING_MOST = 4
ZIP_BLOCK = 2**20
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=600"}

log = logging.getLogger("damoscope.frontend")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeptResult:
    """One image that was detected on, and by whom."""

    owner: str
    upload: Upload
    result: DetectionResult
    options: DetectOptions = DEFAULTS
    #: The model that was asked for; empty for the one that runs for all others.
    model: str = ""

    @property
    def boxes(self) -> int:
        """How many there are."""
        return len(self.result.detections) + len(self.result.weaker or ())

    def file(self) -> Path:
        """The image's file. Raises NotFound."""
        path = self.upload.path
        if path is None or not path.exists():
            raise NotFound(f"no image {self.result.job_id}: it is kept no longer")
        self.upload.used_s = time.monotonic()
        return path

    def may_see(self, scope: Scope) -> bool:
        """Whether a request is from who has detected, or from who may see everybody's images."""
        who = principal(scope)
        return self.owner == owner(scope) or (who.known and who.may("read"))


class Shown(BaseModel):
    """Which of the boxes a page shows, and so which are wanted in its files."""

    model_config = {"extra": "forbid"}

    #: None: those of the run itself.
    score: Annotated[float | None, Field(ge=0, le=1, allow_inf_nan=False)] = None
    #: Labels that are not.
    hide: Annotated[list[str], Field(max_length=LABELS_MOST)] = []
    #: So many of the best of the others.
    most: Annotated[int, Field(ge=1, le=MAX_DETECTIONS)] = MAX_DETECTIONS

    def of(self, result: DetectionResult) -> DetectionResult:
        """The result with these boxes alone."""
        found = result.detections
        if self.score is not None:
            every = (*result.detections, *(result.weaker or ()))
            found = [each for each in every if each.score >= self.score]
        hidden = frozenset(self.hide)
        found = [each for each in found if each.label not in hidden][: self.most]
        return result.model_copy(update={"detections": found, "weaker": None})


class Results:
    """The latest results, by ids that nobody can guess."""

    def __init__(self, most: int = MOST, boxes_most: int = BOXES_MOST) -> None:
        self._most, self._boxes_most, self._boxes = most, boxes_most, 0
        self._images: OrderedDict[str, KeptResult] = OrderedDict()
        self._batches: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def add(self, outcome: Outcome, owner: str) -> None:
        """Remember the result of an outcome that has one, under its job id."""
        if outcome.result is not None:
            kept = KeptResult(owner, outcome.upload, outcome.result, outcome.options, outcome.model)
            self._images[outcome.result.job_id] = kept
            self._boxes += kept.boxes
            while len(self._images) > self._most or self._boxes > self._boxes_most:
                self._boxes -= self._images.popitem(last=False)[1].boxes

    def add_batch(self, batch_id: str, outcomes: Sequence[Outcome]) -> None:
        """Remember which results belong together."""
        self._batches[batch_id] = tuple(o.result.job_id for o in outcomes if o.result)
        _shrink(self._batches, self._most)

    def image(self, job_id: str, scope: Scope) -> KeptResult:
        """The result of one image, for who may see it. Raises NotFound, of another's too."""
        found = self._images.get(job_id)
        if found is None or not found.may_see(scope):
            raise NotFound(f"no image {job_id}: it is kept no longer, or is not yours")
        return found

    def batch(self, batch_id: str, scope: Scope) -> list[KeptResult]:
        """The results of a batch, without those kept no longer. Raises NotFound."""
        jobs = (self._images.get(job) for job in self._batches.get(batch_id, ()))
        found = [each for each in jobs if each is not None and each.may_see(scope)]
        if not found:
            raise NotFound(f"no images {batch_id}: they are kept no longer, or are not yours")
        return found


def router(results: Results) -> APIRouter:
    """The addresses that result pages refer to."""
    routes = APIRouter(prefix="/pages/results", include_in_schema=False)
    turns = asyncio.Semaphore(DECODING_MOST)

    async def made(make: Callable[..., T], *given: object) -> T:
        async with turns:
            return await asyncio.to_thread(make, *given)

    @routes.get("/{job_id}/image")
    async def image(request: Request, job_id: str) -> Response:
        found = results.image(job_id, request.scope)
        kind = SHOWN.get(found.result.image.format)
        if kind:
            return FileResponse(found.file(), media_type=kind, headers=_HEADERS)
        return _jpeg(await made(_reduced, found.file(), None))

    @routes.get("/{job_id}/preview")
    async def preview(request: Request, job_id: str) -> Response:
        found = results.image(job_id, request.scope)
        return _jpeg(await made(_reduced, found.file(), PREVIEW))

    @routes.get("/{job_id}/boxes.jpg")
    async def boxes(request: Request, job_id: str, shown: Annotated[Shown, Query()]) -> Response:
        found = results.image(job_id, request.scope)
        return _jpeg(await made(_with_boxes, found.file(), shown.of(found.result)))

    @routes.get("/{job_id}/result.json")
    async def result_json(
        request: Request, job_id: str, shown: Annotated[Shown, Query()]
    ) -> Response:
        found = results.image(job_id, request.scope)
        body = shown.of(found.result).model_dump_json(indent=2)
        return Response(body, media_type="application/json", headers=_HEADERS)

    @routes.get("/batch/{batch_id}/results.json")
    async def batch_json(
        request: Request, batch_id: str, shown: Annotated[Shown, Query()]
    ) -> Response:
        found = results.batch(batch_id, request.scope)
        body = _batch_json(found, shown)
        return Response(body, media_type="application/json", headers=_HEADERS)

    @routes.get("/batch/{batch_id}/images.zip")
    async def batch_zip(
        request: Request, batch_id: str, shown: Annotated[Shown, Query()]
    ) -> Response:
        packed = await made(_zip, results.batch(batch_id, request.scope), shown)
        return StreamingResponse(_read(packed), media_type="application/zip", headers=_HEADERS)

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


def _batch_json(found: Sequence[KeptResult], shown: Shown) -> bytes:
    body = [{"file": each.upload.name, **shown.of(each.result).model_dump()} for each in found]
    return json.dumps(body, indent=2, ensure_ascii=False).encode()


def _zip(found: Sequence[KeptResult], shown: Shown) -> IO[bytes]:
    """In a file without a name, which is gone when it is closed: a thousand images are large."""
    packed = tempfile.TemporaryFile()  # noqa: SIM115 - read when it has been returned
    try:
        # Stored, not deflated: JPEGs do not get smaller.
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            for number, each in enumerate(found, 1):
                with contextlib.suppress(NotFound, FileNotFoundError):
                    name = f"{number:03d}-{Path(each.upload.name).stem}.jpg"
                    archive.writestr(name, _with_boxes(each.file(), shown.of(each.result)))
            archive.writestr("results.json", _batch_json(found, shown))
        packed.seek(0)
    except OSError as error:
        packed.close()
        log.warning("a batch's images cannot be packed: %s", error)
        raise Unavailable("the images cannot be packed now: is the disk full?") from error
    except BaseException:
        packed.close()
        raise
    return packed


def _read(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while block := file.read(ZIP_BLOCK):
            yield block
