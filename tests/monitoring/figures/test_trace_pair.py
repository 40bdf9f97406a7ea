"""monitoring.figures.trace_pair: two traces side by side."""

from __future__ import annotations

from typing import Any

from monitoring.figures.trace_pair import ATTRIBUTES_MAX, pair
from monitoring.stores.contract import Span
from telemetry import catalogue

A, B = "a" * 32, "b" * 32


def span(name: str, start: int, took: float, **attributes: Any) -> Span:
    return Span(
        A, f"{start:016x}", None, name, "INTERNAL", "worker", start, took, attributes=attributes
    )


def request(name: str, took: float, **attributes: Any) -> Span:
    return span(name, 0, took, **{catalogue.ATTR_ROUTE: "api"} | attributes)


def test_spans_by_how_much_they_differ() -> None:
    """Each span beside the one of its name; requests are alike whatever way they came; of two
    tries the first stands beside the first."""
    mine = [request("POST /api/v1/detect", 300), span("wait", 1, 200), span("wait", 2, 9)]
    other = [request("detect (page)", 90), span("wait", 1, 5), span("nms", 3, 1)]
    found = pair(A, mine, B, other)
    assert [(s.name, s.nth, s.duration_ms, s.other_duration_ms, s.difference_ms)
            for s in found.spans] == [
        ("request", 1, 300, 90, 210), ("wait", 1, 200, 5, 195), ("wait", 2, 9, None, None),
        ("nms", 1, None, 1, None),
    ]  # fmt: skip


def test_attributes_that_differ_come_first() -> None:
    """Those of spans that both have before those of spans that one has; ids and ports, which
    always differ, are left out."""
    mine = [
        span("inference", 1, 9, size=4, model="phone", **{"client.port": 1}),
        span("extra", 2, 1, only=True),
    ]
    other = [span("inference", 1, 9, size=1, model="phone", **{"client.port": 2})]
    found = pair(A, mine, B, other)
    assert [(a.span, a.attribute, a.value, a.other_value, a.same) for a in found.attributes] == [
        ("inference", "size", 4, 1, False),
        ("extra", "only", True, None, False),
        ("extra", "service.name", "worker", None, False),
        ("inference", "model", "phone", "phone", True),
        ("inference", "service.name", "worker", "worker", True),
    ]
    assert (found.trace_id, found.other_id, found.same) == (A, B, 2)


def test_a_trace_with_itself() -> None:
    """Nothing differs."""
    mine = [request("POST /api/v1/detect", 300, x=1), span("wait", 1, 200)]
    found = pair(A, mine, A, mine)
    assert {each.difference_ms for each in found.spans} == {0.0}
    assert all(each.same for each in found.attributes)


def test_what_is_listed_is_bounded() -> None:
    """Of very many attributes as many as can be read, and how many are the same."""
    mine = [span("one", 1, 1, **{f"a{i}": i for i in range(2 * ATTRIBUTES_MAX)})]
    found = pair(A, mine, B, mine)
    assert (len(found.attributes), found.same) == (ATTRIBUTES_MAX, 2 * ATTRIBUTES_MAX + 1)
