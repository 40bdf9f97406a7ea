"""The parts that the pages are made of, without a browser."""

from __future__ import annotations

import string
from typing import Any

import pytest

from frontend.pages import error_text, waterfall
from frontend.pages.i18n import EN, ZH
from frontend.pages.timings import milliseconds
from frontend.pages.trace_links import Links
from monitoring.stores.contract import Event, LogLine, Span
from pipeline import errors


def span(name: str, span_id: str, parent: str | None, start_ms: float, **more: Any) -> Span:
    start_ns = 10**18 + int(start_ms * 1e6)
    given = {"kind": "INTERNAL", "service": "damoscope-worker", "duration_ms": 1.0} | more
    return Span("t" * 32, span_id, parent, name, start_unix_ns=start_ns, **given)


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


def test_nothing_in_a_span_is_markup() -> None:
    """Names, attributes, events and messages come from elsewhere and are shown as text."""
    evil = "<script>alert(1)</script>"
    event = Event(evil, 10**18, {"exception.message": evil, "exception.stacktrace": evil})
    given = span(
        evil, evil, None, 0, service=evil, status="error", status_message=evil,
        attributes={evil: evil}, events=(event,),
    )  # fmt: skip
    line = LogLine("t" * 32, evil, 10**18, evil, evil, evil, evil, evil)
    html = waterfall.view("t" * 32, [given], [line], EN, Links("https://jaeger.example/"))
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
        assert f'data-complete="{complete}"' in waterfall.view("t", spans, [], EN, Links(None))


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
    [(0, "0 ms"), (0.424, "0.42 ms"), (8.34, "8.3 ms"), (74.2, "74 ms"), (1250, "1.25 s")],
)
def test_a_duration_is_readable(value: float, text: str) -> None:
    """As many digits as are of use."""
    assert milliseconds(value) == text
