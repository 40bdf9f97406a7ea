"""The figures of an evaluation, from what was matched; shares come with counts and intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from run.evaluate.classes import Classes
from run.evaluate.detecting import SCORE_MIN, SeenImage
from run.evaluate.matching import Judge, Matches, Precision

#: COCO's areas in square pixels, and shares of the frame that an object's longer side takes.
AREAS = (("small", 0.0, 32.0**2), ("medium", 32.0**2, 96.0**2), ("large", 96.0**2, math.inf))
SHARES = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, math.inf)
#: The thresholds that the table and the plots are for.
THRESHOLDS = tuple(step / 100 for step in range(5, 100, 5))
#: Scores are given to so much: a threshold beyond one leaves that one out.
SCORE_STEP = 1e-4
#: Of a normal distribution, for intervals of 95 %.
Z = 1.959964


@dataclass(frozen=True)
class Proportion:
    """Hits among so many, with the 95 % interval by Wilson, which holds for few, too."""

    hits: int
    count: int
    share: float | None
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, count: int) -> Proportion:
        if not count:
            return cls(0, 0, None, 0.0, 1.0)
        share, spread = hits / count, Z * Z / count
        middle = share + spread / 2
        half = Z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
        low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
        return cls(hits, count, share, max(0.0, low), min(1.0, high))


@dataclass(frozen=True)
class AtThreshold:
    """What a threshold gives: right boxes among all boxes, objects found among all, false boxes."""

    threshold: float
    precision: Proportion
    recall: Proportion
    f1: float | None
    false_boxes: int
    #: Images that show nothing of what is looked for, and those of them with a false box.
    alarms: Proportion
    #: False boxes an image, on those; None where there are none.
    false_boxes_per_empty_image: float | None
    false_boxes_per_image: float


@dataclass(frozen=True)
class ClassFigures:
    """One class; None where it has no object."""

    name: str
    images: int
    ap50: float | None
    ap: float | None
    at: AtThreshold


@dataclass(frozen=True)
class SizeFigures:
    """Objects of one size: how many were found, and COCO's AP where it has one for the size."""

    name: str
    recall: Proportion
    ap: float | None = None


@dataclass(frozen=True)
class WantedRate:
    """The lowest threshold with at most so many false boxes an image; None where none is enough."""

    rate: float
    #: What false boxes are counted on: images "without objects", or "all" where there is none.
    on: str
    images: int
    at: AtThreshold | None


@dataclass(frozen=True)
class EvalFigures:
    """All that an evaluation tells. What has no value because there is nothing is None."""

    images: int
    empty_images: int
    objects: int
    ap50: float | None
    ap50_interval: tuple[float, float] | None
    ap75: float | None
    ap: float | None
    match_iou: float
    at: AtThreshold
    best: AtThreshold | None
    wanted: WantedRate
    classes: list[ClassFigures]
    areas: list[SizeFigures]
    shares: list[SizeFigures]
    thresholds: list[AtThreshold]
    #: Precision at recalls of 0, 0.01 ... 1, at an overlap of 0.5, the mean over classes.
    curve: list[float]


def figures(
    seen: Sequence[SeenImage], classes: Classes, judge: Judge, matches: Matches, *,
    threshold: float, match_iou: float, false_alarms: float,
) -> EvalFigures:  # fmt: skip
    """The figures at `threshold`, and the threshold for `false_alarms` boxes an image."""
    precision = judge.precision()
    empty = np.array([not len(one.boxes) for one in seen], bool)
    tally = BoxCounts(matches, empty)
    return EvalFigures(
        images=len(seen),
        empty_images=int(empty.sum()),
        objects=len(matches.found),
        ap50=_mean(precision.ap[0, :, 0]),
        ap50_interval=judge.interval() if len(matches.found) else None,
        ap75=_mean(precision.ap[5, :, 0]),
        ap=_mean(precision.ap[:, :, 0]),
        match_iou=match_iou,
        at=tally.at(threshold),
        best=tally.best(),
        wanted=_wanted(tally, empty, false_alarms),
        classes=[
            _of_class(number, name, precision, matches, empty, threshold)
            for number, name in enumerate(classes.names)
        ],
        areas=[
            SizeFigures(
                _area_name(name, low, high),
                _recall(matches, (matches.area >= low) & (matches.area < high), threshold),
                _mean(precision.ap[:, :, number]),
            )
            for number, (name, low, high) in enumerate(AREAS, 1)
        ],
        shares=[
            SizeFigures(
                _share_name(low, high),
                _recall(matches, (matches.share >= low) & (matches.share < high), threshold),
            )
            for low, high in pairwise(SHARES)
        ],
        thresholds=[tally.at(each) for each in THRESHOLDS],
        curve=_curve(precision),
    )


class BoxCounts:
    """Counts boxes and objects at any threshold."""

    def __init__(self, matches: Matches, empty: NDArray[np.bool_], kind: int | None = None) -> None:
        """`empty` says of each image whether it shows nothing; `kind` takes one class alone."""
        boxes, objects = matches.counts, np.ones(len(matches.found), bool)
        if kind is not None:
            boxes, objects = boxes & (matches.kind == kind), matches.object_kind == kind
            empty = ~np.isin(np.arange(len(empty)), matches.object_image[objects])
        self._empty = empty
        self.score, self.hit = matches.score[boxes], matches.hit[boxes]
        self._image, self._found = matches.image[boxes], matches.found[objects]

    def at(self, threshold: float) -> AtThreshold:
        """The counts at a score of at least `threshold`."""
        kept = self.score >= threshold
        hits, boxes = int((kept & self.hit).sum()), int(kept.sum())
        precision, recall = Proportion.of(hits, boxes), Proportion.of(hits, len(self._found))
        wrong = self._image[kept & ~self.hit]
        on_empty = wrong[self._empty[wrong]]
        empty = int(self._empty.sum())
        f1 = 2 * hits / (boxes + len(self._found)) if len(self._found) else None
        return AtThreshold(
            threshold, precision, recall, f1, len(wrong),
            alarms=Proportion.of(len(np.unique(on_empty)), empty),
            false_boxes_per_empty_image=len(on_empty) / empty if empty else None,
            false_boxes_per_image=len(wrong) / max(len(self._empty), 1),
        )  # fmt: skip

    def best(self) -> AtThreshold | None:
        """Where F1 is highest; None where there is no object or nothing is found."""
        if not self.hit.any():
            return None
        order = np.argsort(-self.score, kind="stable")
        scores, hits = self.score[order], np.cumsum(self.hit[order])
        f1 = 2 * hits / (np.arange(1, len(hits) + 1) + len(self._found))
        last = np.append(scores[1:] < scores[:-1], True)  # boxes of one score come together
        return self.at(float(scores[int(np.argmax(np.where(last, f1, -1.0)))]))

    def threshold_for(self, rate: float, on: NDArray[np.bool_]) -> float | None:
        """The lowest threshold with at most `rate` false boxes an image of those in `on`."""
        wrong = np.sort(self.score[~self.hit & on[self._image]])[::-1]
        allowed = int(rate * int(on.sum()) + 1e-9)
        if len(wrong) <= allowed:
            return SCORE_MIN
        threshold = round(float(wrong[allowed]) + SCORE_STEP, 4)
        return threshold if threshold <= 1 else None


def _wanted(tally: BoxCounts, empty: NDArray[np.bool_], rate: float) -> WantedRate:
    on = empty if empty.any() else np.ones(len(empty), bool)
    threshold = tally.threshold_for(rate, on)
    return WantedRate(
        rate, "without objects" if empty.any() else "all", int(on.sum()),
        None if threshold is None else tally.at(threshold),
    )  # fmt: skip


def _of_class(
    number: int, name: str, precision: Precision, matches: Matches, empty: NDArray[np.bool_],
    threshold: float,
) -> ClassFigures:  # fmt: skip
    return ClassFigures(
        name=name,
        images=len(np.unique(matches.object_image[matches.object_kind == number])),
        ap50=_mean(precision.ap[0, number, 0]),
        ap=_mean(precision.ap[:, number, 0]),
        at=BoxCounts(matches, empty, number).at(threshold),
    )


def _recall(matches: Matches, which: NDArray[np.bool_], threshold: float) -> Proportion:
    found = matches.found[which]
    return Proportion.of(int((found >= threshold).sum()), len(found))


def _mean(values: NDArray[np.float64] | np.float64) -> float | None:
    """The mean of what is there; None of nothing."""
    there = np.atleast_1d(values)[~np.isnan(np.atleast_1d(values))]
    return round(float(there.mean()), 6) if there.size else None


def _curve(precision: Precision) -> list[float]:
    there = ~np.isnan(precision.curves).any(axis=1)
    return precision.curves[there].mean(axis=0).round(4).tolist() if there.any() else []


def _area_name(name: str, low: float, high: float) -> str:
    if low == 0:
        return f"{name}: below {high:g} px²"
    return (
        f"{name}: {low:g} px² and more" if high == math.inf else f"{name}: {low:g} to {high:g} px²"
    )


def _share_name(low: float, high: float) -> str:
    if low == 0:
        return f"below {high:g}"
    return f"{low:g} and more" if high == math.inf else f"{low:g} to {high:g}"
