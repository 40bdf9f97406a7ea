"""Finds images in Jaeger, which searches by the exact tags of one span and by its duration, hands
over the newest whole traces, and neither counts nor sorts.

What it cannot search by is looked for in what it hands over: an answer says so, and whoever wants
more goes on from its cursor.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Final

from monitoring.stores.comparing import ComparedSides, attributes_of, by_duration, of_images
from monitoring.stores.contract import Span, TraceSummary, Window
from monitoring.stores.finding import BOUNDS_MS, BUCKETS, Cursor, FoundImages, Tally, TraceQuery
from monitoring.stores.jaeger_spans import spans_of
from monitoring.stores.summary import summarize
from telemetry import catalogue
from telemetry.outcomes import ERRORS

#: Traces that are looked through at once where Jaeger cannot search or order by what is asked.
FETCH_MAX: Final = 500
#: How far back a search without a window looks.
LOOKBACK_S: Final = 30 * 86400.0
#: What is on a span of the worker's, while a search is for the span of the request; in a list;
#: or no text.
_NO_TAG: Final = ("label", "worker", "model", "model_version", "min_score", "max_score")

#: A start in nanoseconds, or a duration in microseconds, and the span's id.
_Key = tuple[int, str]
#: Ids of a trace and of the request's span in it.
_Id = tuple[str, str]


def not_searched(query: TraceQuery) -> tuple[str, ...]:
    """See TraceStore.not_searched."""
    return tuple(name for name in _NO_TAG if getattr(query, name) is not None)


@dataclass(frozen=True, slots=True)
class _Looked:
    """What was found among what Jaeger has handed over."""

    images: list[TraceSummary]
    #: Whether that is all of the window.
    complete: bool = True
    #: The oldest of what was handed over, where that is not all.
    oldest: _Key | None = None
    #: All spans of the trace of each image.
    spans: Mapping[_Id, Sequence[Span]] = field(default_factory=dict)


class JaegerSearch:
    """`ask` gives the traces of an address and its parameters, `get` the spans of one trace."""

    def __init__(
        self,
        ask: Callable[[str, Mapping[str, str | int]], list[Mapping[str, Any]]],
        get: Callable[[str], list[Span]],
        clock: Callable[[], float],
    ) -> None:
        self._ask, self._get, self._clock = ask, get, clock

    def newest(self, query: TraceQuery, limit: int, after: _Key | None) -> FoundImages:
        """See TraceStore.find."""
        count = FETCH_MAX if not_searched(query) else limit + 1
        looked = self._look(query, count, end_ns=None if after is None else after[0])
        found = [each for each in looked.images if after is None or _start(each) < after]
        found.sort(key=_start, reverse=True)
        last = None
        if len(found) > limit:
            last = _start(found[limit - 1])
        elif looked.oldest is not None and (after is None or looked.oldest < after):
            last = looked.oldest  # there may be more among those before
        return FoundImages(
            found[:limit],
            None if last is None else str(Cursor("newest", *last)),
            complete=looked.complete or len(found) > limit,
        )

    def slowest(self, query: TraceQuery, limit: int, after: _Key | None) -> FoundImages:
        """See TraceStore.find."""
        most_ms = math.inf if after is None else (after[0] + 1) / 1e3
        # The newest ones tell how slow the slowest are at least; asking again for
        # those that are slower still ends when all of them fit into one answer.
        least_ms = query.min_duration_ms or 0.0
        while True:
            slower = replace(query, min_duration_ms=least_ms)
            looked = self._look(slower, max(limit + 1, FETCH_MAX), most_ms=most_ms)
            found = [each for each in looked.images if after is None or _took(each) < after]
            found = sorted(found, key=_took, reverse=True)[: limit + 1]
            enough = len(found) > limit
            if looked.complete or not enough or found[-1].duration_ms <= least_ms:
                break
            least_ms = found[-1].duration_ms
        last = str(Cursor("slowest", *_took(found[limit - 1]))) if enough else None
        return FoundImages(found[:limit], last, complete=looked.complete)

    def tally(self, query: TraceQuery) -> Tally:
        """See TraceStore.tally."""
        looked = self._look(query, FETCH_MAX)
        counts = Counter(bisect_right(BOUNDS_MS, each.duration_ms) for each in looked.images)
        return Tally(tuple(counts[i] for i in range(BUCKETS)), exact=looked.complete)

    def compare(self, query: TraceQuery, slowest: float) -> ComparedSides:
        """See TraceStore.compare: of the newest ones."""
        looks = [self._look(replace(query, min_duration_ms=None, max_duration_ms=None), FETCH_MAX)]
        if by_duration(query) and not looks[0].complete:
            looks.append(self._look(query, FETCH_MAX))  # they may be few among the newest
        images = {_id(each): each for look in looks for each in look.images}
        spans = {id: found for look in looks for id, found in look.spans.items()}
        return of_images(
            query, slowest, images.values(),
            lambda image: attributes_of(image.span_id, spans.get(_id(image), ())),
            exact=looks[0].complete,
        )  # fmt: skip

    def _look(
        self,
        query: TraceQuery,
        count: int,
        *,
        end_ns: int | None = None,
        most_ms: float = math.inf,
    ) -> _Looked:
        """What answers a question among the newest `count` traces of each of Jaeger's searches."""
        if query.id is not None:
            spans = self._get(query.id)
            found = summarize(spans)
            if found:
                matching = [each for each in found if query.matches(each)]
                return _Looked(matching, spans={_id(each): spans for each in matching})
        now_s = self._clock()
        window = query.window or Window(now_s - LOOKBACK_S, now_s + 60)
        end_us = math.ceil(window.end_s * 1e6)
        least_ms, most_ms = (
            query.min_duration_ms or 0.0,
            min(query.max_duration_ms or math.inf, most_ms),
        )
        parameters: dict[str, str | int] = {
            "service": catalogue.SERVICE_FRONTEND,
            "limit": count,
            "start": int(window.start_s * 1e6),
            "end": end_us if end_ns is None else min(end_us, end_ns // 1000),
        }
        if least_ms > 0:
            parameters["minDuration"] = f"{int(least_ms * 1000)}us"
        if most_ms < math.inf:
            parameters["maxDuration"] = f"{math.ceil(most_ms * 1000)}us"
        images: dict[_Id, TraceSummary] = {}
        whole: dict[_Id, Sequence[Span]] = {}
        oldest: list[_Key] = []
        for tags in _searches(query):
            tagged = {"tags": json.dumps(tags)} if tags else {}
            traces = self._ask("/api/traces", {**parameters, **tagged})
            found = []
            for spans in map(spans_of, traces):
                requests = summarize(spans)
                found += requests
                images |= {_id(each): each for each in requests}
                whole |= dict.fromkeys(map(_id, requests), spans)
            if len(traces) >= count and found:
                oldest.append(min(map(_start, found)))
        matching = [each for each in images.values() if query.matches(each)]
        # What all of the searches have looked through.
        return _Looked(matching, not oldest, max(oldest, default=None), whole)


def _searches(query: TraceQuery) -> Iterator[dict[str, str]]:
    """The tags of each search that it takes: Jaeger knows neither "or" nor "any but"."""
    outcomes: Sequence[str | None] = (None,)
    if query.outcomes:
        outcomes = query.outcomes
    elif query.status is not None:
        outcomes = ERRORS if query.status == "error" else ("ok",)
    named = {
        catalogue.ATTR_ROUTE: query.route,
        catalogue.ATTR_ENDUSER_ID: query.client,
        catalogue.ATTR_JOB_ID: query.id,
    }
    # Where nothing is said of the problem, the error has a type.
    codes = (catalogue.ATTR_PROBLEM_CODE, catalogue.ATTR_ERROR_TYPE)
    for outcome, code in product(outcomes, codes if query.code is not None else codes[:1]):
        tags = {**named, catalogue.ATTR_OUTCOME: outcome, code: query.code}
        yield {name: value for name, value in tags.items() if value is not None}


def _id(image: TraceSummary) -> _Id:
    return image.trace_id, image.span_id


def _start(image: TraceSummary) -> _Key:
    return image.start_unix_ns, image.span_id


def _took(image: TraceSummary) -> _Key:
    return int(image.duration_ms * 1e3 + 1e-4), image.span_id
