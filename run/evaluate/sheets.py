"""Pictures of what went most wrong: objects that were missed, and boxes where nothing is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline import draw
from run.evaluate.classes import Classes
from run.evaluate.dataset import Floats
from run.evaluate.detecting import SeenImage
from run.evaluate.matching import Matches

#: Cells of a sheet, how many of them are side by side, and their width and height in pixels.
CELLS, COLUMNS, CELL = 24, 6, 240
#: What a cell shows is so many times as long as the box, and this share of the image at least.
AROUND, LEAST = 3.0, 0.25
#: Objects are drawn in the one colour, boxes that were found in the other.
TRUTH, FOUND = "#16a34a", "#dc2626"


@dataclass(frozen=True, eq=False)
class Fault:
    """One box that is wrong, or one object that was missed."""

    seen: SeenImage
    box: Floats
    name: str
    #: Of a false box its score; of a missed object that of the box on it, 0 where there is none.
    score: float

    def plain(self) -> dict[str, object]:
        """For the report in JSON."""
        return {
            "image": self.seen.image.name, "class": self.name, "score": round(self.score, 4),
            "box": self.box.round(2).tolist(),
        }  # fmt: skip


def missed(
    seen: Sequence[SeenImage], matches: Matches, classes: Classes, threshold: float
) -> list[Fault]:
    """The objects that are not found at the threshold, largest first, one of each image."""
    which = np.flatnonzero(matches.found < threshold)
    order = which[np.argsort(-matches.share[which], kind="stable")]
    return _one_an_image(
        Fault(
            seen[matches.object_image[number]], matches.object_box[number],
            classes.names[matches.object_kind[number]], float(matches.found[number]),
        )
        for number in order
    )  # fmt: skip


def false(
    seen: Sequence[SeenImage], matches: Matches, classes: Classes, threshold: float
) -> list[Fault]:
    """The boxes that are no object, the surest first, one of each image."""
    which = np.flatnonzero((matches.score >= threshold) & matches.counts & ~matches.hit)
    order = which[np.argsort(-matches.score[which], kind="stable")]
    return _one_an_image(
        Fault(
            seen[matches.image[number]], matches.box[number],
            classes.names[matches.kind[number]], float(matches.score[number]),
        )
        for number in order
    )  # fmt: skip


def sheet(faults: Sequence[Fault], threshold: float) -> Image.Image:
    """The faults side by side, each with what is around it."""
    columns = min(COLUMNS, len(faults))
    rows = -(-len(faults) // columns)
    made = Image.new("RGB", (columns * CELL, rows * CELL), "#0f172a")
    for number, fault in enumerate(faults):
        at = number % columns * CELL, number // columns * CELL
        made.paste(_cell(fault, threshold), at)
    return made


def _one_an_image(faults: Iterable[Fault]) -> list[Fault]:
    chosen: dict[int, Fault] = {}
    for fault in faults:
        if len(chosen) == CELLS:
            break
        chosen.setdefault(id(fault.seen), fault)
    return list(chosen.values())


def _cell(fault: Fault, threshold: float) -> Image.Image:
    """What is around the box, with all objects and all boxes at the threshold."""
    seen = fault.seen
    with Image.open(seen.image.path) as image:
        whole = draw.as_seen(image)
    x1, y1, x2, y2 = fault.box.tolist()
    side = max(AROUND * max(x2 - x1, y2 - y1), LEAST * max(whole.size))
    side = min(side, float(max(whole.size)))
    left = _within((x1 + x2 - side) / 2, side, whole.width)
    top = _within((y1 + y2 - side) / 2, side, whole.height)
    scale = CELL / side
    part = whole.crop((round(left), round(top), round(left + side), round(top + side)))
    cell = part.resize((CELL, CELL), Image.Resampling.LANCZOS)
    canvas, font = ImageDraw.Draw(cell), ImageFont.load_default(size=13)
    shift = np.array([left, top] * 2)
    for box in seen.boxes:
        canvas.rectangle(((box - shift) * scale).tolist(), outline=TRUTH, width=2)
    for score, box in zip(seen.scores.tolist(), seen.found_boxes, strict=True):
        if score >= threshold:
            corners = ((box - shift) * scale).tolist()
            canvas.rectangle(corners, outline=FOUND, width=2)
            at = max(corners[0] + 3, 3), max(corners[1] + 1, 1)
            canvas.text(at, f"{score:.2f}", FOUND, font, stroke_width=2, stroke_fill="white")
    return cell


def _within(start: float, length: float, whole: float) -> float:
    """Where a part begins so that it lies in the whole, or around it where it is longer."""
    return (whole - length) / 2 if length > whole else min(max(start, 0.0), whole - length)
