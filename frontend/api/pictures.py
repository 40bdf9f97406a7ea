"""`GET /api/v1/traces/{trace_id}/images/{job_id}`: the picture that was kept of an image."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from frontend.api.problems import responses
from pipeline import errors
from pipeline.queue.kept import KeptPictures

router = APIRouter(tags=["traces"], prefix="/api/v1/traces")

#: By how a file begins what it is, whatever its sender called it. Others are not answered.
TYPES: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)
#: A browser may show it again so long after it was deleted here.
MAX_AGE_S: Final = 300
HEX_32: Final = "^[0-9a-f]{32}$"
_CONTENT: Final = {
    kind: {"schema": {"type": "string", "format": "binary"}}
    for kind in (*(kind for _, kind in TYPES), "image/webp")
}


def content_type(picture: bytes) -> str | None:
    """What a picture is, by its first bytes; None for anything that we did not keep."""
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in TYPES if picture.startswith(start)), None)


@router.get(
    "/{trace_id}/images/{job_id}",
    summary="Picture of an image",
    response_class=Response,
    responses=responses(errors.NotFound, errors.Unavailable)
    | {200: {"description": "The picture", "content": _CONTENT}},
)
async def picture(
    request: Request,
    trace_id: Annotated[str, Path(pattern=HEX_32)],
    job_id: Annotated[str, Path(pattern=HEX_32)],
) -> Response:
    """A thumbnail, or the file as it was sent, where `DAMOSCOPE_KEEP_IMAGES` has them kept.

    It is there a moment after the answer to the image, until its time is over or the room for
    pictures is taken by newer ones.
    """
    kept: KeptPictures = request.app.state.pictures
    found = await kept.picture(trace_id, job_id)
    kind = content_type(found) if found else None
    if found is None or kind is None:
        raise errors.NotFound(
            f"no picture of image {job_id} of trace {trace_id}: it was not kept, or is no longer "
            "(DAMOSCOPE_KEEP_IMAGES)"
        )
    return Response(
        found, media_type=kind, headers={"cache-control": f"private, max-age={MAX_AGE_S}"}
    )
