"""Boxes drawn on an image: what `damoscope detect --save` and the page's download give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from pipeline.job import Detection

#: Distinct hues that stay readable under white text; a label keeps its colour.
COLOURS = ("#e6194b", "#3a7d44", "#4363d8", "#b8560f", "#911eb4", "#007a87", "#c2187a", "#6b5b00")


def colour(label: str) -> str:
    """The colour of a label, the same everywhere and every time."""
    return COLOURS[sum(label.encode()) % len(COLOURS)]


def draw(image: Image.Image, detections: Sequence[Detection]) -> Image.Image:
    """A copy of `image`, turned as its EXIF orientation says, with boxes, labels and scores."""
    upright = as_seen(image)
    canvas = ImageDraw.Draw(upright)
    line = max(2, round(min(upright.size) / 250))
    font = ImageFont.load_default(size=max(12, round(min(upright.size) / 40)))
    for found in reversed(detections):  # the best on top
        box, hue = found.box, colour(found.label)
        canvas.rectangle((box.x1, box.y1, box.x2, box.y2), outline=hue, width=line)
        text = f"{found.label} {found.score:.2f}"
        left, top, right, bottom = canvas.textbbox((box.x1, box.y1), text, font=font)
        height = bottom - top + 2 * line
        above = box.y1 - height if box.y1 >= height else box.y1
        canvas.rectangle((box.x1, above, box.x1 + right - left + 2 * line, above + height), hue)
        canvas.text((box.x1 + line, above + line - (top - box.y1)), text, "white", font)
    return upright


def as_seen(image: Image.Image) -> Image.Image:
    """A copy in 8-bit RGB, turned as its EXIF orientation says."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):  # Pillow's own conversion makes all but black white
        upright = upright.point(lambda level: level * (1 / 256)).convert("L")
    return upright.convert("RGB")


def save(source: Path, detections: Sequence[Detection], target: Path) -> None:
    """Write the image of `source` with its boxes to `target`."""
    with Image.open(source) as image:
        draw(image, detections).save(target, quality=92)
