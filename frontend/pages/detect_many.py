"""Several images at once: each runs by itself, with a trace of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from html import escape
from typing import Any

import gradio as gr

from frontend.pages.controls import Controls, Label, controls
from frontend.pages.detect_one import Outcome, Runner
from frontend.pages.error_text import sentence
from frontend.pages.i18n import Texts, both, texts
from frontend.pages.result import empty, photo
from frontend.pages.result_files import Results
from frontend.pages.timings import milliseconds
from frontend.pages.trace_links import Links
from pipeline.draw import colour
from pipeline.job import DetectOptions

#: Images of one batch under way at once. They wait in the service's queue, not here.
CONCURRENCY = 16
#: Seconds between two looks at a batch's progress.
PROGRESS_S = 0.25


def tab(runner: Runner, results: Results, links: Links, label: Label) -> Controls:
    """Lay the tab out in the Blocks that is being built."""
    with gr.Row(elem_classes="ds-columns"):
        with gr.Column(scale=5, min_width=320):
            files = gr.File(
                file_count="multiple",
                file_types=["image"],
                type="filepath",
                label=label("images"),
                height=320,
                elem_id="photos",
            )
            chosen = controls(label)
        with gr.Column(scale=8, min_width=320):
            view = gr.HTML(
                empty(both("empty.several"), both("empty.several.hint")),
                elem_id="results",
                apply_default_css=False,
            )

    run = _handler(runner, results, links)
    shared: dict[str, Any] = {
        "inputs": [files, chosen.score, chosen.iou],
        "outputs": view,
        "show_progress": "hidden",
        "concurrency_limit": None,
        "api_visibility": "private",
    }
    gr.on([files.upload, chosen.score.release, chosen.iou.release], run, **shared,
          trigger_mode="always_last")  # fmt: skip
    chosen.button.click(run, **shared, trigger_mode="once")
    return chosen


def _handler(runner: Runner, results: Results, links: Links) -> Callable[..., AsyncIterator[str]]:
    async def run(
        paths: list[str] | None, score: float, iou: float, request: gr.Request
    ) -> AsyncIterator[str]:
        words = texts(request.headers.get("accept-language"))
        client = request.client.host if request.client else ""
        options = DetectOptions(score_threshold=score, iou_threshold=iou)
        if not paths:
            yield empty(both("first"), both("empty.several.hint"))
            return
        async for html in _run(runner, results, links, paths, options, client, words):
            yield html

    return run


async def _run(
    runner: Runner,
    results: Results,
    links: Links,
    paths: Sequence[str],
    options: DetectOptions,
    client: str,
    words: Texts,
) -> AsyncIterator[str]:
    """Run all images and yield how far they are, then the results in the order of `paths`."""
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one(path: str) -> Outcome:
        async with slots:
            outcome = await runner.run(path, options, client)
        results.add(outcome)
        return outcome

    tasks = [asyncio.create_task(one(path)) for path in paths]
    try:
        waiting = set(tasks)
        while waiting:
            done = [task.result() for task in tasks if task.done()]
            yield _view(done, len(tasks), words, links)
            _, waiting = await asyncio.wait(waiting, timeout=PROGRESS_S)
    finally:
        for task in tasks:
            task.cancel()
    outcomes = [task.result() for task in tasks]
    yield _view(outcomes, len(tasks), words, links, batch_id=results.add_batch(outcomes))


def _view(
    outcomes: Sequence[Outcome], count: int, words: Texts, links: Links, *, batch_id: str = ""
) -> str:
    done = len(outcomes)
    share = 100 * done / count
    cards = "".join(_card(outcome, words, links) for outcome in outcomes)
    foot = _table(outcomes, words) + _downloads(batch_id, words) if batch_id else ""
    title = (
        _summary(outcomes, words) if batch_id else words["progress"].format(done=done, count=count)
    )
    return (
        f'<div class="ds-result ds-several" data-done="{int(bool(batch_id))}">'
        f"<header><h2>{escape(title)}</h2></header>"
        f'<div class="ds-progress" role="progressbar" aria-valuenow="{done}" aria-valuemin="0" '
        f'aria-valuemax="{count}"><i style="width:{share:.1f}%"></i></div>'
        f'<div class="ds-cards">{cards}</div>{foot}</div>'
    )


def _summary(outcomes: Sequence[Outcome], words: Texts) -> str:
    found = sum(len(o.result.detections) for o in outcomes if o.result)
    failed = sum(o.result is None for o in outcomes)
    text = words["summary.one" if found == 1 else "summary"].format(
        found=found, images=len(outcomes)
    )
    return f"{text} · {words['summary.failed'].format(failed=failed)}" if failed else text


def _card(outcome: Outcome, words: Texts, links: Links) -> str:
    name = f'<b title="{escape(outcome.name)}">{escape(outcome.name)}</b>'
    trace = f'<a href="{escape(links.trace(outcome.trace_id))}">{escape(words["trace.short"])}</a>'
    if outcome.result is None:
        assert outcome.error is not None
        what = f'<p class="ds-failure" role="alert">{escape(sentence(outcome.error, words))}</p>'
        return f'<article class="ds-card">{what}<footer>{name}{trace}</footer></article>'
    result = outcome.result
    key = {0: "found.none", 1: "found.one"}.get(len(result.detections), "found")
    facts = words[key].format(count=len(result.detections))
    return (
        f'<article class="ds-card"><a href="pages/results/{result.job_id}/boxes.jpg" '
        f'target="_blank">{photo(result, preview=True)}</a><footer>{name}{trace}'
        f'<span class="ds-muted">{escape(facts)} · {milliseconds(result.timings_ms.total)}</span>'
        "</footer></article>"
    )


def _table(outcomes: Sequence[Outcome], words: Texts) -> str:
    rows = "".join(
        f"<tr><td>{escape(outcome.name)}</td>"
        f'<td><i style="background:{colour(found.label)}"></i>{escape(found.label)}</td>'
        f"<td>{found.score:.3f}</td>"
        + "".join(
            f"<td>{v:.0f}</td>" for v in (found.box.x1, found.box.y1, found.box.x2, found.box.y2)
        )
        + "</tr>"
        for outcome in outcomes
        if outcome.result
        for found in outcome.result.detections
    )
    titles = (words["file"], words["label"], words["score.short"], "x1", "y1", "x2", "y2")
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="ds-table">{table}</div>' if rows else ""


def _downloads(batch_id: str, words: Texts) -> str:
    base = f"pages/results/batch/{batch_id}"
    return (
        '<p class="ds-downloads">'
        f'<a download="damoscope.zip" href="{base}/images.zip">{escape(words["download.zip"])}</a>'
        f'<a download="damoscope.json" href="{base}/results.json">'
        f"{escape(words['download.json'])}</a></p>"
    )
