"""The report as Markdown that also reads well as plain text, and its summary for a chat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from unicodedata import east_asian_width
from urllib.parse import quote

from monitoring.markdown import escaped
from monitoring.messages import Language
from monitoring.reports import format as written
from monitoring.reports.schema import Client, Image, Label, Report, Stage
from monitoring.reports.sentences import MODEL_COLUMNS, MODELS_FROM, Sentences

#: Rows of the long lists.
ROWS = 15
#: Figures and pieces of advice of the summary.
SUMMARY_FIGURES = {"qps_peak", "latency_p95", "detections", "utilisation", "cost_per_1000"}
SUMMARY_ADVICE = 5
#: Columns of the table of objectives, after their names.
OBJECTIVE = ("target", "reached", "bad", "left", "burn")


def render(report: Report, language: Language) -> str:
    """The whole report."""
    says = Sentences(report, language)
    blocks = [f"# {says.title()}", says.period(), says.lede(), says.observed()]
    if says.total:
        blocks += [*_figures(says), *_rating(says)]
    if says.total or report.advice:
        blocks += _advice(says)
    if says.total:
        blocks += [
            *_traffic(says),
            *_latency(says),
            *_failures(says),
            *_slowest(says),
            *_detections(says),
            *_models(says),
            *_clients(says),
        ]
    blocks += [*_workers(says), *_objectives(says), *_alerts(says), "---", *says.notes()]
    blocks.append(
        says.say("generated", at=says.moment(report.generated_at)) + f" ({report.timezone})"
    )
    return "\n\n".join(block for block in blocks if block) + "\n"


def summary(report: Report, language: Language, link: str | None = None) -> str:
    """The report in a few lines, as a notification carries it; `link` leads to the whole."""
    says = Sentences(report, language)
    blocks = [says.period(), says.lede()]
    if says.total:
        figures = (figure for figure in report.figures if figure.name in SUMMARY_FIGURES)
        blocks.append(
            "\n".join(
                "- "
                + says.labelled(says.words[f"figure.{figure.name}"], says.value(figure))
                + (says.aside(says.change(figure)) if says.change(figure) else "")
                for figure in figures
                if figure.value is not None
            )
        )
        grade = report.rating.grade
        blocks.append(
            says.labelled(says.words["rating"], f"**{grade}**") if grade else says.rating()
        )
    if report.advice:
        blocks.append(_list_of_advice(says, SUMMARY_ADVICE, with_figure=False))
    if link:
        blocks.append(link)
    return "\n\n".join(blocks)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table whose columns line up in plain text too; `right` are those of numbers."""
    lines = [list(head), *map(list, rows)]
    widths = [max(3, *(_width(line[i]) for line in lines)) for i in range(len(head))]

    def written_out(line: Sequence[str]) -> str:
        cells = (
            " " * (width - _width(cell)) + cell
            if i in right
            else cell + " " * (width - _width(cell))
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return f"| {' | '.join(cells)} |"

    rule = "|".join(
        "-" * (width + 1) + (":" if i in right else "-") for i, width in enumerate(widths)
    )
    return "\n".join([written_out(lines[0]), f"|{rule}|", *map(written_out, lines[1:])])


def _width(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _figures(says: Sentences) -> Iterator[str]:
    words = says.words
    yield f"## {words['figures']}"
    yield table(
        [words["figure"], words["value"], words["before"], words["change"]],
        [
            [
                words[f"figure.{each.name}"],
                says.value(each),
                says.before(each),
                says.change(each) or written.NONE,
            ]
            for each in says.report.figures
        ],
        right=(1, 2, 3),
    )
    yield says.compared()


def _rating(says: Sentences) -> Iterator[str]:
    words, rating = says.words, says.report.rating
    title = words["rating"]
    yield f"## {says.labelled(title, rating.grade) if rating.grade else title}"
    yield says.rating()
    yield table(
        [words["criterion"], words["value"], words["bounds"], words["grade"]],
        [
            [
                words[f"criterion.{each.name}"],
                written.value(each.value, each.unit),
                says.bounds(each),
                each.grade or written.NONE,
            ]
            for each in rating.criteria
        ],
        right=(1,),
    )


def _advice(says: Sentences) -> Iterator[str]:
    yield f"## {says.words['advice']}"
    if says.report.advice:
        yield _list_of_advice(says, len(says.report.advice), with_figure=True)
    else:
        yield says.words["advice.none"]


def _list_of_advice(says: Sentences, most: int, *, with_figure: bool) -> str:
    return "\n".join(
        "- "
        + says.labelled(
            f"**{says.words[f'severity.{each.severity}']}**", escaped(says.text_of(each))
        )
        + (says.aside(escaped(says.figure_of(each))) if with_figure else "")
        for each in says.report.advice[:most]
    )


def _traffic(says: Sentences) -> Iterator[str]:
    words, report = says.words, says.report
    yield f"## {words['traffic']}"
    yield says.peak()
    before = report.requests_before
    yield table(
        [words["outcome"], words["requests"], words["share"], words["before"]],
        [
            [
                escaped(says.outcome(outcome)),
                written.count(count),
                written.share(count / says.total),
                written.NONE if before is None else written.count(before.get(outcome, 0)),
            ]
            for outcome, count in report.requests.items()
        ],
        right=(1, 2, 3),
    )
    yield says.hours()


def _latency(says: Sentences) -> Iterator[str]:
    words, report = says.words, says.report
    if report.latency is None:
        return
    yield f"## {words['stages']}"

    def row(stage: Stage) -> list[str]:
        times = (stage.mean_ms, stage.p50_ms, stage.p95_ms, stage.p99_ms)
        return [
            escaped(says.stage(stage.stage)),
            written.share(stage.share),
            *map(written.milliseconds, times),
            written.value(stage.p95_before_ms, "ms"),
        ]

    yield table(
        [words["stage"], words["share"], words["mean"], "p50", "p95", "p99", words["p95.before"]],
        map(row, report.stages),
        right=range(1, 7),
    )


def _failures(says: Sentences) -> Iterator[str]:
    words, failures = says.words, says.report.failures
    yield f"## {words['failures']}"
    yield says.failures()
    if not failures.causes:
        return
    yield table(
        [words["count"], words["outcome"], words["cause"], words["last"], words["trace"]],
        [
            [
                written.count(each.count),
                escaped(says.outcome(each.outcome)),
                escaped(says.cause(each.error_type, each.message)),
                says.moment(each.last_at),
                _link(says, each.trace_ids[0]),
            ]
            for each in failures.causes
        ],
        right=(0,),
    )
    yield f"### {words['failed']}"

    def row(image: Image) -> list[str]:
        return [
            says.moment(image.at, seconds=True),
            written.milliseconds(image.duration_ms),
            escaped(says.cause(image.error_type, image.error_message)),
            _link(says, image.trace_id),
        ]

    yield table(
        [words["time"], words["duration"], words["cause"], words["trace"]],
        map(row, failures.images),
        right=(1,),
    )


def _slowest(says: Sentences) -> Iterator[str]:
    words = says.words
    if not says.report.slowest:
        return
    yield f"## {words['slowest']}"
    yield table(
        [words["time"], words["duration"], words["longest"], words["trace"]],
        [
            [
                says.moment(each.at, seconds=True),
                written.milliseconds(each.duration_ms),
                f"{escaped(says.stage(each.longest_stage))} {written.value(each.longest_ms, 'ms')}",
                _link(says, each.trace_id),
            ]
            for each in says.report.slowest
        ],
        right=(1,),
    )


def _detections(says: Sentences) -> Iterator[str]:
    words, labels = says.words, says.report.detections
    yield f"## {words['detections']}"
    if not labels:
        yield words["detections.none"]
        return

    def row(label: Label) -> list[str]:
        return [
            escaped(label.label),
            written.count(label.count),
            written.share(label.share),
            written.NONE if label.mean_score is None else f"{label.mean_score:.2f}",
            written.value(label.before, "count"),
        ]

    yield table(
        [words["label"], words["count"], words["share"], words["score"], words["before"]],
        map(row, labels[:ROWS]),
        right=(1, 2, 3, 4),
    )
    yield _more(says, len(labels))


def _models(says: Sentences) -> Iterator[str]:
    words, models = says.words, says.report.models
    if len(models) < MODELS_FROM:
        return
    yield f"## {words['models']}"
    yield says.say("models.text", count=str(len(models)))
    yield table(
        [words["model"], *(words[f"model.{name}"] for name in MODEL_COLUMNS), words["score"]],
        [[escaped(each.model), *map(escaped, says.model(each))] for each in models[:ROWS]],
        right=range(3, 9),
    )
    yield _more(says, len(models))


def _clients(says: Sentences) -> Iterator[str]:
    words, clients = says.words, says.report.clients
    yield f"## {words['clients']}"
    yield says.clients()
    if not clients:
        return

    def row(client: Client) -> list[str]:
        return [
            escaped(says.client(client.client)),
            written.count(client.requests),
            written.share(client.share),
            written.value(client.before, "count"),
        ]

    yield table(
        [words["client"], words["requests"], words["share"], words["before"]],
        map(row, clients[:ROWS]),
        right=(1, 2, 3),
    )
    yield _more(says, len(clients))


def _workers(says: Sentences) -> Iterator[str]:
    yield f"## {says.words['workers']}"
    yield from says.workers()
    yield escaped(says.cost())


def _objectives(says: Sentences) -> Iterator[str]:
    words, found = says.words, says.report.objectives
    if not any(each.requests for each in found):
        return
    yield f"## {words['objectives']}"
    yield table(
        [words["objective"], *(words[f"objective.{name}"] for name in OBJECTIVE)],
        [[escaped(each.name), *says.objective(each)] for each in found],
        right=range(2, 6),
    )
    yield says.objectives()


def _alerts(says: Sentences) -> Iterator[str]:
    words, alerts = says.words, says.report.alerts
    yield f"## {words['alerts']}"
    yield says.alerts()
    if not alerts.fired:
        return
    yield table(
        [*(words[name] for name in ("alert", "severity", "times", "for", "last", "notification"))],
        [
            [
                escaped(each.name),
                words[f"severity.{each.severity}"],
                str(each.times),
                says.duration(each.seconds),
                words["alerts.firing"] if each.firing else says.moment(each.last_at),
                escaped(says.notified(each)),
            ]
            for each in alerts.fired
        ],
        right=(2, 3),
    )


def _more(says: Sentences, count: int) -> str:
    return says.say("others", count=str(count - ROWS)) if count > ROWS else ""


def _link(says: Sentences, trace_id: str) -> str:
    address = says.trace(quote(trace_id, safe="")).replace("<", "%3C").replace(">", "%3E")
    return f"[{escaped(trace_id[:8])}](<{address}>)"
