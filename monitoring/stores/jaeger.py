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

from monitoring.stores.comparing import ComparedSides
from monitoring.stores.contract import (
    LogLine,
    Order,
    RequestStatus,
    Span,
    TracePart,
    TraceSummary,
    Window,
)
from monitoring.stores.finding import Cursor, FoundImages, Tally, TraceQuery
from monitoring.stores.jaeger_search import JaegerSearch, not_searched
from monitoring.stores.jaeger_spans import spans_of
from pipeline.errors import Unavailable

TIMEOUT_S = 10.0
_TRACE_ID = re.compile(r"[0-9a-fA-F]{1,32}")


class JaegerTraces:
    """Reads from the Jaeger query service at `url`; `clock` gives seconds since the epoch."""

    def __init__(
        self,
        url: str,
        clock: Callable[[], float] = time.time,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S, transport=transport)
        self._search = JaegerSearch(self._ask, self.get, clock)

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
        query = TraceQuery(window=window, status=status, min_duration_ms=min_duration_ms)
        return list(self.find(query, limit=limit, order=order).images)

    def find(
        self,
        query: TraceQuery,
        *,
        limit: int = 50,
        order: Order = "newest",
        cursor: str | None = None,
    ) -> FoundImages:
        after = None
        if cursor is not None:
            seen = Cursor.read(cursor, order)
            after = (seen.key, seen.tie)
        search = self._search.newest if order == "newest" else self._search.slowest
        return search(query, limit, after)

    def tally(self, query: TraceQuery) -> Tally:
        return self._search.tally(query)

    def compare(self, query: TraceQuery, slowest: float) -> ComparedSides:
        return self._search.compare(query, slowest)

    def not_searched(self, query: TraceQuery) -> tuple[str, ...]:
        return not_searched(query)

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
