"""The HTTP API: what docs/api.md and /docs describe."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from opentelemetry.trace import get_current_span
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from frontend.api import by_address, idempotency, preferences, problems
from frontend.api.body import FIELD, read_image
from frontend.api.parameters import served
from frontend.api.problems import RETRY_AFTER_S, problem, responses
from frontend.arrival import Arrival
from frontend.detection import DetectionService
from frontend.identity.principal import principal
from frontend.image_request import TIMEOUT_S, ImageRequest
from frontend.server.bodies import disconnected, free_memory
from frontend.server.protocol import scope_connection
from frontend.status import Status
from models.names import NAME_MAX, PATTERN
from pipeline import errors, tiles
from pipeline.job import (
    MAX_DETECTIONS,
    DetectionResult,
    DetectOptions,
    JobState,
    Priority,
    Threshold,
)
from pipeline.labels import known_labels
from pipeline.queue.pools import DEFAULT

DETECT_PATH = "/api/v1/detect"
JOB_PATH = "/api/v1/jobs/{job_id}"
#: Says which preferences were heeded: RFC 7240, 3.
APPLIED = "Preference-Applied"
#: Longest that a request may wait.
TIMEOUT_MAX_S = 600.0
#: Values of `labels` in one request; no model knows more.
MAX_LABELS = 1000

#: In OpenAPI an operation that can do without what the others need.
NO_KEY: dict[str, Any] = {"security": [{}]}

router = APIRouter(tags=["images"])


class Accepted(BaseModel):
    """Answer to `Prefer: respond-async`; the result will be at the `Location`."""

    job_id: str
    trace_id: str


class DetectQuery(BaseModel):
    """Query parameters of a detection; what is left out is the model's own default."""

    model_config = {"extra": "forbid"}

    score_threshold: Threshold | None = Field(None, description="Drop boxes that score less.")
    iou_threshold: Threshold | None = Field(
        None, description="Of two boxes of a label that overlap more than this, drop one."
    )
    max_detections: int = Field(
        100, ge=1, le=MAX_DETECTIONS, description="Keep so many of the best boxes."
    )
    labels: list[str] | None = Field(
        None,
        max_length=MAX_LABELS,
        description="Keep only these labels, in any case; repeat the parameter, or separate by "
        "commas. Empty: all.",
    )
    model: str | None = Field(
        None,
        max_length=NAME_MAX,
        pattern=PATTERN,
        description="Have this model look at the image: one that has workers and queues of its "
        "own. Left out: the one that runs for all others.",
    )
    tiles: str | None = Field(
        None,
        pattern=tiles.PATTERN,
        description="Look at overlapping tiles of the image as well, for what is small in it: "
        "columns and rows, such as `4x3`, or `auto`. Each tile takes as long as an image.",
    )
    timeout: float = Field(
        TIMEOUT_S,
        gt=0,
        le=TIMEOUT_MAX_S,
        description="Seconds from the first byte on within which the result is wanted; no worker "
        "begins the image after that. Who does not wait has no such limit, unless it is given.",
    )
    priority: Priority = Field("normal", description="Queue to wait in.")

    def options(self) -> DetectOptions:
        labels = None
        if self.labels is not None:
            parts = [part.strip() for item in self.labels for part in item.split(",")]
            labels = tuple(part for part in parts if part) or None
        return DetectOptions(
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            max_detections=self.max_detections,
            labels=labels,
            tiles=self.tiles,
        )


_BINARY = {"type": "string", "format": "binary"}
_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _BINARY}}
        },
        "image/*": {"schema": _BINARY},
        by_address.MEDIA_TYPE: {"schema": by_address.ImageAddress.model_json_schema()},
    },
}


@router.post(
    DETECT_PATH,
    response_model=DetectionResult,
    summary="Find objects in one image",
    openapi_extra={"requestBody": _BODY},
    responses={
        202: {"model": Accepted, "description": "Accepted: asked for with Prefer: respond-async"},
        **responses(
            errors.InvalidImage,
            errors.Cancelled,
            errors.ImageTooLarge,
            errors.UnsupportedImage,
            errors.InvalidParameter,
            errors.RateLimited,
            errors.Unavailable,
            errors.DetectionTimeout,
            errors.FetchFailed,
            errors.InferenceFailed,
        ),
    },
)
async def detect(
    request: Request,
    query: Annotated[DetectQuery, Query()],
    prefer: Annotated[
        str | None,
        Header(
            description="`respond-async` to not wait; with `wait=N` an answer after N seconds at "
            "the latest, 202 if there is no result; `wait=N` alone is a `timeout`"
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="The same for an image that is sent again, because its answer was lost: a "
            "string in quotation marks, unique for each image",
            json_schema_extra={"pattern": idempotency.PATTERN},
        ),
    ] = None,
) -> Response:
    """Send an image as the field `image` of multipart/form-data, or as raw bytes with an
    `image/*` content type; or its address as JSON, where the operator has named its host. Boxes
    are in pixels of the image as a person sees it."""
    detection: DetectionService = request.app.state.detection
    preferred = preferences.read(request.headers.getlist("prefer") if prefer else ())
    waits = not preferred.respond_async
    asked = _asked(request, query, waits=waits)
    applied = {}
    if preferred.wait_s and waits and asked.timeout_s is not None:
        asked.timeout_s = min(asked.timeout_s, preferred.wait_s)
        applied = {APPLIED: f"wait={preferred.wait_s}"}
    try:
        if idempotency_key is not None:
            asked.idempotency_key = idempotency.read(request.headers.getlist(idempotency.FIELD))
        tiles.check(query.tiles, request.app.state.settings.tiles_max)
        if query.model is not None:
            asked.pool = served(query.model, request.app.state.status.snapshot)
        _check_labels(request, asked)
    except errors.DamoscopeError as error:
        await detection.refuse(asked, error)
        raise
    try:
        if waits:
            return Answer(await detection.detect(asked), 200, applied, detection, asked)
        if preferred.wait_s:
            applied = {APPLIED: f"respond-async, wait={preferred.wait_s}"}
            result = await detection.detect_within(asked, preferred.wait_s)
            if result is not None:
                return Answer(result, 200, applied, detection, asked)
        else:
            applied = {APPLIED: "respond-async"}
            await detection.submit(asked)
        assert asked.job_id
        accepted = Accepted(job_id=asked.job_id, trace_id=asked.trace_id)
        headers = {"Location": _job_url(request, asked.job_id)} | applied
        return Answer(accepted.model_dump_json(), 202, headers, detection, asked)
    except errors.DamoscopeError as error:
        if asked.job_id and error.status == 503:
            error.headers = {"Location": _job_url(request, asked.job_id)}
        raise


class Answer(Response):
    """An answer that counts once it has gone out, as what it is or as one that nobody got."""

    media_type = "application/json"

    def __init__(self, content: bytes | str, status: int, headers: dict[str, str],
                 detection: DetectionService, asked: ImageRequest) -> None:  # fmt: skip
        super().__init__(content, status, headers)
        self._detection, self._asked = detection, asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = False
        try:
            await super().__call__(scope, receive, send)
            connection = scope_connection(scope)
            arrived = connection is None or await connection.delivered()
        finally:
            self._detection.delivered(self._asked, arrived)


def _asked(request: Request, query: DetectQuery, *, waits: bool = True) -> ImageRequest:
    who, arrival = principal(request.scope), Arrival.of(request.scope)
    asked = ImageRequest(
        span=get_current_span(),
        route="api",
        received_ns=arrival.unix_ns,
        began_s=arrival.monotonic_s,
        read=lambda: _read(request, asked),
        stored=lambda: free_memory(request.scope),
        options=query.options(),
        gone=lambda: disconnected(request.receive),
        sends=True,
        client=who.share,
        who=who,
        priority=query.priority,
        timeout_s=query.timeout if waits or "timeout" in query.model_fields_set else None,
    )
    return asked


async def _read(request: Request, asked: ImageRequest) -> bytes:
    state = request.app.state
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind.strip().lower() == by_address.MEDIA_TYPE:
        return await by_address.fetch(request, state.fetcher, asked)
    return await read_image(request, state.settings.max_upload_bytes)


def _check_labels(request: Request, asked: ImageRequest) -> None:
    """Give the labels the names that workers' models have for them. Raises InvalidParameter."""
    wanted = asked.options.labels
    if wanted is None:
        return
    workers = request.app.state.status.snapshot.workers_of(asked.pool)
    names = known_labels(wanted, {name for worker in workers for name in worker.labels})
    asked.options = asked.options.model_copy(update={"labels": names})


async def on_invalid_parameter(request: Request, error: RequestValidationError) -> Response:
    """Parameters that FastAPI refuses, of any operation. A detection counts all the same."""
    if getattr(request.scope.get("route"), "path", None) == DETECT_PATH:
        refused = problems.invalid_parameter(error)
        await request.app.state.detection.refuse(_asked(request, DetectQuery()), refused)
    return await problems.on_validation(request, error)


@router.get(
    JOB_PATH,
    response_model=JobState,
    summary="What has become of a job",
    responses=responses(errors.NotFound, errors.Unavailable),
)
async def job(request: Request, job_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")]) -> Response:
    """State of a job, with its result or error once it has one. Jobs of others are not found."""
    state = await request.app.state.detection.state(job_id, principal(request.scope))
    return _json(state, headers={"x-trace-id": state.trace_id} if state.trace_id else {})


@router.delete(
    JOB_PATH,
    response_model=JobState,
    summary="Withdraw an image",
    responses=responses(errors.NotFound, errors.AlreadyDone, errors.Unavailable),
)
async def withdraw(
    request: Request, job_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
) -> Response:
    """Take a waiting image out of the queue; one that a worker has begun is finished, and its
    result dropped. Who still waits for it is told. Jobs of others are not found."""
    state = await request.app.state.detection.withdraw(job_id, principal(request.scope))
    return _json(state, headers={"x-trace-id": state.trace_id} if state.trace_id else {})


@router.get("/healthz", summary="The process is up", openapi_extra=NO_KEY)
async def healthz() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Images can be detected",
    responses=responses(errors.Unavailable),
    openapi_extra=NO_KEY,
)
async def readyz(request: Request) -> Response:
    """200 when Redis answers and a worker is ready: its model loaded and warmed up on the
    provider that was asked for. Probes need no key; the reason and the workers are for those who
    have one, or for all where none is needed."""
    status: Status = request.app.state.status
    details = bool(principal(request.scope).roles)
    if not status.snapshot.workers_of(DEFAULT):
        await status.refresh()
    kind = errors.Unavailable
    stopping = request.app.state.detection.stopping
    if reason := "the service stops" if stopping else status.snapshot.not_ready:
        retry = {"Retry-After": str(RETRY_AFTER_S)}
        lines = [reason, *status.snapshot.not_started]
        reason = "; ".join(lines) if details else "not ready; whoever has a key is told why"
        return problem(kind.code, kind.title, kind.status, reason, retry)
    if not details:
        return _json(Ready())
    seen = status.snapshot
    return _json(
        Ready(
            workers=len(seen.workers_of(DEFAULT)),
            models={pool.model: len(seen.workers_of(pool)) for pool in seen.pools},
            not_started=seen.not_started,
        )
    )


class Ready(BaseModel):
    status: str = "ready"
    workers: int | None = Field(None, exclude_if=lambda count: count is None)
    #: Workers of each model that images ask for by its name.
    models: dict[str, int] = Field({}, exclude_if=lambda models: not models)
    #: Workers that do not start though others are ready, and why.
    not_started: list[str] = Field([], exclude_if=lambda lines: not lines)


def _json(body: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body.model_dump_json(), status, headers, "application/json")


def _job_url(request: Request, job_id: str) -> str:
    path: str = request.scope.get("root_path", "")
    return path + JOB_PATH.format(job_id=job_id)
