"""TraceStore over the query API of Jaeger v2: the one that its own pages use.

Times there are microseconds, so spans read from Jaeger are rounded to them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from monitoring.stores.contract import (
    Event,
    Link,
    LogLine,
    Order,
    RequestStatus,
    Span,
    SpanStatus,
    TracePart,
    TraceSummary,
    Window,
)
from monitoring.stores.summary import summarize
from pipeline.errors import Unavailable
from telemetry import catalogue
from telemetry.outcomes import ERRORS

TIMEOUT_S = 10.0
#: Traces fetched at once when the slowest are looked for: Jaeger cannot order by duration.
FETCH_MAX = 500
#: How far back a search without a window looks.
LOOKBACK_S = 30 * 86400.0


_TRACE_ID = re.compile(r"[0-9a-fA-F]{1,32}")
#: Tags that Jaeger makes of a span's own fields.
_KIND, _STATUS, _MESSAGE, _ERROR = (
    "span.kind",
    "otel.status_code",
    "otel.status_description",
    "error",
)


class JaegerTraces:
    """Reads from the Jaeger query service at `url`; `clock` gives seconds since the epoch."""

    def __init__(
        self,
        url: str,
        clock: Callable[[], float] = time.time,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S, transport=transport)
        self._clock = clock

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def search(
        self,
        *,
        limit: int = 50,
        min_duration_ms: float | None = None,
        status: RequestStatus | None = None,
        window: Window | None = None,
        order: Order = "newest",
    ) -> list[TraceSummary]:
        if window is None:
            now_s = self._clock()
            window = Window(now_s - LOOKBACK_S, now_s + 60)
        least_ms = min_duration_ms or 0.0
        if order == "newest":
            found = self._find(limit, least_ms, status, window)
            return sorted(found, key=lambda each: -each.start_unix_ns)[:limit]
        # The newest ones tell how slow the slowest are at least; asking again for
        # those that are slower still ends when all of them fit into one answer.
        while True:
            found = self._find(max(limit, FETCH_MAX), least_ms, status, window)
            slowest = sorted(found, key=lambda each: -each.duration_ms)[:limit]
            if len(found) < FETCH_MAX or slowest[-1].duration_ms <= least_ms:
                return slowest
            least_ms = slowest[-1].duration_ms

    def get(self, trace_id: str) -> list[Span]:
        if not _TRACE_ID.fullmatch(trace_id):
            return []
        traces = self._ask(f"/api/traces/{trace_id}", {})
        return [span for trace in traces for span in spans_of(trace)]

    def part(self, trace_id: str, offset: int = 0, limit: int | None = None) -> TracePart:
        spans = self.get(trace_id)  # Jaeger has no other way
        if not spans:
            return TracePart()
        ends = (span.start_unix_ns + round(span.duration_ms * 1e6) for span in spans)
        shown = spans[offset : None if limit is None else offset + limit]
        return TracePart(tuple(shown), len(spans), 0, spans[0].start_unix_ns, max(ends))

    def lines(self, trace_id: str) -> list[LogLine]:
        return []  # Jaeger takes no log lines

    def _find(
        self, limit: int, least_ms: float, status: RequestStatus | None, window: Window
    ) -> list[TraceSummary]:
        parameters: dict[str, str | int] = {
            "service": catalogue.SERVICE_FRONTEND,
            "limit": limit,
            "start": int(window.start_s * 1e6),
            "end": int(window.end_s * 1e6),
        }
        if least_ms > 0:
            parameters["minDuration"] = f"{int(least_ms * 1000)}us"
        # Jaeger cannot ask for "any but": the outcomes that are no success, one by one.
        outcomes = ERRORS if status == "error" else ("ok",) if status == "ok" else (None,)
        found = {
            (summary.trace_id, summary.span_id): summary
            for outcome in outcomes
            for trace in self._ask("/api/traces", {**parameters, **_tags(outcome)})
            for summary in summarize(spans_of(trace))
            if summary.duration_ms >= least_ms
            and status in (None, summary.status)
            and window.start_s <= summary.start_unix_ns / 1e9 < window.end_s
        }
        return list(found.values())

    def _ask(self, path: str, parameters: Mapping[str, str | int]) -> list[Mapping[str, Any]]:
        try:
            response = self._client.get(path, params=parameters)
            if response.status_code == 404:
                return []
            answer = response.json()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            host = self._client.base_url.host
            raise Unavailable(f"Jaeger on {host} cannot be read: {error}") from error
        if response.is_error or answer.get("errors"):
            raise Unavailable(f"Jaeger refused a query: {answer.get('errors')}")
        return answer.get("data") or []


def _tags(outcome: str | None) -> dict[str, str]:
    return {"tags": json.dumps({catalogue.ATTR_OUTCOME: outcome})} if outcome else {}


def spans_of(trace: Mapping[str, Any]) -> list[Span]:
    """The spans of a trace in Jaeger's JSON, by start."""
    services = {key: each["serviceName"] for key, each in trace["processes"].items()}
    spans = [_span(span, services) for span in trace["spans"]]
    return sorted(spans, key=lambda span: (span.start_unix_ns, -span.duration_ms))


def _span(span: Mapping[str, Any], services: Mapping[str, str]) -> Span:
    tags = {tag["key"]: _value(tag) for tag in span.get("tags") or ()}
    references = span.get("references") or []
    parent = next(
        (
            each["spanID"]
            for each in references
            if each["refType"] == "CHILD_OF" and each["traceID"] == span["traceID"]
        ),
        None,
    )
    own = {_KIND, _STATUS, _MESSAGE, _ERROR}
    return Span(
        trace_id=span["traceID"],
        span_id=span["spanID"],
        parent_span_id=parent,
        name=span["operationName"],
        kind=str(tags.get(_KIND, "internal")).upper(),
        service=services[span["processID"]],
        start_unix_ns=int(span["startTime"]) * 1000,
        duration_ms=int(span["duration"]) / 1000,
        status=_status(tags),
        status_message=str(tags.get(_MESSAGE, "")),
        attributes={name: value for name, value in tags.items() if name not in own},
        events=tuple(_event(log) for log in span.get("logs") or ()),
        links=tuple(
            Link(each["traceID"], each["spanID"])
            for each in references
            if each["refType"] == "FOLLOWS_FROM"
        ),
    )


def _status(tags: Mapping[str, Any]) -> SpanStatus:
    if tags.get(_ERROR) in (True, "true") or tags.get(_STATUS) == "ERROR":
        return "error"
    return "ok" if tags.get(_STATUS) == "OK" else "unset"


def _event(log: Mapping[str, Any]) -> Event:
    fields = {field["key"]: _value(field) for field in log["fields"]}
    name = str(fields.pop("event", "log"))
    return Event(name, int(log["timestamp"]) * 1000, fields)


def _value(tag: Mapping[str, Any]) -> Any:
    """A tag's value; lists come as JSON text, whole numbers beyond 2**53 as text."""
    value = tag["value"]
    match tag.get("type"):
        case "int64":
            return int(value)
        case "float64":
            return float(value)
        case "string" if isinstance(value, str) and value.startswith("["):
            try:
                return json.loads(value)
            except json.JSONDecodeError:
                return value
    return value
