"""The OTLP/HTTP receiver: where the SDKs of frontend and workers send spans, metrics and log lines.

Binary protobuf only, as the exporters send by default; gzip or plain. Answers follow
the OTLP specification: https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable

import anyio
import anyio.to_thread
from fastapi import APIRouter, Request, Response
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.requests import ClientDisconnect

from monitoring.stores.embedded.otlp import Rejected
from monitoring.stores.selection import Receiver
from pipeline.errors import DamoscopeError, Unavailable

CONTENT_TYPE = "application/x-protobuf"
#: Bytes of one export, as sent and unpacked. The SDKs' exports are far below: 512 spans
#: are some 300 kB.
MAX_BODY_BYTES = 8 * 2**20
MAX_UNPACKED_BYTES = 32 * 2**20
#: When a sender should try again that came while too much was waiting.
RETRY_AFTER_S = 2
#: Exports that are unpacked at the same time: bounds the memory that they take.
CONCURRENCY = 2


class _Refused(Exception):
    """An export that is turned away, with the HTTP status to say so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def router(receiver: Receiver) -> APIRouter:
    """Routes under /otlp: the exporters' OTEL_EXPORTER_OTLP_ENDPOINT is http://HOST:PORT/otlp."""
    routes = APIRouter(prefix="/otlp/v1", include_in_schema=False)
    limiter = anyio.CapacityLimiter(CONCURRENCY)

    async def take(
        request: Request, receive: Callable[[bytes], Rejected], kind: type[Message], counted: str
    ) -> Response:
        """Receive one export; `counted` is where its answer says how much was not taken."""
        try:
            body = await _body(request)
            encoding = request.headers.get("content-encoding", "identity").strip().lower()
            rejected = await anyio.to_thread.run_sync(
                lambda: receive(_unpack(body, encoding)), limiter=limiter
            )
        except (_Refused, DamoscopeError) as error:
            return _refusal(error)
        if not rejected.count:
            return _protobuf(kind())
        partial = {counted: rejected.count, "error_message": rejected.reason}
        return _protobuf(kind(partial_success=partial))

    @routes.post("/traces")
    async def traces(request: Request) -> Response:
        kind = ExportTraceServiceResponse
        return await take(request, receiver.receive_traces, kind, "rejected_spans")

    @routes.post("/metrics")
    async def metrics(request: Request) -> Response:
        kind = ExportMetricsServiceResponse
        return await take(request, receiver.receive_metrics, kind, "rejected_data_points")

    @routes.post("/logs")
    async def logs(request: Request) -> Response:
        kind = ExportLogsServiceResponse
        return await take(request, receiver.receive_logs, kind, "rejected_log_records")

    return routes


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != CONTENT_TYPE:
        raise _Refused(415, f"send {CONTENT_TYPE}, not {kind or 'a body without content type'}")
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise _Refused(413, f"an export may have {MAX_BODY_BYTES} bytes at most")
    except ClientDisconnect as error:
        raise _Refused(400, "the body was cut short") from error
    return bytes(body)


def _unpack(body: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise _Refused(415, f"content encoding {encoding} is not taken: send gzip or none")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            unpacked = file.read(MAX_UNPACKED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _Refused(400, f"the body is not gzip: {error}") from error
    if len(unpacked) > MAX_UNPACKED_BYTES:
        raise _Refused(413, f"an export may unpack to {MAX_UNPACKED_BYTES} bytes at most")
    return unpacked


def _refusal(error: _Refused | DamoscopeError) -> Response:
    code = code_pb2.UNAVAILABLE if error.status == 503 else code_pb2.INVALID_ARGUMENT
    response = _protobuf(status_pb2.Status(code=code, message=str(error)), error.status)
    if isinstance(error, Unavailable):
        response.headers["retry-after"] = str(RETRY_AFTER_S)
    return response


def _protobuf(message: Message, status: int = 200) -> Response:
    return Response(message.SerializeToString(), status, media_type=CONTENT_TYPE)
