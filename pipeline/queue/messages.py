"""What a worker says of a job: on the reply channel, and in RQ's record of a failure."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline import errors
from pipeline.job import JobError

#: What is said of a job that nobody can say anything about any more.
LOST = errors.WorkerLost("every worker that took this image died over it")

#: Bytes of a failure's record, once unpacked, that are read.
EXC_BYTES_MAX = 2**20


def exc_string(error: BaseException) -> str:
    """An error as RQ stores it: like the last line of its traceback."""
    return f"{type(error).__module__}.{type(error).__qualname__}: {error}"


def error_from_exc_string(text: str) -> JobError:
    """Read back what `exc_string`, or a stock worker's traceback, says of a failure."""
    last = text.strip().rpartition("\n")[2]
    name, _, message = last.partition(": ")
    kind = getattr(errors, name.rpartition(".")[2], None)
    if isinstance(kind, type) and issubclass(kind, errors.DamoscopeError):
        return JobError(code=kind.code, message=message)
    if "AbandonedJobError" in last:
        return JobError(code=LOST.code, message=str(LOST))
    return JobError(code=errors.InferenceFailed.code, message=last)


def reply(job_id: str, *, result: bytes | None = None, error: JobError | None = None) -> bytes:
    """A message on the reply channel: the job id, a space, `{"result": ...}` or `{"error": ...}`.

    `result` is a `DetectionResult` as JSON.
    """
    if error is not None:
        return job_id.encode() + b' {"error":' + error.model_dump_json().encode() + b"}"
    assert result is not None
    return job_id.encode() + b' {"result":' + result + b"}"


#: What stands before and after the detections of a result as JSON. Within a string of JSON every
#: quotation mark has a backslash before it, so that neither can be part of a label.
_BEFORE, _AFTER, _EACH = b'"detections":[', b'],"timings_ms":{', b'{"label":'
#: Where a page's run has asked for them, weaker boxes follow, which are passed on and do not count.
_WEAKER = b'],"weaker":['


@dataclass(slots=True)
class Reply:
    """What has become of a job: either a result or an error."""

    #: A `DetectionResult` as plain data, but for its detections, which may be JSON still.
    result: dict[str, Any] | None = None
    #: How many there are.
    detections: int = 0
    error: JobError | None = None


def read_reply(message: bytes) -> tuple[str, Reply]:
    """Job id and content of what `reply` made. Raises ValueError for anything else.

    The frontend passes a result on: its detections, hundreds perhaps, stay the JSON that they are.
    """
    job_id, _, body = message.partition(b" ")
    start, end = body.find(_BEFORE) + len(_BEFORE), body.rfind(_AFTER)
    apart = len(_BEFORE) <= start <= end
    content = orjson.loads(body[:start] + body[end:] if apart else body)
    if not isinstance(content, dict):
        raise ValueError("no reply")
    if "error" in content:
        return job_id.decode(), Reply(error=JobError.model_validate(content["error"]))
    match content:
        case {"result": {"detections": list(found), "timings_ms": dict()} as result}:
            count = len(found)
        case _:
            raise ValueError("neither a result nor an error")
    if apart:
        weaker = body.find(_WEAKER, start, end)
        count = body.count(_EACH, start, end if weaker < 0 else weaker)
        result["detections"] = orjson.Fragment(b"[%b]" % body[start:end])
    return job_id.decode(), Reply(result, count)


def pack_exc(text: str) -> str:
    """An `exc_string` as RQ keeps it in a result."""
    return base64.b64encode(zlib.compress(text.encode())).decode()


def unpack_exc(packed: bytes) -> str:
    """The reverse of `pack_exc`, up to `EXC_BYTES_MAX`. Raises ValueError or zlib.error."""
    text = zlib.decompressobj().decompress(base64.b64decode(packed), EXC_BYTES_MAX)
    return text.decode(errors="replace")
