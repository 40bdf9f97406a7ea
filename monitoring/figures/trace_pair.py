"""Two traces side by side: what `GET /api/v1/traces/{trace_id}/compare/{other_id}` answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import BaseModel

from monitoring.stores.contract import Span
from telemetry import catalogue

#: Rows of attributes that are listed; those that differ come first.
ATTRIBUTES_MAX: Final = 500
SPANS_MAX: Final = 500
#: What tells two traces apart and nothing else.
_OWN: Final = frozenset(
    (catalogue.ATTR_JOB_ID, catalogue.ATTR_MESSAGING_MESSAGE_ID, "client.port")
)  # fmt: skip


class SpanPair(BaseModel):
    """The spans of one name, and the how many-th of it; None where a trace has none."""

    name: str
    nth: int
    duration_ms: float | None
    other_duration_ms: float | None
    #: How much longer the first took; None where one of them has none.
    difference_ms: float | None


class AttributePair(BaseModel):
    """An attribute of such spans; None where one has it not."""

    span: str
    nth: int
    attribute: str
    value: Any
    other_value: Any
    same: bool


class TracePair(BaseModel):
    """Two traces: spans that differ most in time first, then attributes, the unlike ones first."""

    trace_id: str
    other_id: str
    spans: list[SpanPair]
    attributes: list[AttributePair]
    #: Attributes that are the same in both, listed or not.
    same: int


def pair(trace_id: str, spans: Sequence[Span], other_id: str, others: Sequence[Span]) -> TracePair:
    """Put two traces side by side. Ids, and ports of clients, are left out: they always differ."""
    mine, theirs = dict(_numbered(spans)), dict(_numbered(others))
    keys = list(dict.fromkeys((*mine, *theirs)))[:SPANS_MAX]
    pairs = [_spans(key, mine.get(key), theirs.get(key)) for key in keys]
    pairs.sort(key=lambda each: -_weight(each))
    attributes = [
        AttributePair(
            span=key[0], nth=key[1], attribute=name, value=value, other_value=other,
            same=value == other,
        )
        for key in keys
        for name, value, other in _attributes(mine.get(key), theirs.get(key))
    ]  # fmt: skip
    lone = {(each.name, each.nth) for each in pairs if each.difference_ms is None}
    attributes.sort(key=lambda each: (each.same, (each.span, each.nth) in lone))
    return TracePair(
        trace_id=trace_id,
        other_id=other_id,
        spans=pairs,
        attributes=attributes[:ATTRIBUTES_MAX],
        same=sum(each.same for each in attributes),
    )


def _numbered(spans: Sequence[Span]) -> Iterator[tuple[tuple[str, int], Span]]:
    """Each span by its kind of name and the how many-th of it, by start. Requests that came by the
    API and by the page are alike."""
    seen: Counter[str] = Counter()
    for span in sorted(spans, key=lambda each: each.start_unix_ns):
        is_request = catalogue.ATTR_ROUTE in span.attributes
        name = "request" if is_request else span.name
        seen[name] += 1
        yield (name, seen[name]), span


def _spans(key: tuple[str, int], mine: Span | None, other: Span | None) -> SpanPair:
    took = None if mine is None else round(mine.duration_ms, 4)
    took_other = None if other is None else round(other.duration_ms, 4)
    known = took is not None and took_other is not None
    return SpanPair(
        name=key[0],
        nth=key[1],
        duration_ms=took,
        other_duration_ms=took_other,
        difference_ms=round((took or 0.0) - (took_other or 0.0), 4) if known else None,
    )


def _weight(each: SpanPair) -> float:
    return abs((each.duration_ms or 0.0) - (each.other_duration_ms or 0.0))


def _attributes(mine: Span | None, other: Span | None) -> Iterator[tuple[str, Any, Any]]:
    first, second = _facts(mine), _facts(other)
    for name in sorted({*first, *second} - _OWN):
        yield name, first.get(name), second.get(name)


def _facts(span: Span | None) -> dict[str, Any]:
    if span is None:
        return {}
    status = {"status": span.status} if span.status == "error" else {}
    return {**span.attributes, **status, "service.name": span.service}
