"""An RQ job's own record, read without trust: nothing is ever unpickled or imported."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from typing import Any

import orjson

from pipeline.job import DetectJob
from pipeline.queue.keys import TASK


def read_meta(text: bytes) -> dict[str, Any]:
    """A job's metadata; empty where it cannot be read, so that it costs no other job anything."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


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
            return None, f"this queue takes only {TASK}, not {function}"
        return DetectJob.model_validate(args[0]), ""
    except (ValueError, LookupError, TypeError) as error:
        return None, f"not a job of ours: {error}"


def _unpacked(data: bytes) -> bytes:
    """A payload as it is, or compressed by RQ: a job that was changed by RQ's own tools."""
    try:
        return zlib.decompress(data)
    except zlib.error:
        return data
