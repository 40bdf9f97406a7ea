"""One trace as a waterfall: its spans by parent and time, drawn to scale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from frontend.pages.i18n import Texts
from frontend.pages.timings import milliseconds
from frontend.pages.trace_links import Links
from monitoring.stores.contract import (
    TRACE_MAX_LINES,
    Event,
    Link,
    LogLine,
    Span,
    TracePart,
    by_span,
)
from telemetry import catalogue

#: Parts that the time axis is divided into.
TICKS = 4
#: Spans that are shown at first, and that each press of the button adds.
SHOWN = 500
#: Levels of indentation; deeper ones stay where these end.
DEPTH_MAX = 24
#: A span without which an image's trace is still on its way, unless the request has failed.
LAST = catalogue.SPAN_PROCESS


def view(
    trace_id: str,
    part: TracePart,
    lines: Sequence[LogLine],
    words: Texts,
    links: Links,
    seen: str = "",
) -> str:
    """The waterfall. `data-complete` says whether more spans are to be expected; `seen` is what
    there is of pictures, as HTML."""
    spans = part.spans
    if not spans:
        return (
            '<div class="ds-waterfall" data-complete="0"><div class="ds-empty">'
            f"<p data-waiting>{escape(words['trace.waiting'])}</p>"
            f"<p data-missing hidden>{escape(words['trace.missing'])}</p></div></div>"
        )
    start, total_ms = part.start_unix_ns, (part.end_unix_ns - part.start_unix_ns) / 1e6
    logged = by_span(spans, lines, whole=len(spans) == part.total)
    body = "".join(
        _span(span, logged[span.span_id], depth, start, total_ms, words)
        for span, depth in tree(spans)
    )
    return (
        f'<div class="ds-waterfall" data-complete="{int(_is_complete(part))}" '
        f'data-trace="{escape(trace_id)}">{_head(trace_id, part, _took_ms(part), words, links)}'
        f"{_notes(part, lines, words)}{seen}"
        f'<div class="ds-spans">{_axis(total_ms)}{body}</div>{_more(part, words)}</div>'
    )


def _more(part: TracePart, words: Texts) -> str:
    """What of a large trace is not shown: asked for by a button, or not kept at all."""
    shown = len(part.spans)
    if shown >= part.total:
        return ""
    text = words["trace.part"].format(shown=shown, total=part.total)
    return (
        f'<p class="ds-part"><span class="ds-muted">{escape(text)}</span> '
        f'<button type="button" data-more="{shown + SHOWN}">{escape(words["trace.more"])}</button>'
        "</p>"
    )


def _notes(part: TracePart, lines: Sequence[LogLine], words: Texts) -> str:
    notes = []
    if part.dropped:
        notes.append(words["trace.dropped"].format(count=part.dropped, total=part.total))
    if len(lines) >= TRACE_MAX_LINES:
        notes.append(words["trace.lines.full"].format(count=TRACE_MAX_LINES))
    return "".join(f'<p class="ds-part-note" role="note">{escape(note)}</p>' for note in notes)


def tree(spans: Sequence[Span]) -> Iterator[tuple[Span, int]]:
    """Every span once, parents before children, with its depth; siblings by start.

    A span whose parent is not here (a caller's, or not yet arrived) is a root; so is the first
    of spans that are each other's parents.
    """
    known = {span.span_id for span in spans}
    ordered = sorted(spans, key=lambda span: span.start_unix_ns)
    children: dict[str | None, list[Span]] = defaultdict(list)
    for span in ordered:
        parent = span.parent_span_id if span.parent_span_id in known else None
        children[parent].append(span)
    seen: set[str] = set()
    for root in (*children[None], *ordered):
        waiting = [(root, 0)]
        while waiting:
            span, depth = waiting.pop()
            if span.span_id in seen:
                continue
            seen.add(span.span_id)
            yield span, depth
            waiting += [(child, depth + 1) for child in reversed(children[span.span_id])]


def _is_complete(part: TracePart) -> bool:
    if len(part.spans) < part.total:
        return True  # of a trace of this size nobody waits for the last span
    spans = part.spans
    found = {span.name for span in spans}
    failed = any(span.kind == "SERVER" and _went_wrong(span) for span in spans)
    served = bool(found & {catalogue.SPAN_REQUEST_UI, catalogue.SPAN_REQUEST_API})
    return (served and (LAST in found or failed)) or catalogue.SPAN_BATCH in found


def _took_ms(part: TracePart) -> float:
    """From the first to the last of what an image waited for: another model that looks at it as
    well does so after the answer."""
    ends = [
        span.start_unix_ns + span.duration_ms * 1e6
        for span in part.spans
        if span.name != catalogue.SPAN_SHADOW
    ]
    all_are_here = len(part.spans) == part.total and len(ends) < part.total
    end_ns = max(ends) if all_are_here and ends else part.end_unix_ns
    return (end_ns - part.start_unix_ns) / 1e6


def _head(trace_id: str, part: TracePart, total_ms: float, words: Texts, links: Links) -> str:
    services = "".join(
        f'<li><i class="{_service_class(service)}"></i>{escape(_service(service, words))}</li>'
        for service in sorted({span.service for span in part.spans})
    )
    jaeger = links.jaeger(trace_id)
    jaeger_link = (
        f'<a href="{escape(jaeger)}" target="_blank" rel="noopener">'
        f"{escape(words['trace.jaeger'])}</a>"
        if jaeger
        else ""
    )
    count = words["trace.spans"].format(count=part.total)
    return (
        f'<header><h2>{milliseconds(total_ms)}<span class="ds-muted">{escape(count)}</span></h2>'
        f'<ul class="ds-legend">{services}</ul><p class="ds-links">{jaeger_link}'
        f'<a href="api/v1/traces/{escape(trace_id)}" target="_blank">'
        f"{escape(words['trace.json'])}</a>"
        f'<button type="button" data-pick="{escape(trace_id)}">'
        f"{escape(words['compare.with'])}</button>"
        f'<a href="traces" data-close>{escape(words["trace.close"])}</a></p>'
        f"<code>{escape(trace_id)}</code></header>"
    )


def _axis(total_ms: float) -> str:
    ticks = '<span style="left:0">0</span>' + "".join(
        f'<span style="left:{100 * i / TICKS:.0f}%">{milliseconds(total_ms * i / TICKS)}</span>'
        for i in range(1, TICKS + 1)
    )
    return f'<div class="ds-axis" aria-hidden="true"><div>{ticks}</div></div>'


def _span(span: Span, lines: Sequence[LogLine], depth: int, start: int, total_ms: float,
          words: Texts) -> str:  # fmt: skip
    offset_ms = (span.start_unix_ns - start) / 1e6
    scale = 100 / total_ms if total_ms else 0
    left, width = offset_ms * scale, span.duration_ms * scale
    # The figure stands where there is room: behind the bar, or before it near the right edge.
    side = "before" if left + width > 78 and left > 22 else "over" if width > 78 else "after"
    at = {
        "after": f"left:{left + width:.3f}%",
        "before": f"right:{100 - left:.3f}%",
        "over": f"right:{100 - left - width:.3f}%",
    }[side]
    failed = " failed" if _went_wrong(span) else ""
    return (
        f'<details class="ds-span{failed}" data-name="{escape(span.name)}" '
        f'data-span="{escape(span.span_id)}" data-depth="{depth}">'
        f'<summary><span class="name" style="padding-left:{min(depth, DEPTH_MAX) * 14}px">'
        f'<i class="{_service_class(span.service)}"></i><span>{escape(span.name)}</span></span>'
        f'<span class="lane"><i class="{_service_class(span.service)}" '
        f'style="left:{left:.3f}%;width:{width:.3f}%"></i>'
        f'<b class="{side}" style="{at}">{milliseconds(span.duration_ms)}</b></span></summary>'
        f"{_details(span, lines, offset_ms, start, words)}</details>"
    )


def _details(
    span: Span, lines: Sequence[LogLine], offset_ms: float, start: int, words: Texts
) -> str:
    facts = {
        "service.name": span.service,
        "kind": span.kind,
        "offset": f"+{milliseconds(offset_ms)}",
        "duration": milliseconds(span.duration_ms),
        "span_id": span.span_id,
    }
    status = f'<p class="ds-failure">{escape(_problem(span))}</p>' if _went_wrong(span) else ""
    attributes = dict(sorted(span.attributes.items()))
    events = "".join(_event(event, start, words) for event in span.events)
    return (
        f'<div class="ds-details">{status}{_facts(facts)}{_facts(attributes)}'
        f"{_lines(lines, start, words)}{events}{_links(span.links, words)}</div>"
    )


def _went_wrong(span: Span) -> bool:
    """Whether a span failed, or says what a client got wrong."""
    return span.status == "error" or catalogue.ATTR_PROBLEM_CODE in span.attributes


def _problem(span: Span) -> str:
    return str(span.attributes.get(catalogue.ATTR_PROBLEM_DETAIL) or span.status_message or "error")


def _facts(facts: Mapping[str, Any]) -> str:
    items = "".join(
        f"<dt>{escape(str(name))}</dt><dd>{escape(_plain(value))}</dd>"
        for name, value in facts.items()
    )
    return f"<dl>{items}</dl>" if items else ""


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    return str(value)


def _event(event: Event, start: int, words: Texts) -> str:
    offset_ms = (event.time_unix_ns - start) / 1e6
    plain = {name: value for name, value in event.attributes.items() if "stacktrace" not in name}
    trace = _stack(event.attributes.get("exception.stacktrace"))
    return (
        f'<div class="ds-event"><h4>{escape(words["trace.event"])} {escape(event.name)} '
        f'<span class="ds-muted">+{milliseconds(offset_ms)}</span></h4>{_facts(plain)}{trace}</div>'
    )


def _stack(stack: object) -> str:
    """It scrolls, by keys too."""
    return f'<pre tabindex="0">{escape(str(stack))}</pre>' if stack else ""


def _lines(lines: Sequence[LogLine], start: int, words: Texts) -> str:
    if not lines:
        return ""
    items = "".join(
        f"<dt>+{milliseconds((line.time_unix_ns - start) / 1e6)} {escape(line.level)}</dt>"
        f"<dd>{escape(line.message)}{_stack(line.stack)}</dd>"
        for line in lines
    )
    return f'<div class="ds-log"><h4>{escape(words["trace.lines"])}</h4><dl>{items}</dl></div>'


def _links(links: Sequence[Link], words: Texts) -> str:
    items = "".join(
        f'<li><a href="traces?trace={escape(link.trace_id)}">'
        + escape(words["trace.link"].format(span=link.span_id, trace=link.trace_id[:8] + "…"))
        + "</a></li>"
        for link in links
    )
    return f"<h4>{escape(words['trace.links'])}</h4><ul>{items}</ul>" if items else ""


def _service(service: str, words: Texts) -> str:
    return words.get(f"service.{service}", service)


def _service_class(service: str) -> str:
    known = {catalogue.SERVICE_FRONTEND: "frontend", catalogue.SERVICE_WORKER: "worker"}
    return f"service-{known.get(service, 'other')}"
