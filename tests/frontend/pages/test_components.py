"""The parts that the pages are made of, without a browser."""

from __future__ import annotations

import string
from typing import Any

import pytest

from frontend.pages import error_text, waterfall
from frontend.pages.i18n import EN, ZH
from frontend.pages.timings import milliseconds
from frontend.pages.trace_links import Links
from monitoring.stores.contract import TRACE_MAX_LINES, Event, LogLine, Span, TracePart
from pipeline import errors


def span(name: str, span_id: str, parent: str | None, start_ms: float, **more: Any) -> Span:
    start_ns = 10**18 + int(start_ms * 1e6)
    given = {"kind": "INTERNAL", "service": "damoscope-worker", "duration_ms": 1.0} | more
    return Span("t" * 32, span_id, parent, name, start_unix_ns=start_ns, **given)


def whole(spans: list[Span], *, total: int | None = None, dropped: int = 0) -> TracePart:
    ends = [each.start_unix_ns + int(each.duration_ms * 1e6) for each in spans]
    start_ns = min((each.start_unix_ns for each in spans), default=0)
    return TracePart(
        tuple(spans),
        len(spans) if total is None else total,
        dropped,
        start_ns,
        max(ends, default=0),
    )


def test_both_languages_say_the_same() -> None:
    """Every text exists in both languages, with the same figures in it."""
    assert set(EN) == set(ZH)
    for key in EN:
        fields = [{f for _, f, _, _ in string.Formatter().parse(t[key])} for t in (EN, ZH)]
        assert fields[0] - {None} == fields[1] - {None}, key


def test_the_tree_of_spans() -> None:
    """Every span once, children below parents by start; one with an unknown parent is a root."""
    spans = [
        span("late child", "c", "a", 5), span("root", "a", None, 0), span("child", "b", "a", 1),
        span("grandchild", "d", "b", 2), span("of a caller", "e", "gone", 9),
    ]  # fmt: skip
    assert [(found.name, depth) for found, depth in waterfall.tree(spans)] == [
        ("root", 0), ("child", 1), ("grandchild", 2), ("late child", 1), ("of a caller", 0),
    ]  # fmt: skip


def test_parents_in_a_circle() -> None:
    """A span that is its own parent, or spans that are each other's, are there once like others."""
    spans = [
        span("own parent", "s", "s", 3), span("one", "a", "b", 1), span("other", "b", "a", 2),
        span("below", "c", "b", 4), span("root", "r", None, 9),
    ]  # fmt: skip
    assert [(found.name, depth) for found, depth in waterfall.tree(spans)] == [
        ("root", 0), ("one", 0), ("other", 1), ("below", 2), ("own parent", 0),
    ]  # fmt: skip


def test_ten_thousand_levels() -> None:
    """A chain however deep is drawn; the indentation ends somewhere."""
    spans = [span("x", str(i), str(i - 1) if i else None, i) for i in range(10_000)]
    html = waterfall.view("t", whole(spans), [], EN, Links(None))
    assert html.count("<details") == 10_000
    assert f"padding-left:{waterfall.DEPTH_MAX * 14}px" in html
    assert f"padding-left:{(waterfall.DEPTH_MAX + 1) * 14}px" not in html


def test_a_model_that_looks_afterwards() -> None:
    """The title says how long the image took, without it; its span has a place all the same."""
    spans = [
        span("process detections", "p", None, 0, duration_ms=20.0),
        span("shadow", "s", None, 500, duration_ms=30.0),
    ]
    html = waterfall.view("t", whole(spans), [], EN, Links(None))
    assert "<h2>20\u00a0ms<" in html
    assert "530\u00a0ms" in html  # where the axis ends
    alone = waterfall.view("t", whole(spans[1:]), [], EN, Links(None))
    assert "<h2>30\u00a0ms<" in alone


def test_a_part_of_a_trace() -> None:
    """A large trace says how much of it is shown and has a button for more, and what is missing."""
    spans = [span("x", str(i), None, i) for i in range(3)]
    html = waterfall.view("t", whole(spans, total=5000, dropped=77), [], EN, Links(None))
    assert "The first 3 of 5000 spans." in html
    assert f'data-more="{3 + waterfall.SHOWN}"' in html
    assert "77 further spans came and were not kept" in html
    assert 'data-complete="1"' in html  # nobody waits for the worker's spans
    everything = waterfall.view("t", whole(spans), [], EN, Links(None))
    assert "data-more" not in everything
    assert 'role="note"' not in everything
    line = LogLine("t", "0", 10**18, "INFO", "x", "x", "x")
    full = waterfall.view("t", whole(spans), [line] * TRACE_MAX_LINES, EN, Links(None))
    assert "The first 200 log lines" in full


def test_nothing_in_a_span_is_markup() -> None:
    """Names, attributes, events and messages come from elsewhere and are shown as text."""
    evil = "<script>alert(1)</script>"
    event = Event(evil, 10**18, {"exception.message": evil, "exception.stacktrace": evil})
    given = span(
        evil, evil, None, 0, service=evil, status="error", status_message=evil,
        attributes={evil: evil}, events=(event,),
    )  # fmt: skip
    line = LogLine("t" * 32, evil, 10**18, evil, evil, evil, evil, evil)
    html = waterfall.view("t" * 32, whole([given]), [line], EN, Links("https://jaeger.example/"))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "https://jaeger.example/trace/" in html


def test_a_trace_on_its_way_is_not_complete() -> None:
    """The page asks again until the worker's spans are there, unless the request has failed."""
    server = span("detect (page)", "a", None, 0, kind="SERVER")
    done = span("process detections", "b", "a", 1)
    failed = span("detect (page)", "a", None, 0, kind="SERVER", status="error")
    refused = span("detect (page)", "a", None, 0, kind="SERVER",
                   attributes={"damoscope.problem.code": "invalid_image"})  # fmt: skip
    for complete, spans in ((0, []), (0, [server]), (1, [server, done]), (1, [failed]),
                            (1, [refused])):  # fmt: skip
        assert f'data-complete="{complete}"' in waterfall.view(
            "t", whole(spans), [], EN, Links(None)
        )


@pytest.mark.parametrize(
    ("error", "english", "chinese"),
    [
        (errors.InvalidImage("the upload is empty"), "The upload is empty.", "文件是空的。"),
        (errors.ImageTooLarge("the image is 9 x 8, more than the 50 pixels allowed"),
         "The image is 9 x 8, more than the 50 pixels allowed.",
         "图片为 9 × 8，超过 50 像素的上限。"),
        (errors.InferenceFailed("of a new kind"), "Of a new kind.", "模型推理出错。"),
        (errors.DamoscopeError("whatever"), "Whatever.", "处理出错，详情见服务日志。"),
    ],
)  # fmt: skip
def test_an_error_as_a_sentence(error: errors.DamoscopeError, english: str, chinese: str) -> None:
    """Errors are worded in the page's language; unknown ones by their kind."""
    assert error_text.sentence(error, EN) == english
    assert error_text.sentence(error, ZH) == chinese


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0\u00a0ms"),
        (0.424, "0.42\u00a0ms"),
        (8.34, "8.3\u00a0ms"),
        (74.2, "74\u00a0ms"),
        (1250, "1.25\u00a0s"),
    ],
)
def test_a_duration_is_readable(value: float, text: str) -> None:
    """As many digits as are of use."""
    assert milliseconds(value) == text
