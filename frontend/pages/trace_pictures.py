"""The images of a trace as they were seen: pictures where they were kept, with their boxes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from frontend.pages.i18n import Texts
from monitoring.stores.contract import Span, TraceSummary
from pipeline.draw import colour
from telemetry import catalogue

#: Images of one trace that are shown at most, and the longer side of a picture in pixels.
MOST: Final = 12
SIDE: Final = 320
#: Boxes of an image that are drawn, and what is believed of a size: more says only who makes it up.
BOXES_MOST: Final = catalogue.BOXES_MAX
SIZE_MOST: Final = 10**6


@dataclass(frozen=True, slots=True)
class TracedBox:
    """One box in pixels of the image, its corners as in `pipeline.job.Box`."""

    label: str
    score: float
    corners: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class TracedImage:
    """What the spans of a trace say of one of its images."""

    trace_id: str
    job_id: str
    #: As a person sees it; 0 where no span says so.
    width: int = 0
    height: int = 0
    #: How many boxes were found, of which these are the best.
    found: int = 0
    boxes: tuple[TracedBox, ...] = ()


def of_spans(spans: Sequence[Span]) -> list[TracedImage]:
    """The images whose processing is among some spans, each once, by its last try."""
    known = {span.span_id: span for span in spans}
    uploads = {span.parent_span_id: span for span in spans if span.name == catalogue.SPAN_UPLOAD}
    chosen = {span.parent_span_id: span for span in spans if span.name == catalogue.SPAN_NMS}
    seen: dict[str, TracedImage] = {}
    for process in spans:
        job_id = process.attributes.get(catalogue.ATTR_MESSAGING_MESSAGE_ID)
        if process.name != catalogue.SPAN_PROCESS or not isinstance(job_id, str):
            continue
        enqueue = known.get(process.parent_span_id or "")
        upload = uploads.get(enqueue.parent_span_id) if enqueue is not None else None
        size = upload.attributes if upload is not None else {}
        nms = chosen.get(process.span_id)
        seen[job_id] = TracedImage(
            process.trace_id,
            job_id,
            _length(size.get(catalogue.ATTR_IMAGE_WIDTH)),
            _length(size.get(catalogue.ATTR_IMAGE_HEIGHT)),
            _length(process.attributes.get(catalogue.ATTR_DETECTIONS)),
            _boxes(nms.attributes) if nms is not None else (),
        )
    return list(seen.values())[:MOST]


def of_rows(images: Sequence[TraceSummary]) -> list[TracedImage]:
    """The same of rows whose spans are gone: neither size nor boxes."""
    return [
        TracedImage(image.trace_id, image.job_id, found=image.detections or 0)
        for image in images
        if image.job_id
    ][:MOST]


def view(
    images: Sequence[TracedImage],
    kept: Collection[str],
    alive: Collection[str],
    words: Texts,
    *,
    fresh: bool = False,
) -> str:
    """Pictures and boxes. `kept` are the jobs whose pictures are there, `alive` those whose results
    the visitor may fetch.

    A worker makes a picture after its answer: of a `fresh` trace one that is not there may come,
    and `data-awaited` has the page's script look again; later it is said that there is none.
    """
    shown = "".join(
        _figure(image, image.job_id in kept, image.job_id in alive, words, fresh)
        for image in images
        if image.job_id in kept or image.boxes or image.job_id in alive or not fresh
    )
    awaited = " data-awaited" if fresh and any(i.job_id not in kept for i in images) else ""
    return f'<section class="ds-seen-images"{awaited}>{shown}</section>' if shown or awaited else ""


def _figure(image: TracedImage, is_kept: bool, is_alive: bool, words: Texts, fresh: bool) -> str:
    return (
        f'<figure class="ds-seen">{_photo(image, is_kept, words, fresh)}'
        f"<figcaption>{_listing(image, words)}{_result(image, is_alive, words)}</figcaption>"
        "</figure>"
    )


def _photo(image: TracedImage, is_kept: bool, words: Texts, fresh: bool) -> str:
    address = f"api/v1/traces/{escape(image.trace_id)}/images/{escape(image.job_id)}"
    alt = escape(words["trace.picture"].format(count=image.found))
    picture = f'<img src="{address}" alt="{alt}" decoding="async">' if is_kept else ""
    none = f'<span class="ds-muted">{escape(words["trace.picture.none"])}</span>'
    if not (image.width and image.height):  # without its size no box has a place
        return (
            f'<a class="ds-plain" href="{address}" target="_blank">{picture}</a>'
            if picture
            else none * (not fresh)
        )
    boxes = "".join(_box(box, index, image) for index, box in enumerate(image.boxes))
    if not picture and not boxes:
        return none * (not fresh)
    picture = picture or none
    width = min(SIDE, SIDE * image.width / image.height)
    style = f"aspect-ratio:{image.width}/{image.height};width:min(100%,{max(width, 1):.0f}px)"
    open_, close = (
        (f'<a href="{address}" target="_blank" ', "</a>") if is_kept else ("<div ", "</div>")
    )
    return f'{open_}class="ds-photo" style="{style}">{picture}{boxes}{close}'


def _box(box: TracedBox, index: int, image: TracedImage) -> str:
    x1, y1, x2, y2 = box.corners
    left, top = 100 * x1 / image.width, 100 * y1 / image.height
    width, height = 100 * (x2 - x1) / image.width, 100 * (y2 - y1) / image.height
    sides = ("" if top > 12 else " inside") + (" right" if left > 55 else "")
    text = escape(f"{box.label} {box.score:.2f}")
    return (
        f'<span class="ds-box{sides}" data-box="{index}" title="{text}" '
        f'style="left:{left:.3f}%;top:{top:.3f}%;width:{width:.3f}%;height:{height:.3f}%;'
        f'--hue:{colour(box.label)};z-index:{BOXES_MOST - index}"><em>{text}</em></span>'
    )


def _listing(image: TracedImage, words: Texts) -> str:
    key = {0: "found.none", 1: "found.one"}.get(image.found, "found")
    title = escape(words[key].format(count=image.found))
    items = "".join(
        f'<li data-box="{index}" tabindex="0"><i style="background:{colour(box.label)}"></i>'
        f"{escape(box.label)} <b>{box.score:.2f}</b></li>"
        for index, box in enumerate(image.boxes)
    )
    further = image.found - len(image.boxes)
    more = (
        f'<p class="ds-muted">{escape(words["trace.boxes.more"].format(count=further))}</p>'
        if image.boxes and further > 0
        else ""
    )
    return f"<h3>{title}</h3>{f'<ul>{items}</ul>' if items else ''}{more}"


def _result(image: TracedImage, is_alive: bool, words: Texts) -> str:
    if not is_alive:
        return ""
    job_id = escape(image.job_id)
    return (
        f'<p class="ds-links"><a href="./?result={job_id}">{escape(words["trace.result"])}</a>'
        f'<a href="api/v1/jobs/{job_id}" target="_blank">'
        f"{escape(words['trace.result.json'])}</a></p>"
    )


# -- what a store holds may be from anybody ---------------------------------------------------


def _length(value: Any) -> int:
    return value if type(value) is int and 0 < value <= SIZE_MOST else 0


def _boxes(attributes: Mapping[str, Any]) -> tuple[TracedBox, ...]:
    labels, scores, corners = (
        found if isinstance(found := attributes.get(name), (list, tuple)) else ()
        for name in (
            catalogue.ATTR_BOX_LABELS,
            catalogue.ATTR_BOX_SCORES,
            catalogue.ATTR_BOX_CORNERS,
        )
    )
    fours = [corners[at : at + 4] for at in range(0, 4 * BOXES_MOST, 4)]
    return tuple(
        TracedBox(label, float(score), (four[0], four[1], four[2], four[3]))
        for label, score, four in zip(labels, scores, fours, strict=False)
        if isinstance(label, str)
        and _is_number(score)
        and len(four) == 4
        and all(_is_number(each) for each in four)
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= SIZE_MOST
