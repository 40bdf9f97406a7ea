"""The result of one image as HTML: the image with its boxes, what was found, where time went."""

from __future__ import annotations

from html import escape

from frontend.pages.detect_one import Outcome
from frontend.pages.error_text import sentence
from frontend.pages.i18n import Texts
from frontend.pages.timings import bar_with_legend
from frontend.pages.trace_links import Links
from frontend.pages.uploads import KEEP_S
from pipeline.draw import colour
from pipeline.errors import DamoscopeError
from pipeline.job import Detection, DetectionResult, ImageInfo

#: Height of a shown image at most, as a part of the window's.
TALLEST_VH = 68


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


def result_view(result: DetectionResult, score_threshold: float, texts: Texts, links: Links) -> str:
    """Everything about one image that was run."""
    count = len(result.detections)
    key = {0: "found.none", 1: "found.one"}.get(count, "found")
    title = escape(texts[key].format(count=count))
    facts = f"{result.image.width} × {result.image.height} {result.image.format}"
    stages = result.timings_ms.model_dump(exclude={"total"})
    listing = table(result, texts) if count else _nothing(score_threshold, texts)
    return (
        f'<div class="ds-result" data-trace="{escape(result.trace_id)}">'
        f'<header><h2>{title}</h2><span class="ds-muted">{escape(facts)}</span>'
        f'<a class="ds-trace" href="{escape(links.trace(result.trace_id))}">'
        f"{escape(texts['trace'])}</a></header>"
        f"{photo(result, texts)}"
        f"{bar_with_legend(stages, result.timings_ms.total, texts)}"
        f"<section>{listing}{_downloads(result, texts)}</section></div>"
    )


def photo(result: DetectionResult, texts: Texts, *, preview: bool = False) -> str:
    """The image with its boxes over it: sharp at every size, for they are not pixels of it."""
    info = result.image
    boxes = "".join(_box(found, i, info, preview) for i, found in enumerate(result.detections))
    address = f"pages/results/{result.job_id}/{'preview' if preview else 'image'}"
    width = f"min(100%, {TALLEST_VH * info.width / info.height:.2f}vh)"
    style = f"aspect-ratio:{info.width}/{info.height};width:{'100%' if preview else width}"
    return (
        f'<div class="ds-photo" style="{style}">'
        f'<img src="{address}" alt="{escape(texts["image.gone"])}" decoding="async">{boxes}</div>'
    )


def _box(found: Detection, index: int, info: ImageInfo, preview: bool) -> str:
    box = found.box
    left, top = 100 * box.x1 / info.width, 100 * box.y1 / info.height
    width, height = 100 * (box.x2 - box.x1) / info.width, 100 * (box.y2 - box.y1) / info.height
    place = f"left:{left:.3f}%;top:{top:.3f}%;width:{width:.3f}%;height:{height:.3f}%"
    # A label that has no room above its box stands inside; near the right edge it grows leftwards.
    sides = ("" if top > 6 else " inside") + (" right" if left > 70 else "")
    text = "" if preview else f"<em>{escape(found.label)} {found.score:.2f}</em>"
    return (
        f'<div class="ds-box{sides}" data-box="{index}" '
        f'style="{place};--hue:{colour(found.label)};z-index:{500 - index}">{text}</div>'
    )


def table(result: DetectionResult, texts: Texts) -> str:
    """What was found, best first."""
    rows = "".join(
        f'<tr data-box="{index}"><td><i style="background:{colour(found.label)}"></i>'
        f"{escape(found.label)}</td><td>{found.score:.3f}</td>{_corners(found)}</tr>"
        for index, found in enumerate(result.detections)
    )
    titles = (texts["label"], texts["score.short"], "x1", "y1", "x2", "y2")
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    return (
        f'<div class="ds-table"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _corners(found: Detection) -> str:
    box = found.box
    return "".join(f"<td>{value:.0f}</td>" for value in (box.x1, box.y1, box.x2, box.y2))


def _nothing(score_threshold: float, texts: Texts) -> str:
    hint = texts["found.none.hint"].format(score=f"{score_threshold:.2f}")
    return f'<p class="ds-muted">{escape(hint)}</p>'


def _downloads(result: DetectionResult, texts: Texts) -> str:
    base = f"pages/results/{result.job_id}"
    return (
        '<p class="ds-downloads">'
        f'<a download="{result.job_id}.jpg" href="{base}/boxes.jpg">'
        f"{escape(texts['download.image'])}</a>"
        f'<a download="{result.job_id}.json" href="{base}/result.json">'
        f"{escape(texts['download.json'])}</a>"
        f'<span class="ds-muted">{escape(result.model)} · {escape(result.provider)}</span>'
        f"{kept(texts)}</p>"
    )


def kept(texts: Texts) -> str:
    """For how long the picture can still be shown and downloaded."""
    words = texts["image.kept"].format(minutes=round(KEEP_S / 60))
    return f'<small class="ds-kept">{escape(words)}</small>'
