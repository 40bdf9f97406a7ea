"""frontend.pages.shadow_view: how a model in the shadow has done, as HTML."""

from __future__ import annotations

from datetime import UTC, datetime
from html import unescape
from typing import Any

from frontend.pages.i18n import EN, ZH
from frontend.pages.shadow_view import shadow_section
from pipeline.queue.shadow import Difference, ShadowReport
from tests.frontend.pages.html import plain

TRACE = "a" * 32


def report(**more: Any) -> ShadowReport:
    given: dict[str, Any] = {
        "name": "mine", "version": "2b", "answered_by": "phone", "answered_by_version": "1a",
        "since": datetime(2026, 11, 29, tzinfo=UTC), "images": 1201, "agreed": 900, "failed": 1,
        "dropped": 7, "both": 2000, "only_answer": 40, "only_shadow": 3, "score_difference": 0.0312,
        "recent": [],
    }  # fmt: skip
    return ShadowReport(**given | more)


def test_figures() -> None:
    """Images and boxes, each column by the name of the model that it is about."""
    title, body = shadow_section(report(), EN)
    body = plain(body)
    assert title == "Shadow: mine beside phone"
    assert "<th>Only phone</th><th>Only mine</th>" in body
    assert (
        "<td>1,201</td><td><b>900 (75.0%)</b></td><td>2,000</td><td>40</td><td>3</td>"
        "<td>0.031</td><td>1</td><td>7</td>"
    ) in body
    assert '<time datetime="2026-11-29T00:00:00+00:00"></time>' in body
    assert "Latest differences" not in body
    title, body = shadow_section(report(answered_by="mine", score_difference=None), EN)
    assert title == "Shadow: mine 2b beside mine 1a"
    assert "<td>–</td>" in plain(body)


def test_the_latest_differences() -> None:
    """With the way to their traces, where these were recorded."""
    rows = [
        Difference(trace_id=trace, job_id="b", unix_s=0, both=1, only_answer=2, only_shadow=3)
        for trace in (TRACE, "")
    ]
    body = plain(shadow_section(report(recent=rows), ZH)[1])
    assert "最近的差异" in body
    assert f'href="traces?trace={TRACE}"' in body
    assert body.count("<td>1</td><td>2</td><td>3</td>") == 2
    assert "<td>无</td>" in body


def test_names_are_text() -> None:
    """Whatever they are."""
    evil = "<img src=x onerror=alert(1)>"
    title, body = shadow_section(report(name=evil, answered_by=evil + "2"), EN)
    assert evil not in body
    assert evil in unescape(body)
    assert evil in title  # which the page escapes
