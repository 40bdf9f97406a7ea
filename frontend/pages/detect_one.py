"""One image of a page through the service: the same service, and a trace of the same shape,
as an image that comes by the HTTP API."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Tracer

from frontend.detection import DetectionService, ImageRequest
from frontend.pages.uploads import Uploads
from pipeline.errors import DamoscopeError, InvalidImage
from pipeline.images import check_bytes
from pipeline.job import DetectionResult, DetectOptions
from telemetry import catalogue, spans
from telemetry.context import trace_id

log = logging.getLogger("damoscope.frontend")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image: a result or an error, and in either case a trace."""

    path: Path
    trace_id: str
    result: DetectionResult | None = None
    error: DamoscopeError | None = None

    @property
    def name(self) -> str:
        """The file's name as the browser gave it. Untrusted."""
        return self.path.name


class Runner:
    """Runs the files that a page has uploaded."""

    def __init__(
        self, detection: DetectionService, uploads: Uploads, tracer: Tracer, max_bytes: int
    ) -> None:
        self._detection, self._uploads = detection, uploads
        self._tracer, self._max_bytes = tracer, max_bytes

    async def run(self, path: str, options: DetectOptions, client: str) -> Outcome:
        """Detect on one stored file. Never raises: an error is an outcome too.

        Its trace begins when its upload did, or now when it is run again.
        """
        arrival = self._uploads.take(path)
        received_ns = arrival.first_byte_ns if arrival else time.time_ns()
        parent = arrival.parent if arrival else Context()
        span = self._tracer.start_span(
            catalogue.SPAN_REQUEST_UI, parent, SpanKind.SERVER, start_time=received_ns
        )
        file = Path(path)
        request = ImageRequest(
            span=span,
            route="ui",
            received_ns=received_ns,
            read=lambda: asyncio.to_thread(_read, file, self._max_bytes),
            options=options,
            client=client,
        )
        try:
            result = DetectionResult.model_validate_json(await self._detection.detect(request))
            return Outcome(file, trace_id(span), result=result)
        except DamoscopeError as error:
            return Outcome(file, trace_id(span), error=error)
        except Exception as error:
            log.exception("an image of a page could not be detected")
            spans.fail(span, error, record_exception=True)
            unknown = DamoscopeError("something went wrong here; the service's log says what")
            return Outcome(file, trace_id(span), error=unknown)
        finally:
            span.end()


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        check_bytes(path.stat().st_size, max_bytes)
        return path.read_bytes()
    except FileNotFoundError:
        raise InvalidImage("the uploaded file is kept no longer; choose it again") from None
