"""An RQ job's own record, read without trust: nothing is ever unpickled or imported."""

from __future__ import annotations

import re
import zlib
from datetime import UTC, datetime

import orjson
from pydantic import ValidationError

from pipeline.job import DetectJob
from pipeline.queue.keys import REPLY_CHANNEL, TASK

#: Most bytes of a job's record, also once it is unpacked. The longest of ours have some thousands:
#: the labels that are wanted, and the trace context.
RECORD_BYTES_MAX = 2**18
#: Characters of a foreign text that are repeated in a refusal.
QUOTED_MAX = 100

_CHANNEL = re.compile(re.escape(REPLY_CHANNEL.format("")) + r"[A-Za-z0-9_-]{1,64}")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


def read_meta(text: bytes) -> dict[str, str]:
    """A job's metadata; empty where it cannot be read, so that it costs no other job anything."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def read_trace_id(text: bytes) -> str | None:
    """The trace that a job's metadata name."""
    found = read_meta(text).get("trace_id", "")
    return found if _TRACE_ID.fullmatch(found) else None


def read_channel(text: bytes) -> str:
    """Where the reply goes; empty when that is no channel of a frontend's."""
    channel = text.decode(errors="replace")
    return channel if _CHANNEL.fullmatch(channel) else ""


def read_ns(microseconds: bytes) -> int | None:
    """Nanoseconds of a number of microseconds; None where there is none."""
    try:
        return int(microseconds) * 1000
    except ValueError:
        return None


def read_iso_ns(text: bytes) -> int | None:
    """Unix nanoseconds of a moment as RQ keeps it; None where there is none."""
    try:
        moment = datetime.fromisoformat(text.decode())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1e6) * 1000


def read_job(data: bytes) -> tuple[DetectJob | None, str]:
    """The job of an RQ payload, or why it is refused."""
    try:
        function, _, args, _ = orjson.loads(_unpacked(data))
        if function != TASK:
            return None, f"this queue takes only {TASK}, not {str(function)[:QUOTED_MAX]}"
        return DetectJob.model_validate(args[0]), ""
    except (ValueError, LookupError, TypeError) as error:
        return None, not_ours(error)


def not_ours(error: Exception) -> str:
    """Why a job is refused that cannot be read, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"not a job of ours: {where}: {first['msg']}"[: 3 * QUOTED_MAX]
    return f"not a job of ours: {error}"[: 3 * QUOTED_MAX]


def _unpacked(data: bytes) -> bytes:
    """A payload as it is, or compressed by RQ: a job that was changed by RQ's own tools.

    Raises ValueError for one that unpacks to more than a job has.
    """
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(data, RECORD_BYTES_MAX)
    except zlib.error:
        return data
    if unpacking.unconsumed_tail:
        raise ValueError(f"its record has more than {RECORD_BYTES_MAX:,} bytes")
    return found
