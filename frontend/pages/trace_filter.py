"""What the Traces page asks for images by, and how many there are: the form, the histogram."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from frontend.pages.i18n import Texts, both
from frontend.pages.timings import milliseconds
from monitoring.stores.finding import BOUNDS_MS, FoundImages, Tally
from telemetry.outcomes import OUTCOMES

STATUSES = ("", "ok", "error")
#: Ranges up to now, in seconds; "" is ever, "range" two times.
WINDOWS = ("", "900", "3600", "21600", "86400", "604800", "2592000", "range")
TEXTS = ("code", "label", "client", "worker", "model", "model_version")


def form() -> str:
    """The form, in both languages; the page's script keeps it in step with the address."""
    statuses = "".join(
        f'<button type="button" value="{status}" aria-pressed="{str(not status).lower()}">'
        f"{both('traces.status.' + (status or 'all'))}</button>"
        for status in STATUSES
    )
    texts = "".join(
        _labelled(f"traces.{name}", f'<input name="{name}" type="text" maxlength="200" '
                  f'autocomplete="off" spellcheck="false" list="ds-known-{name}">'
                  f'<datalist id="ds-known-{name}"></datalist>')
        for name in TEXTS
    )  # fmt: skip
    return (
        # Until its script listens to it: what is clicked before would be lost.
        '<form class="ds-filter" inert>'
        f'<div class="ds-choice" role="group">{statuses}</div>'
        + _labelled("traces.window", _select("window", "traces.window", WINDOWS))
        + f'<span class="ds-range" hidden>{_labelled("traces.from", _moment("from"))}'
        + f"{_labelled('traces.to', _moment('to'))}</span>"
        + _labelled("traces.order", _select("order", "traces.order", ("", "slowest")))
        + _labelled("traces.id", '<input name="id" type="search" maxlength="200" size="14" '
                    'autocomplete="off" spellcheck="false">')
        + f'<label class="ds-auto"><input name="auto" type="checkbox" checked> '
        f"{both('traces.auto')}</label>"
        f'<button type="submit" class="ds-refresh">{both("traces.refresh")}</button>'
        f'<details class="ds-more"><summary>{both("traces.filters")}</summary><div>'
        + _labelled("traces.outcome",
                    _select("outcome", "outcome", ("", *OUTCOMES), none="traces.any"))
        + texts
        + _labelled("traces.route", _select("route", "route", ("", "api", "ui"), none="traces.any"))
        + _pair("traces.score", "min_score", "max_score", 'min="0" max="1" step="0.01"', "")
        + _pair("traces.took", "min_duration_ms", "max_duration_ms",
                'min="0" max="86400000" step="any"', " ms")
        + f'<button type="button" data-clear>{both("traces.clear")}</button>'
        "</div></details></form>"
    )  # fmt: skip


def picking() -> str:
    """What is said while another trace is to be chosen."""
    return (
        f'<p class="ds-pick" role="status" hidden>{both("compare.pick")} '
        f'<button type="button" data-unpick>{both("compare.unpick")}</button></p>'
    )


def _labelled(key: str, control: str) -> str:
    return f"<label>{both(key)} {control}</label>"


def _moment(name: str) -> str:
    return f'<input name="{name}" type="datetime-local" step="1">'


def _select(name: str, key: str, values: Sequence[str], none: str = "") -> str:
    # An option shows text only: the script writes the one of the browser's language.
    options = ""
    for value in values:
        text = both(none if none and not value else f"{key}.{value or 'all'}")
        options += f'<option value="{value}">{text}</option>'
    return f'<select name="{name}">{options}</select>'


def _pair(key: str, least: str, most: str, bounds: str, unit: str) -> str:
    return (
        f'<span class="ds-pair" role="group"><span>{both(key)}</span>'
        f'<label><span class="ds-hidden">{both("traces.least")}</span>'
        f'<input name="{least}" type="number" {bounds} inputmode="decimal"></label> – '
        f'<label><span class="ds-hidden">{both("traces.most")}</span>'
        f'<input name="{most}" type="number" {bounds} inputmode="decimal"></label>{unit}</span>'
    )


def note(found: FoundImages, not_searched: Sequence[str], words: Texts) -> str:
    """What an answer may lack."""
    notes = []
    if not_searched:
        names = ", ".join(words[f"traces.{name}"] for name in not_searched)
        notes.append(words["traces.not_searched"].format(names=names))
    elif not found.complete:
        notes.append(words["traces.incomplete"])
    return "".join(f'<p class="ds-muted" role="note">{escape(each)}</p>' for each in notes)


def further(cursor: str | None, words: Texts) -> str:
    """What leads to the next ones."""
    if cursor is None:
        return ""
    return (
        f'<p class="ds-part"><button type="button" data-cursor="{escape(cursor)}">'
        f"{escape(words['traces.more'])}</button></p>"
    )


def by_buckets(least_ms: float | None, most_ms: float | None) -> bool:
    """Whether what lies between these two is known from whole buckets."""
    return {least_ms, most_ms} <= {None, 0.0, *BOUNDS_MS}


def histogram(
    tally: Tally,
    least_ms: float | None,
    most_ms: float | None,
    words: Texts,
    part: Tally | None = None,
) -> str:
    """How many there are, and a bar for each bucket between the first and the last that has some;
    those between `least_ms` and `most_ms` are marked. `part` is what there is between the two where
    that is not `by_buckets`."""
    edges = (0.0, *BOUNDS_MS, float("inf"))
    chosen = [
        (least_ms or 0.0) <= edges[i] and edges[i + 1] <= (most_ms or float("inf"))
        for i in range(len(tally.counts))
    ]
    is_part = least_ms is not None or most_ms is not None
    total = sum(count for count, is_in in zip(tally.counts, chosen, strict=True) if is_in)
    if part is not None:
        total = part.total
    key = "traces.total" if tally.exact else "traces.total.least"
    key += ".one" if tally.total == 1 else ""
    head = words[key].format(count=f"{tally.total:,}")
    if is_part:
        head += " " + words["traces.total.part"].format(count=f"{total:,}")
    having = [i for i, count in enumerate(tally.counts) if count]
    if not having:
        return f'<p class="ds-total">{escape(head)}</p>'
    most = max(tally.counts)
    bars = ""
    for i in range(having[0], having[-1] + 1):
        text = words["traces.bucket"].format(
            least=milliseconds(edges[i]),
            most="∞" if i == len(BOUNDS_MS) else milliseconds(edges[i + 1]),
            count=f"{tally.counts[i]:,}",
        )
        to_ms = "" if i == len(BOUNDS_MS) else f"{edges[i + 1]:g}"
        bars += (
            f'<button type="button" data-from="{edges[i]:g}" data-to="{to_ms}" '
            f'aria-pressed="{str(is_part and chosen[i]).lower()}" title="{escape(text)}" '
            f'aria-label="{escape(text)}"><i style="height:{100 * tally.counts[i] / most:.1f}%">'
            "</i></button>"
        )
    first, last = milliseconds(edges[having[0]]), edges[having[-1] + 1]
    axis = f"<span>{first}</span><span>{'∞' if last == float('inf') else milliseconds(last)}</span>"
    return (
        f'<p class="ds-total">{escape(head)}</p><div class="ds-histogram" role="group" '
        f'aria-label="{escape(words["traces.histogram"])}">{bars}</div>'
        f'<div class="ds-histogram-axis" aria-hidden="true">{axis}</div>'
        f'<p class="ds-compare-button"><button type="button" data-compare>'
        f"{escape(words['compare.ask.part' if is_part else 'compare.ask'])}</button></p>"
    )
