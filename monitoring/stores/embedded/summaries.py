"""The row of each image request: what lists filter by and show, written as its spans arrive.

A list reads these rows only, so that it costs the same however large the traces are.
"""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from monitoring.stores.contract import Span, TraceSummary
from monitoring.stores.embedded.limits import START_AHEAD_S, SUMMARY_MAX_SPANS, TEXT_MAX
from monitoring.stores.finding import VALUE_MAX
from monitoring.stores.summary import summarize
from telemetry import catalogue

#: Traces whose spans are still arriving, and their spans: more are read again from the file.
OPEN_MAX_TRACES = 1024
OPEN_MAX_SPANS = 16_384
#: What `told` is taken for in a row of an older version.
NOT_TOLD = "[null,null,null,null]"

_WRITE = """
    INSERT INTO request
        (trace_id, span_id, chunk, start_ns, duration_ns, error, job, summary, told)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (trace_id, span_id) DO {otherwise}
"""
UPDATE = _WRITE.format(otherwise="UPDATE SET summary = excluded.summary, told = excluded.told")
KEEP = _WRITE.format(otherwise="NOTHING")


@dataclass(slots=True)
class _Open:
    """Outlines of the spans of one trace, as many as the file has, and what was written of them."""

    outlines: list[Span]
    written: dict[str, TraceSummary] = field(default_factory=dict)


class Summaries:
    """Writes the rows; belongs to one connection that writes.

    It remembers the spans of the latest traces, and trusts that only while the file has as many
    of them: another process may have written some, or a transaction may have been undone.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, _Open] = OrderedDict()
        self._spans = 0

    def add(
        self,
        connection: sqlite3.Connection,
        trace_id: bytes,
        new: Sequence[Span],
        *,
        before: int,
        chunk: int,
        now_s: float,
        load: Callable[[], Iterable[Span]],
    ) -> None:
        """Sum up the requests of a trace that had `before` spans and now has `new` ones as well.

        `load` reads the outlines of those that were there before.
        """
        if before + len(new) > SUMMARY_MAX_SPANS:
            self._forget(trace_id)
            for summary in summarize(_distinct(new)):
                _write(connection, KEEP, trace_id, summary, chunk, now_s)
            return
        known = self._open.pop(trace_id, None)
        if known is not None:
            self._spans -= len(known.outlines)
        if known is None or len(known.outlines) != before:
            known = _Open(list(load()) if before else [])
        known.outlines += new
        for summary in summarize(_distinct(known.outlines)):
            if known.written.get(summary.span_id) != summary:
                _write(connection, UPDATE, trace_id, summary, chunk, now_s)
                known.written[summary.span_id] = summary
        self._open[trace_id] = known
        self._spans += len(known.outlines)
        while len(self._open) > OPEN_MAX_TRACES or self._spans > OPEN_MAX_SPANS:
            self._forget(next(iter(self._open)))

    def _forget(self, trace_id: bytes) -> None:
        known = self._open.pop(trace_id, None)
        if known is not None:
            self._spans -= len(known.outlines)


def _distinct(spans: Iterable[Span]) -> list[Span]:
    """Each span once, the first of those that came twice."""
    found: dict[str, Span] = {}
    for span in spans:
        found.setdefault(span.span_id, span)
    return list(found.values())


def _write(
    connection: sqlite3.Connection,
    statement: str,
    trace_id: bytes,
    summary: TraceSummary,
    chunk: int,
    now_s: float,
) -> None:
    start_ns = summary.start_unix_ns
    if start_ns > (now_s + START_AHEAD_S) * 1e9:
        # By a clock that is off, or a lie: it must not head the list until that day comes.
        summary = replace(summary, start_unix_ns=int(now_s * 1e9))
    connection.execute(statement, row_of(trace_id, summary, chunk))


def row_of(trace_id: bytes, summary: TraceSummary, chunk: int) -> tuple[Any, ...]:
    """What KEEP and UPDATE take."""
    return (
        trace_id,
        bytes.fromhex(summary.span_id),
        chunk,
        summary.start_unix_ns,
        round(summary.duration_ms * 1e6),
        summary.status == "error",
        job_key(summary.job_id),
        encode(summary),
        encode_told(summary),
    )


def job_key(job_id: str | None) -> int | None:
    """What a job is looked up by: a number takes a third of the room that the id would."""
    if job_id is None:
        return None
    return int.from_bytes(blake2b(job_id.encode(), digest_size=7).digest())


def encode_told(summary: TraceSummary) -> str:
    """Who sent the image, and what its worker told; never ''."""
    texts = (summary.client, summary.worker, summary.model, summary.model_version)
    client, worker, *model = (text and text[:VALUE_MAX] for text in texts)
    labels = [label[:VALUE_MAX] for label in summary.labels]
    score = None if summary.score is None else round(summary.score, 4)
    return json.dumps([client, worker, model, score, *labels], separators=(",", ":"))


def _decode_told(told: str) -> tuple[Any, ...]:
    """Client, worker, model, its version, best score, labels. A row of an older version has a model
    without its version."""
    client, worker, model, score, *labels = orjson.loads(told or NOT_TOLD)
    name, version = model if isinstance(model, list) else (model, None)
    return client, worker, name, version, score, labels


def encode(summary: TraceSummary) -> str:
    """What the row's other columns do not have."""
    stages = [
        round(summary.stages_ms[stage] * 1e6) if stage in summary.stages_ms else None
        for stage in catalogue.STAGES
    ]
    texts = (
        summary.outcome,
        summary.route,
        summary.job_id,
        summary.error_type,
        summary.error_message,
    )
    cut = [text and text[:TEXT_MAX] for text in texts]
    return json.dumps([*cut, summary.detections, *stages], separators=(",", ":"))


class Facts(NamedTuple):
    """What a request is found by."""

    id: int
    start_ns: int
    duration_ns: int
    error: int
    outcome: str
    route: str
    code: str | None
    client: str | None
    worker: str | None
    model: str | None
    model_version: str | None
    score: float | None
    labels: Sequence[str]


def facts(id: int, start_ns: int, duration_ns: int, error: int, summary: str, told: str) -> Facts:
    """A row as far as it tells: one of an older version may tell no more than its first columns."""
    outcome, route, _, code, *_ = (
        orjson.loads(summary) if summary else ("failed" if error else "ok", "", None, None)
    )
    return Facts(id, start_ns, duration_ns, error, outcome, route, code, *_decode_told(told))


def decode(
    trace_id: bytes,
    span_id: bytes,
    start_ns: int,
    duration_ns: int,
    error: int,
    summary: str,
    told: str,
) -> TraceSummary:
    """A row as a summary."""
    client, worker, model, model_version, score, labels = _decode_told(told)
    outcome, route, job_id, error_type, error_message, detections, *stages = orjson.loads(summary)
    return TraceSummary(
        trace_id=trace_id.hex(),
        span_id=span_id.hex(),
        start_unix_ns=start_ns,
        duration_ms=duration_ns / 1e6,
        status="error" if error else "ok",
        outcome=outcome,
        route=route,
        detections=detections,
        job_id=job_id,
        error_type=error_type,
        error_message=error_message,
        # By name: a later version may know more stages.
        stages_ms={
            stage: took_ns / 1e6
            for stage, took_ns in zip(catalogue.STAGES, stages, strict=False)
            if took_ns is not None
        },
        client=client,
        worker=worker,
        model=model,
        model_version=model_version,
        labels=tuple(labels),
        score=score,
    )
