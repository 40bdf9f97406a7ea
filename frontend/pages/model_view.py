"""The Model page as HTML, in one language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from frontend.api.models import ModelReport, SwitchReport, WorkerModel
from frontend.pages.error_text import sentence
from frontend.pages.html_table import table
from frontend.pages.i18n import Texts
from frontend.pages.shadow_view import shadow_section
from frontend.pages.timings import NBSP, milliseconds
from frontend.pages.versions_view import versions
from models.catalogue import ModelCard, SizeRecall
from models.listing import ModelRow
from monitoring.figures.stats import Latency
from pipeline.errors import Unavailable

#: Names of classes that are shown without being asked.
CLASSES_SHOWN = 12
#: Workers that are listed; the rest is counted.
WORKERS_SHOWN = 50

#: Of the table of all models.
COLUMNS = ("name", "version", "state", "classes", "input", "bytes", "licence", "workers")


def page(report: ModelReport, speed: Mapping[str, Latency], words: Texts, *, admin: bool) -> str:
    """All of it; `admin` has buttons to switch with."""
    switch = "" if report.switch is None else _switch(report.switch, words)
    switching = report.switch is not None and report.switch.state == "running"
    running = [row for row in report.models if row.workers]
    parts = [
        f'<div class="ds-model-top">{_runs(report, words, admin and not switching)}{switch}</div>',
        _served(report, words),
        *(_section(*shadow_section(each, words)) for each in report.shadows),
        *(_one(row, words) for row in running),
        _section(words["model.versions"], versions(report.figures, _running(report), words)),
        _speed(speed, words),
        _all(report.models, words, admin and not switching),
    ]
    return f'<div data-switching="{int(switching)}">{"".join(parts)}</div>'


def _running(report: ModelReport) -> set[tuple[str, str]]:
    return {(each.model, each.version) for each in report.workers}


def _section(title: str, body: str, more: str = "") -> str:
    return f'<section class="ds-part-of"{more}><h2>{escape(title)}</h2>{body}</section>'


def _runs(report: ModelReport, words: Texts, buttons: bool) -> str:
    if report.problem:
        reason = sentence(Unavailable(report.problem), words).rstrip(".。")
        text = words["model.unknown"].format(reason=reason)
        return _section(words["model.runs"], f'<p class="ds-error">{escape(text)}</p>')
    if not report.workers:
        return _section(
            words["model.runs"], f'<p class="ds-error">{escape(words["model.none"])}</p>'
        )
    shown = report.workers[:WORKERS_SHOWN]
    head = [words[f"model.{key}"] for key in ("worker", "name", "version", "provider", "state")]
    body = table(head, (_worker(each, words) for each in shown))
    if len(report.workers) > len(shown):
        body += f"<p>+ {len(report.workers) - len(shown)}</p>"
    if report.chosen is None:
        start = f"<p>{escape(words['model.configured'])}</p>"
    else:
        text = words["model.chosen"].format(name=report.chosen.name, version=report.chosen.version)
        reset = (
            f' <button type="button" data-use="">{escape(words["model.reset"])}</button>'
            if buttons
            else ""
        )
        start = f"<p>{escape(text)}{reset}</p>"
    return _section(words["model.runs"], body + start)


def _worker(each: WorkerModel, words: Texts) -> tuple[str, ...]:
    provider = escape(each.provider)
    if each.fallback:
        provider += f' <span class="ds-chip bad">{escape(words["model.fallback"])}</span>'
    state = words["model.busy" if each.busy else "model.idle"]
    name = escape(each.model)
    if each.serves:
        name += f' <span class="ds-chip aside">{escape(words["model.serves"])}</span>'
    return (escape(each.worker), name, _code(each.version), provider, escape(state))


def _served(report: ModelReport, words: Texts) -> str:
    """What images can ask for by its name."""
    if not report.served:
        return ""
    rows = (
        (
            f"<b>{escape(each.name)}</b>",
            f"<code>model={escape(each.name)}</code>",
            str(each.workers) if each.workers
            else f'<span class="ds-chip bad">{escape(words["model.served.none"])}</span>',
            str(each.waiting),
        )
        for each in report.served
    )  # fmt: skip
    head = [words[f"model.{key}"] for key in ("name", "served.by", "workers", "served.waiting")]
    body = f"{table(head, rows)}<p>{escape(words['model.served.hint'])}</p>"
    return _section(words["model.served"], body)


def _switch(switch: SwitchReport, words: Texts) -> str:
    name = f"{switch.name} {switch.version}" if switch.name else words["model.switch.settings"]
    rows = [
        (
            escape(each.worker),
            f'<span class="ds-chip {"bad" if each.problem else "good"}">'
            f"{escape(each.problem or words['model.switch.ok'])}</span>",
        )
        for each in switch.outcomes[:WORKERS_SHOWN]
    ]
    body = f'<p><time datetime="{switch.began_at.isoformat()}"></time></p>'
    if rows:
        body += table((words["model.worker"], words["model.state"]), rows)
    if switch.waiting:
        text = words["model.switch.waiting"].format(count=switch.waiting)
        body += f'<p class="ds-waiting"><i></i> {escape(text)}</p>'
    if switch.problem:
        body += f'<p class="ds-error">{escape(switch.problem)}</p>'
    title = words[f"model.switch.{switch.state}"].format(name=name)
    return _section(title, body, f' data-switch="{switch.state}" role="status"')


def _one(row: ModelRow, words: Texts) -> str:
    """A model that runs: what it is, and how good."""
    facts = [
        (words["model.classes"], _classes(row, words)),
        (words["model.input"], _size(row)),
        (words["model.thresholds"], _thresholds(row, words)),
        (words["model.bytes"], _bytes(row)),
        (words["model.licence"], escape(row.licence or "")),
        (words["model.source"], escape(_about(row, words))),
    ]
    said = "".join(f"<dt>{escape(key)}</dt><dd>{value}</dd>" for key, value in facts if value)
    count = row.workers or 0
    workers = words["model.workers.one" if count == 1 else "model.workers.many"]
    title = f"{row.name} {row.version or ''} · {workers.format(count=count)}"
    return _section(title, f"<dl>{said}</dl>{_how_good(row, words)}")


def _about(row: ModelRow, words: Texts) -> str:
    own = row.about_zh if words["lang"] == "zh" else None
    return own or row.about or ""


def _how_good(row: ModelRow, words: Texts) -> str:
    parts = []
    if row.card is not None:
        parts.append(_card(row.card, words))
    elif row.figures is not None:
        figures = row.figures
        text = words["model.card.coco"].format(
            parameters=figures.parameters_millions, gflops=figures.gflops, source=figures.source
        )
        parts.append(
            table((words["model.metric.ap"],), [(f"{figures.coco_map:.3f}",)])
            + f"<p>{escape(text)}</p>"
        )
    else:
        parts.append(f"<p>{escape(words['model.card.none'])}</p>")
    if checked := _checked(row.checked or {}, words):
        parts.append(f"<h3>{escape(words['model.import'])}</h3>{checked}")
    return f"<h3>{escape(words['model.card'])}</h3>{''.join(parts)}"


def _card(card: ModelCard, words: Texts) -> str:
    language = words["lang"]
    rows: list[tuple[str, ...]] = []
    for judged in card.judged:
        text = words["model.judged"].format(
            data=getattr(judged.data, language), images=judged.images, objects=judged.objects
        )
        rows.append((escape(text),))
        for figure in judged.figures:
            name = escape(words[f"model.metric.{figure.metric}"])
            interval = "" if figure.low is None else f"{figure.low:g}–{figure.high:g}"
            rows.append((name, f"<b>{figure.value:g}</b>", interval))
    head = (words["model.metric"], words["model.value"], words["model.interval"])
    sizes = table(
        (words["model.size"], words["model.size.found"]),
        ((escape(_share(each, words)), f"{each.found} / {each.objects}") for each in card.by_size),
    )
    limits = "".join(f"<li>{escape(getattr(each, language))}</li>" for each in card.limits)
    note = words["model.card.at"].format(threshold=card.score_threshold, source=card.source)
    return (
        f'<div class="ds-two">{table(head, rows)}{sizes}</div><p>{escape(note)}</p>'
        f"<h3>{escape(words['model.limits'])}</h3><ul>{limits}</ul>"
    )


def _share(size: SizeRecall, words: Texts) -> str:
    key = "above" if size.most is None else "between" if size.least else "below"
    return words[f"model.size.{key}"].format(least=size.least, most=size.most)


def _checked(checked: Mapping[str, Any], words: Texts) -> str:
    """What was looked at when it was installed, as far as it is as an import writes it."""
    parts = []
    for key, made in (("parity", _parity), ("precision", _precision)):
        said = checked.get(key)
        try:
            if isinstance(said, dict):
                parts.append(f"<p>{escape(made(said, words))}</p>")
        except (KeyError, TypeError, ValueError):
            continue  # somebody else's words
    return "".join(parts)


def _parity(said: Mapping[str, Any], words: Texts) -> str:
    return words["model.parity"].format(
        pictures=said["pictures"], scores=f"{said['scores']:.1e}", boxes=f"{said['boxes_px']:.1e}"
    )


def _precision(said: Mapping[str, Any], words: Texts) -> str:
    return words["model.precision"].format(
        to=said["to"], photographs=said["photographs"], boxes=said["boxes"],
        again=said["found_again"], new=said["new"], mean=f"{said['score_difference_mean']:.3f}",
        most=f"{said['score_difference_max']:.3f}", ms=f"{said['converted_ms']:.1f}",
        original=f"{said['original_ms']:.1f}",
    )  # fmt: skip


def _speed(speed: Mapping[str, Latency], words: Texts) -> str:
    if not speed:
        return _section(words["model.speed"], f"<p>{escape(words['model.speed.none'])}</p>")
    rows = (
        (
            f'<i class="stage-{escape(stage)}"></i>{escape(words.get(f"stage.{stage}", stage))}',
            milliseconds(each.p50), milliseconds(each.p95),
        )
        for stage, each in speed.items()
    )  # fmt: skip
    body = table((words["model.stage"], words["model.p50"], words["model.p95"]), rows)
    return _section(words["model.speed"], f"{body}<p>{escape(words['model.speed.hint'])}</p>")


def _all(rows: Sequence[ModelRow], words: Texts, buttons: bool) -> str:
    head = [words[f"model.{key}"] for key in COLUMNS]
    cells = (
        (
            escape(row.name), _code(row.version or ""), _state(row, words),
            str(row.classes or ""), _size(row), _bytes(row),
            escape(row.licence or ""), str(row.workers or ""), *([_use(row, words)] * buttons),
        )
        for row in rows
    )  # fmt: skip
    body = table([*head, *([""] * buttons)], cells)
    return _section(words["model.all"], f"{body}<p>{escape(words['model.all.hint'])}</p>")


def _state(row: ModelRow, words: Texts) -> str:
    text = escape(words[f"model.state.{row.state}"])
    if row.state != "damaged":
        return text
    return f'<span class="ds-chip bad" title="{escape(row.about or "")}">{text}</span>'


def _use(row: ModelRow, words: Texts) -> str:
    if row.state not in ("bundled", "installed"):
        return ""
    return (
        f'<button type="button" data-use="{escape(row.name)}">{escape(words["model.use"])}</button>'
    )


def _classes(row: ModelRow, words: Texts) -> str:
    names = row.labels or ()
    listed = escape(", ".join(names))
    if not names or len(names) <= CLASSES_SHOWN:
        return listed
    count = words["model.classes.many"].format(count=len(names))
    return f"<details><summary>{escape(count)}</summary>{listed}</details>"


def _bytes(row: ModelRow) -> str:
    return f"{row.bytes:,}{NBSP}B" if row.bytes else ""


def _size(row: ModelRow) -> str:
    return f"{row.input_size[0]} × {row.input_size[1]}" if row.input_size else ""


def _thresholds(row: ModelRow, words: Texts) -> str:
    if row.score_threshold is None or row.iou_threshold is None:
        return ""
    return escape(
        words["model.thresholds.are"].format(
            score=f"{row.score_threshold:g}", iou=f"{row.iou_threshold:g}"
        )
    )


def _code(version: str) -> str:
    return f"<code>{escape(version)}</code>" if version else ""
