"""On the Model page, what each version of a model has done: what a change of it is judged by."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from urllib.parse import urlencode

from frontend.pages.html_table import table
from frontend.pages.i18n import Texts
from frontend.pages.timings import milliseconds, moment
from monitoring.figures.by_model import STAGES, VersionFigures
from monitoring.reports.format import NONE, share
from telemetry.outcomes import success_rate

#: Versions that are shown, those that came last: of more, nobody sees what changed.
SHOWN = 8


def versions(
    figures: Sequence[VersionFigures] | None, running: Collection[tuple[str, str]], words: Texts
) -> str:
    """The table, with a column for each version; None while the figures cannot be read. `running`
    are those that run, by name and version."""
    if not figures:
        key = "model.versions.unknown" if figures is None else "model.versions.none"
        return f"<p>{escape(words[key])}</p>"
    shown = figures[:SHOWN]
    columns = [_figures(each, words, (each.model, each.version) in running) for each in shown]
    rows = ((escape(title), *(column[title] for column in columns)) for title in columns[0])
    head = [words["model.name"], *(each.model for each in shown)]
    return f"{table(head, rows)}<p>{escape(words['model.versions.hint'])}</p>"


def _figures(each: VersionFigures, words: Texts, running: bool) -> dict[str, str]:
    """Of one version, by what each is called."""
    images = urlencode({"model": each.model, "model_version": each.version})
    version = f'<a href="traces?{escape(images)}"><code>{escape(each.version)}</code></a>'
    if running:
        version += f' <span class="ds-chip good">{escape(words["model.versions.runs"])}</span>'
    success, boxes, score = success_rate(each.outcomes), each.detections_per_image, each.mean_score
    facts = {
        "model.version": version,
        "model.versions.first": _at(each.first_at),
        "model.versions.last": _at(each.last_at),
        "model.versions.images": f"{each.images:,}",
        "model.versions.success": NONE if success is None else share(success),
        "model.versions.boxes": NONE if boxes is None else f"{boxes:.2f}",
        "model.versions.score": NONE if score is None else f"{score:.2f}",
    }
    took = {
        words["model.versions.stage"].format(stage=words[f"stage.{stage}"]): _took(each, stage)
        for stage in STAGES
    }
    return {words[key]: cell for key, cell in facts.items()} | took


def _took(each: VersionFigures, stage: str) -> str:
    found = each.stages_ms.get(stage)
    return f"{milliseconds(found.p50)} · {milliseconds(found.p95)}" if found else NONE


def _at(unix_s: float) -> str:
    return moment(round(unix_s * 1e9))
