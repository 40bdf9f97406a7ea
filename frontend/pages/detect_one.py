"""One image of a page through the service: the same service, and a trace of the same shape,
as an image that comes by the HTTP API."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from opentelemetry.trace import SpanKind, Tracer

from frontend.api.parameters import served
from frontend.detection import DetectionService
from frontend.identity.principal import ANONYMOUS, Principal
from frontend.image_request import TIMEOUT_S, ImageRequest
from frontend.pages.uploads import Upload
from frontend.status import Snapshot
from pipeline.errors import DamoscopeError
from pipeline.job import DetectionResult, DetectOptions
from telemetry import catalogue, spans
from telemetry.context import trace_id

log = logging.getLogger("damoscope.frontend")


#: Seconds within which an image in tiles is wanted: each tile takes as long as an image.
TILED_TIMEOUT_S = 300.0
#: The model's own thresholds.
DEFAULTS = DetectOptions()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image: a result or an error, and in either case a trace."""

    upload: Upload
    trace_id: str
    result: DetectionResult | None = None
    error: DamoscopeError | None = None
    #: What it was run with.
    options: DetectOptions = DEFAULTS
    #: The model that was asked for; empty for the one that runs for all others.
    model: str = ""

    @property
    def name(self) -> str:
        """The file's name as the browser gave it. Untrusted."""
        return self.upload.name


class Runner:
    """Runs the files that a page has uploaded."""

    def __init__(
        self, detection: DetectionService, tracer: Tracer, snapshot: Callable[[], Snapshot]
    ) -> None:
        self._detection, self._tracer, self._snapshot = detection, tracer, snapshot

    async def run(
        self,
        upload: Upload,
        options: DetectOptions,
        client: str,
        who: Principal = ANONYMOUS,
        gone: Callable[[], Awaitable[object]] | None = None,
        model: str = "",
    ) -> Outcome:
        """Detect on one upload. Never raises: an error is an outcome too. The image is withdrawn
        when `gone` returns, or this is cancelled. Without a name it is by the model that runs for
        all others.

        Its trace begins when its upload did, or now when it is run again.
        """
        received_ns, parent = upload.arrival()
        span = self._tracer.start_span(
            catalogue.SPAN_REQUEST_UI, parent, SpanKind.SERVER, start_time=received_ns
        )
        request = ImageRequest(
            span=span,
            route="ui",
            received_ns=received_ns,
            read=upload.read,
            options=options,
            client=client,
            who=who,
            gone=gone,
            image_host=upload.host,
            timeout_s=TIMEOUT_S if options.tiles is None else TILED_TIMEOUT_S,
        )
        try:
            await self._direct(request, model)
            result = DetectionResult.model_validate_json(await self._detection.detect(request))
            return Outcome(upload, trace_id(span), result=result, options=options, model=model)
        except DamoscopeError as error:
            return Outcome(upload, trace_id(span), error=error)
        except Exception as error:
            log.exception("an image of a page could not be detected")
            spans.fail(span, error, record_exception=True)
            unknown = DamoscopeError("something went wrong here; the service's log says what")
            return Outcome(upload, trace_id(span), error=unknown)
        finally:
            span.end()

    async def _direct(self, request: ImageRequest, model: str) -> None:
        """Send an image to who serves the model that it asks for. Raises DamoscopeError where
        nobody does, which counts as an image that came by the API would."""
        if not model:
            return
        try:
            request.pool = served(model, self._snapshot())
        except DamoscopeError as error:
            await self._detection.refuse(request, error)
            raise
