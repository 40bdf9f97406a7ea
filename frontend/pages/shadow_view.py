"""On the Model page, how a model has done that looks at what another has answered."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from frontend.pages.html_table import table
from frontend.pages.i18n import Texts
from pipeline.queue.shadow import Difference, ShadowReport


def shadow_section(report: ShadowReport, words: Texts) -> tuple[str, str]:
    """Title and body: what came of the images, and the latest with other boxes."""
    names = [report.name, report.answered_by]
    if names[0] == names[1]:  # of two files of one name
        names = [f"{names[0]} {report.version}", f"{names[1]} {report.answered_by_version}"]
    title = words["model.shadow"].format(name=names[0], answers=names[1])
    only = [words["model.shadow.only_answer"].format(name=name) for name in names]
    head = [
        words["model.shadow.images"], words["model.shadow.agreed"], words["model.shadow.both"],
        only[1], only[0], words["model.shadow.score"], words["model.shadow.failed"],
        words["model.shadow.dropped"],
    ]  # fmt: skip
    compared = report.images - report.failed
    share = f" ({report.agreed / compared:.1%})" if compared else ""
    score = "–" if report.score_difference is None else f"{report.score_difference:.3f}"
    row = [
        f"{report.images:,}", f"<b>{report.agreed:,}{share}</b>", f"{report.both:,}",
        f"{report.only_answer:,}", f"{report.only_shadow:,}", score, f"{report.failed:,}",
        f"{report.dropped:,}",
    ]  # fmt: skip
    hint = escape(words["model.shadow.hint"]).format(since=_time(report.since))
    body = f"{table(head, [row])}<p>{hint}</p>"
    if report.recent:
        columns = ("when", "trace", "both")
        head = [*(words[f"model.shadow.{key}"] for key in columns), only[1], only[0]]
        rows = [_difference(each, words) for each in report.recent]
        body += f"<h3>{escape(words['model.shadow.recent'])}</h3>{table(head, rows)}"
    return title, body


def _difference(each: Difference, words: Texts) -> list[str]:
    trace = escape(words["model.shadow.no_trace"])
    if each.trace_id:
        trace = (
            f'<a class="ds-trace" href="traces?trace={each.trace_id}"><code>{each.trace_id[:8]}'
            "</code></a>"
        )
    when = _time(datetime.fromtimestamp(each.unix_s, UTC))
    return [when, trace, str(each.both), str(each.only_answer), str(each.only_shadow)]


def _time(moment: datetime) -> str:
    """Which the page's script writes as the browser has it."""
    return f'<time datetime="{moment.isoformat()}"></time>'
