"""The result of one image as HTML: what the page's script draws the boxes, the table and the labels
into, with what it needs for that."""

from __future__ import annotations

import json
from html import escape
from pathlib import PurePath
from typing import Any

from frontend.pages.detect_one import Outcome
from frontend.pages.error_text import sentence
from frontend.pages.i18n import Texts
from frontend.pages.timings import bar_with_legend
from frontend.pages.trace_links import Links
from frontend.pages.uploads import KEEP_S, shown_name
from pipeline.draw import colour
from pipeline.errors import DamoscopeError
from pipeline.job import DetectionResult, DetectOptions, ImageInfo

#: Height of a shown image at most, as a part of the window's.
TALLEST_VH = 68
#: How many times as long as its model's input a picture is of which it is said that small objects
#: may be missed: of what has 96 pixels there, 16 are left.
MUCH_LARGER = 6
#: Texts that the script writes into a result, by the beginnings of their keys.
TEXTS = (
    "found",
    "detect.labels",
    "detect.outdated",
    "detect.cut",
    "detect.fewer",
    "detect.copied",
    "detect.copy",
)


def empty(title: str, hint: str) -> str:
    """What is there before there is a result; `title` and `hint` are HTML."""
    return f'<div class="ds-empty"><p>{title}</p><p class="ds-muted">{hint}</p></div>'


def alert(error: DamoscopeError, texts: Texts) -> str:
    """What went wrong, as one line."""
    return f'<p class="ds-error" role="alert"><span>{escape(sentence(error, texts))}</span></p>'


def error_line(outcome: Outcome, texts: Texts, links: Links, *, name: str = "") -> str:
    """What went wrong, as one line with the way to the trace."""
    assert outcome.error is not None
    subject = f"<b>{escape(name)}</b> " if name else ""
    return (
        f'<p class="ds-error" role="alert"><span>{subject}'
        f"{escape(sentence(outcome.error, texts))}</span>"
        f'<a href="{escape(links.trace(outcome.trace_id))}">{escape(texts["trace"])}</a></p>'
    )


def result_view(
    result: DetectionResult,
    options: DetectOptions,
    texts: Texts,
    links: Links,
    *,
    name: str = "",
    input_side: int | None = None,
    model: str | None = "",
) -> str:
    """Everything about one image that was run with these options, of a file of this name, by a
    model that takes images of so many pixels a side and was asked for by this name."""
    facts = f"{result.image.width} × {result.image.height} {result.image.format}"
    stages = result.timings_ms.model_dump(exclude={"total"})
    told = described(result, options, name, input_side, model)
    shown = escape(json.dumps(told, separators=(",", ":")))
    words = {key: text for key, text in texts.items() if key.startswith(TEXTS)}
    return (
        f'<div class="ds-result" data-trace="{escape(result.trace_id)}" data-shown="{shown}" '
        f'data-texts="{escape(json.dumps(words, ensure_ascii=False))}">'
        f'<header><h2 aria-live="polite">&nbsp;</h2><span class="ds-muted">{escape(facts)}</span>'
        f'<a class="ds-trace" href="{escape(links.trace(result.trace_id))}">'
        f"{escape(texts['trace'])}</a></header>"
        '<p class="ds-outdated" role="status" hidden></p>'
        f'<p class="ds-hint" hidden><span></span><button type="button" data-look hidden>'
        f"{escape(texts['tiles.look'])}</button></p>"
        f'<div class="ds-labels" role="group" aria-label="{escape(texts["detect.labels"])}" '
        f"hidden></div>{_picture(result, texts)}"
        f"{bar_with_legend(stages, result.timings_ms.total, texts)}"
        f"<section>{_table(texts)}{_downloads(result, name, texts)}</section></div>"
    )


def described(
    result: DetectionResult,
    options: DetectOptions,
    name: str = "",
    input_side: int | None = None,
    model: str | None = "",
) -> dict[str, Any]:
    """What the scripts need to draw a result with any threshold: JSON values.

    `model` is the one that was asked for, empty where none was, and None where that is not known.
    A box is the index of its label, its score, and its corners in pixels; the best come first.
    """
    found = [*result.detections, *(result.weaker or ())]
    labels = list(dict.fromkeys(each.label for each in found))
    index = {label: position for position, label in enumerate(labels)}
    lowest = options.score_threshold or 0.0
    if result.weaker is not None and options.weaker_from is not None:
        lowest = min(lowest, options.weaker_from)
    cut = len(found) >= options.max_detections
    return {
        "job": result.job_id,
        "trace": result.trace_id,
        "name": name and shown_name(name),
        # As it is called where it lies.
        "file": name,
        "width": result.image.width,
        "height": result.image.height,
        "labels": [[label, colour(label)] for label in labels],
        "boxes": [
            [index[each.label], each.score, each.box.x1, each.box.y1, each.box.x2, each.box.y2]
            for each in found
        ],
        "score": options.score_threshold,
        "iou": options.iou_threshold,
        # The score down to which nothing is missing.
        "lowest": found[-1].score if cut else lowest,
        "cut": cut,
        "model": model,
        # As was asked, or else as it was done.
        "tiles": options.tiles or result.tiles or "",
        "large": options.tiles is None
        and result.tiles is None
        and input_side is not None
        and max(result.image.width, result.image.height) >= MUCH_LARGER * input_side,
    }


def _picture(result: DetectionResult, texts: Texts) -> str:
    """The image, over which the script lays the boxes: sharp at every size, for they are not pixels
    of it."""
    info = result.image
    zooms = "".join(
        f'<button type="button" data-zoom="{value}" title="{escape(texts[key])}" '
        f'aria-label="{escape(texts[key])}">{sign}</button>'
        for value, sign, key in (
            ("in", "+", "detect.zoom.in"),
            ("out", "−", "detect.zoom.out"),
            ("whole", "⤢", "detect.zoom.whole"),
        )
    )
    return (
        f'<div class="ds-photo" style="{_place(info)}">'
        f'<div class="ds-view" tabindex="0" role="group" '
        f'aria-label="{escape(texts["detect.picture"])}"><div class="ds-layer">'
        f'<img src="pages/results/{result.job_id}/image" alt="{escape(texts["image.gone"])}" '
        f'decoding="async" draggable="false"><div class="ds-boxes" aria-hidden="true"></div>'
        f'</div></div><div class="ds-zoom">{zooms}</div></div>'
    )


def _place(info: ImageInfo) -> str:
    width = f"min(100%, {TALLEST_VH * info.width / info.height:.2f}vh)"
    return f"aspect-ratio:{info.width}/{info.height};width:{width}"


def _table(texts: Texts) -> str:
    titles = (texts["label"], texts["score.short"], "x1", "y1", "x2", "y2")
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    return (
        f'<div class="ds-table" tabindex="0" role="group" aria-label="{escape(texts["boxes"])}" '
        f"hidden><table><thead><tr>{head}</tr></thead>"
        '<tbody></tbody></table></div><p class="ds-muted ds-nothing" hidden></p>'
        '<p class="ds-muted ds-cut" hidden></p>'
    )


def _downloads(result: DetectionResult, name: str, texts: Texts) -> str:
    base = f"pages/results/{result.job_id}"
    stem = file_stem(name and shown_name(name)) or result.job_id
    return (
        '<p class="ds-downloads">'
        f'<a download="{escape(stem)}-boxes.jpg" data-file href="{base}/boxes.jpg">'
        f"{escape(texts['download.image'])}</a>"
        f'<a download="{escape(stem)}.json" data-file href="{base}/result.json">'
        f"{escape(texts['download.json'])}</a>"
        f'<button type="button" data-copy="link">{escape(texts["detect.copy.link"])}</button>'
        f'<button type="button" data-copy="curl">{escape(texts["detect.copy.curl"])}</button>'
        f'<span class="ds-muted">{escape(result.model)} · {escape(result.provider)}</span>'
        f"{kept(texts)}</p>"
    )


def file_stem(name: str) -> str:
    """A photograph's name without its ending, for the files that are made of it. What the browser
    may not save in a name, it replaces."""
    return PurePath(name).stem


def kept(texts: Texts) -> str:
    """For how long the picture can still be shown and downloaded."""
    words = texts["image.kept"].format(minutes=round(KEEP_S / 60))
    return f'<small class="ds-kept">{escape(words)}</small>'
