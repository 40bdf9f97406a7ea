"""What is different about some images, and two traces side by side, as the Traces page shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Any

from frontend.pages.i18n import Texts
from frontend.pages.timings import NBSP, milliseconds
from monitoring.figures.differences import (
    Differences,
    NumberDifference,
    StageDifference,
    ValueDifference,
)
from monitoring.figures.trace_pair import AttributePair, SpanPair, TracePair
from telemetry import catalogue

#: Attributes that the page has a name for.
_NAMES = {
    catalogue.ATTR_OUTCOME: "traces.outcome",
    catalogue.ATTR_PROBLEM_CODE: "traces.code",
    catalogue.ATTR_LABELS: "traces.label",
    catalogue.ATTR_ENDUSER_ID: "traces.client",
    catalogue.ATTR_WORKER: "traces.worker",
    catalogue.ATTR_MODEL: "traces.model",
    catalogue.ATTR_MODEL_VERSION: "traces.model_version",
    catalogue.ATTR_ROUTE: "traces.route",
    catalogue.ATTR_SCORE: "traces.score",
    catalogue.ATTR_DETECTIONS: "traces.found",
}
#: Characters of a value that a cell has; the rest is in its title.
_CELL = 80
_NONE = "–"


def comparison(found: Differences, share: float | None, words: Texts) -> str:
    """Some images against the others; `share` where the slowest ones were asked for."""
    if not found.enough:
        text = words["compare.few"].format(
            selected=f"{found.selected.count:,}", rest=f"{found.rest.count:,}", least=found.least
        )
        return _panel(words["compare"], f'<p class="ds-none">{escape(text)}</p>', words)
    body = f'<p class="ds-compared">{escape(_asked(found, share, words))}</p>'
    if found.stages:
        body += _section(
            "compare.stages", ("stage", "selected", "rest", "extra"),
            (_stage(each, words) for each in found.stages), words,
        )  # fmt: skip
    values = (_value(each, words) for each in found.values if each.sure)
    body += _section("compare.values", ("attribute", "selected", "rest", "lift"), values, words)
    numbers = (_number(each, words) for each in found.numbers if each.sure)
    body += _section("compare.numbers", ("attribute", "selected", "rest"), numbers, words)
    return _panel(words["compare"], body + _looked_at(found, words), words)


def _asked(found: Differences, share: float | None, words: Texts) -> str:
    key = "compare.slowest" if share is not None else "compare.selected_of"
    if found.to_ms is None:
        took = words["compare.from"].format(least=milliseconds(found.from_ms))
    else:
        took = words["compare.between"].format(
            least=milliseconds(found.from_ms), most=milliseconds(found.to_ms)
        )
    return words[key].format(
        selected=f"{found.selected.count:,}", rest=f"{found.rest.count:,}", took=took,
        share=f"{100 * (share or 0):g}{NBSP}%",
    )  # fmt: skip


def _looked_at(found: Differences, words: Texts) -> str:
    notes = [
        words["compare.looked"].format(
            sampled=f"{found.selected.sampled:,} + {found.rest.sampled:,}",
            traced=f"{found.selected.traced:,} + {found.rest.traced:,}",
        )
    ]
    sides = (found.selected, found.rest)
    if any(side.counted < side.count for side in sides):
        fewest = max(1, min(side.counted for side in sides))
        notes.append(
            words["compare.sampled"].format(
                counted=" + ".join(f"{side.counted:,}" for side in sides),
                points=f"{100 * 0.98 / fewest**0.5:.1f}",
            )
        )
    if not found.exact:
        notes.append(words["compare.inexact"])
    return "".join(f'<p class="ds-muted" role="note">{escape(note)}</p>' for note in notes)


def _stage(each: StageDifference, words: Texts) -> Iterable[str]:
    name = words.get(f"stage.{each.stage}", words.get(f"compare.{each.stage}", each.stage))
    yield f'<i class="stage-{escape(each.stage)}"></i>{escape(name)}'
    yield from (_ms(each.median_ms), _ms(each.rest_median_ms))
    share = "" if each.extra_share is None else f" ({100 * each.extra_share:.0f}{NBSP}%)"
    yield f"{_signed_ms(each.extra_ms)}{share}"


def _value(each: ValueDifference, words: Texts) -> Iterable[str]:
    yield f"{_name(each.attribute, words)} <b>{_cut(each.value)}</b>"
    yield _share(each.share, each.count)
    yield _share(each.rest_share, each.rest_count)
    yield _NONE if each.lift is None else f"×{each.lift:.3g}"


def _number(each: NumberDifference, words: Texts) -> Iterable[str]:
    yield _name(each.attribute, words)
    yield from (_figure(each.median), _figure(each.rest_median))


def side_by_side(found: TracePair, words: Texts) -> str:
    """Two traces: spans, then attributes that differ, and, folded, those that do not."""
    letters = [
        f'<p class="ds-compared"><b>{letter}</b> <a href="traces?trace={id}"><code>{id}</code></a>'
        "</p>"
        for letter, id in (("A", found.trace_id), ("B", found.other_id))
    ]
    unlike = [each for each in found.attributes if not each.same]
    alike = [each for each in found.attributes if each.same]
    body = "".join(letters)
    body += _section("compare.spans", ("span", "A", "B", "difference"),
                     (_span(each, words) for each in found.spans), words)  # fmt: skip
    body += _section("compare.unlike", ("attribute", "A", "B"),
                     (_attribute(each, words) for each in unlike), words)  # fmt: skip
    if alike:
        summary = words["compare.alike"].format(count=found.same)
        rows = _table(("attribute", "A", "B"), (_attribute(each, words) for each in alike), words)
        body += f'<details data-span="alike"><summary>{escape(summary)}</summary>{rows}</details>'
    return _panel(words["compare.pair"], body, words)


def _span(each: SpanPair, words: Texts) -> Iterable[str]:
    yield _title(each.name, each.nth, words)
    yield from (_ms(each.duration_ms), _ms(each.other_duration_ms))
    yield _NONE if each.difference_ms is None else _signed_ms(each.difference_ms)


def _attribute(each: AttributePair, words: Texts) -> Iterable[str]:
    span = _title(each.span, each.nth, words)
    yield f'<span class="ds-muted">{span}</span> {_code(each.attribute)}'
    yield from (_any(each.value), _any(each.other_value))


def _title(name: str, nth: int, words: Texts) -> str:
    said = words.get(f"compare.span.{name}", name)
    return escape(said if nth == 1 else f"{said} {nth}")


# -- what they are made of -------------------------------------------------------------------


def _panel(title: str, body: str, words: Texts) -> str:
    return (
        '<div class="ds-compare" data-complete="1">'
        f'<header><h2>{escape(title)}</h2><p class="ds-links">'
        f'<a href="traces" data-close>{escape(words["trace.close"])}</a></p></header>{body}</div>'
    )


def _section(
    key: str, columns: Iterable[str], rows: Iterable[Iterable[str]], words: Texts
) -> str:  # fmt: skip
    table = _table(columns, rows, words)
    return f"<h3>{escape(words[key])}</h3>" + (
        table or f'<p class="ds-none">{escape(words[key + ".none"])}</p>'
    )


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]], words: Texts) -> str:
    body = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>" for cells in rows
    )
    head = "".join(
        f'<th scope="col">{escape(words.get(f"compare.column.{name}", name))}</th>'
        for name in columns
    )
    if not body:
        return ""
    values = " values" if "A" in columns and "attribute" in columns else ""
    return (
        f'<div class="ds-table{values}" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _name(attribute: str, words: Texts) -> str:
    if attribute in _NAMES:
        return f'<span title="{escape(attribute)}">{escape(words[_NAMES[attribute]])}</span>'
    return _code(attribute)


def _code(attribute: str) -> str:
    """An attribute's name, which may be broken where one of its parts ends."""
    return f"<code>{re.sub(r'(?<=[._])', '<wbr>', escape(attribute))}</code>"


def _any(value: Any) -> str:
    if value is None:
        return _NONE
    if isinstance(value, list | tuple):
        return _cut(", ".join(map(str, value)))
    return _cut(str(value))


def _cut(text: str) -> str:
    if len(text) <= _CELL:
        return escape(text)
    return f'<span title="{escape(text)}">{escape(text[:_CELL])}…</span>'


def _share(share: float, count: int) -> str:
    return f'{100 * share:.1f}{NBSP}% <span class="ds-muted">{count:,}</span>'


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.3g}"


def _ms(value: float | None) -> str:
    return _NONE if value is None else milliseconds(value)


def _signed_ms(value: float) -> str:
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return sign + milliseconds(abs(value))
