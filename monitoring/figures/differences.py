"""What is different about some of the images: what `GET /api/v1/traces/compare` answers.

One figure tells how different the two sides are in anything, from -1 to 1: of one selected image
and one other, how much more often the selected one has the more of it, or has it at all. For a
value that is the difference of its shares, for a number Cliff's delta.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from pydantic import BaseModel

from monitoring.stores.comparing import ITEMS_MAX, ComparedSide, ComparedSides
from monitoring.stores.contract import TraceSummary
from monitoring.stores.finding import VALUE_MAX
from telemetry import catalogue

#: Images of a side from which on anything is said of it.
LEAST: Final = 20
#: Standard errors from which on a difference is sure, and how likely chance is to show one: of 150
#: that are looked at, in one of a hundred comparisons.
SURE: Final = 4.0
_CHANCE: Final = math.erfc(SURE / math.sqrt(2))
#: Images of both sides that must have a value, and that must not, for anything to be sure of it.
_FEW: Final = 5
#: What is listed of each kind, and values of one attribute.
LISTED_MAX: Final = 40
VALUES_MAX: Final = 5
#: The time of a request that is in none of its stages.
ELSEWHERE: Final = "elsewhere"

#: Attributes as traces name them, by the names of a search.
_ATTRIBUTES: Final = {
    "outcome": catalogue.ATTR_OUTCOME,
    "code": catalogue.ATTR_PROBLEM_CODE,
    "label": catalogue.ATTR_LABELS,
    "client": catalogue.ATTR_ENDUSER_ID,
    "worker": catalogue.ATTR_WORKER,
    "model": catalogue.ATTR_MODEL,
    "model_version": catalogue.ATTR_MODEL_VERSION,
    "route": catalogue.ATTR_ROUTE,
}
#: Those that are told by other means, or are each image's own.
_LEFT_OUT: Final = frozenset(
    (
        *_ATTRIBUTES.values(),
        catalogue.ATTR_DETECTIONS,
        catalogue.ATTR_SCORE,
        catalogue.ATTR_JOB_ID,
        catalogue.ATTR_MESSAGING_MESSAGE_ID,
        catalogue.ATTR_PROBLEM_DETAIL,
        catalogue.ATTR_ERROR_TYPE,
        catalogue.ATTR_BOX_CORNERS,
        "client.port",
    )
)
#: Numbers that are names.
_NAMES: Final = frozenset(("http.response.status_code", catalogue.ATTR_SERVER_PORT))


class SideOut(BaseModel):
    """How many images a side has, and of how many each kind of figure is."""

    count: int
    #: Whose outcome, code, labels, client, worker, model with its version, and route were counted:
    #: all, or as many as are looked at where there are very many.
    counted: int
    #: Whose stages, scores and numbers of boxes were looked at.
    sampled: int
    #: Whose spans were read for all other attributes.
    traced: int


class StageDifference(BaseModel):
    """Milliseconds of one stage; `elsewhere` is what is in none."""

    stage: str
    median_ms: float | None
    rest_median_ms: float | None
    #: By how much the means differ, and what share that is of what the whole requests differ by.
    extra_ms: float
    extra_share: float | None
    difference: float
    sure: bool


class ValueDifference(BaseModel):
    """How many images of each side have a value, of how many, and how much more often."""

    attribute: str
    value: str
    count: int
    of: int
    rest_count: int
    rest_of: int
    share: float
    rest_share: float
    #: `share / rest_share`; None where none of the rest has it.
    lift: float | None
    difference: float
    sure: bool


class NumberDifference(BaseModel):
    """A number that images of both sides have."""

    attribute: str
    median: float
    rest_median: float
    of: int
    rest_of: int
    difference: float
    sure: bool


class Differences(BaseModel):
    """The selected images, `from_ms` or longer and less than `to_ms`, against the rest; what
    differs most first, what is sure before what may be chance."""

    from_ms: float
    to_ms: float | None
    selected: SideOut
    rest: SideOut
    #: Whether these are all images that the question finds; otherwise they are some of them.
    exact: bool
    #: Whether both sides have enough images for anything to be said.
    enough: bool
    least: int = LEAST
    stages: list[StageDifference]
    values: list[ValueDifference]
    numbers: list[NumberDifference]


def differences(sides: ComparedSides) -> Differences:
    """Compare both sides. Where one has fewer than LEAST images nothing is compared."""
    selected, rest = sides.selected, sides.rest
    enough = min(selected.count, rest.count) >= LEAST
    return Differences(
        from_ms=round(sides.from_ms, 3),
        to_ms=None if sides.to_ms is None else round(sides.to_ms, 3),
        selected=_side(selected),
        rest=_side(rest),
        exact=sides.exact,
        enough=enough,
        stages=_stages(selected.sample, rest.sample) if enough else [],
        values=_values(selected, rest) if enough else [],
        numbers=_numbers(selected, rest) if enough else [],
    )


def _side(side: ComparedSide) -> SideOut:
    return SideOut(
        count=side.count,
        counted=side.counted,
        sampled=len(side.sample),
        traced=len(side.attributes),
    )


# -- stages --------------------------------------------------------------------------------


def _stages(
    selected: Sequence[TraceSummary], rest: Sequence[TraceSummary]
) -> list[StageDifference]:
    if min(len(selected), len(rest)) < LEAST:
        return []
    whole = _mean(each.duration_ms for each in selected) - _mean(
        each.duration_ms for each in rest
    )  # fmt: skip
    found = []
    for stage in (*catalogue.STAGES, ELSEWHERE):
        mine, others = ([_in_stage(each, stage) for each in side] for side in (selected, rest))
        having, rest_having = ([v for v in side if v is not None] for side in (mine, others))
        if not having and not rest_having:
            continue
        extra = _mean(v or 0.0 for v in mine) - _mean(v or 0.0 for v in others)
        delta, sure = cliff(having, rest_having)
        found.append(
            StageDifference(
                stage=stage,
                median_ms=_median(having),
                rest_median_ms=_median(rest_having),
                extra_ms=round(extra, 3),
                extra_share=round(extra / whole, 4) if whole > 0 else None,
                difference=delta,
                sure=sure,
            )
        )
    return sorted(found, key=lambda each: -abs(each.extra_ms))


def _in_stage(image: TraceSummary, stage: str) -> float | None:
    if stage == ELSEWHERE:
        return max(0.0, image.duration_ms - math.fsum(image.stages_ms.values()))
    return image.stages_ms.get(stage)


# -- values --------------------------------------------------------------------------------


def _values(selected: ComparedSide, rest: ComparedSide) -> list[ValueDifference]:
    found = [
        _value(_ATTRIBUTES[name], value, (selected.values.get((name, value), 0), selected.counted),
               (rest.values.get((name, value), 0), rest.counted))
        for name, value in {*selected.values, *rest.values}
    ]  # fmt: skip
    if min(len(selected.attributes), len(rest.attributes)) >= LEAST:
        mine, others = (
            Counter(text for each in side.attributes for text in _texts(each))
            for side in (selected, rest)
        )
        found += [
            _value(*text, (mine[text], len(selected.attributes)),
                   (others[text], len(rest.attributes)))
            for text in {*mine, *others}
        ]  # fmt: skip
    found.sort(key=lambda each: (not each.sure, -abs(each.difference), each.attribute, each.value))
    seen: Counter[str] = Counter()
    listed = []
    for each in found:
        seen[each.attribute] += 1
        if each.difference and seen[each.attribute] <= VALUES_MAX:
            listed.append(each)
    return listed[:LISTED_MAX]


def _value(
    attribute: str, value: str, mine: tuple[int, int], others: tuple[int, int]
) -> ValueDifference:
    (count, of), (rest_count, rest_of) = mine, others
    share, rest_share = count / of, rest_count / rest_of
    having = count + rest_count
    return ValueDifference(
        attribute=attribute,
        value=value,
        count=count,
        of=of,
        rest_count=rest_count,
        rest_of=rest_of,
        share=round(share, 6),
        rest_share=round(rest_share, 6),
        lift=round(share / rest_share, 3) if rest_count else None,
        difference=round(share - rest_share, 6),
        sure=_FEW <= having <= of + rest_of - _FEW
        and 2 * _tail(count, of, having, of + rest_of) <= _CHANCE,
    )


def _tail(count: int, of: int, having: int, total: int) -> float:
    """How likely it is that of `of` images, drawn from `total` of which `having` have a value, as
    many as `count` have it, or a number yet further from what is to be expected: Fisher's exact
    test, on one side. Approximations go wrong where few images have a value, or nearly all."""
    step = 1 if count * total >= of * having else -1
    every, found = _log_choose(total, of), 0.0
    while max(0, of + having - total) <= count <= min(of, having):
        term = math.exp(
            _log_choose(having, count) + _log_choose(total - having, of - count) - every
        )
        found += term
        if term <= found * 1e-9:
            break
        count += step
    return found


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _texts(attributes: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Attribute and value of all that is no number."""
    found = set()
    for name, value in attributes.items():
        if name in _LEFT_OUT or (_is_number(value) and name not in _NAMES):
            continue
        for each in value[:ITEMS_MAX] if isinstance(value, list | tuple) else (value,):
            if isinstance(each, str | int | bool):
                found.add((name[:VALUE_MAX], str(each)[:VALUE_MAX]))
    return found


# -- numbers -------------------------------------------------------------------------------


def _numbers(selected: ComparedSide, rest: ComparedSide) -> list[NumberDifference]:
    mine, others = _columns(selected), _columns(rest)
    found = []
    for name in {*mine} & {*others}:
        having, rest_having = mine[name], others[name]
        if min(len(having), len(rest_having)) < LEAST:
            continue
        delta, sure = cliff(having, rest_having)
        if delta:
            found.append(
                NumberDifference(
                    attribute=name,
                    median=_median(having) or 0.0,
                    rest_median=_median(rest_having) or 0.0,
                    of=len(having),
                    rest_of=len(rest_having),
                    difference=delta,
                    sure=sure,
                )
            )
    found.sort(key=lambda each: (not each.sure, -abs(each.difference), each.attribute))
    return found[:LISTED_MAX]


def _columns(side: ComparedSide) -> dict[str, list[float]]:
    """All that is a number, by attribute."""
    found = {
        catalogue.ATTR_DETECTIONS: [
            float(each.detections) for each in side.sample if each.detections is not None
        ],
        catalogue.ATTR_SCORE: [each.score for each in side.sample if each.score is not None],
    }
    for attributes in side.attributes:
        for name, value in attributes.items():
            if _is_number(value) and name not in _LEFT_OUT | _NAMES:
                found.setdefault(name[:VALUE_MAX], []).append(float(value))
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63


def cliff(some: Sequence[float], others: Sequence[float]) -> tuple[float, bool]:
    """Cliff's delta of two samples, and whether that is sure by the test of Mann and Whitney,
    which asks for no distribution; (0, False) where one is too small."""
    n, m = len(some), len(others)
    if min(n, m) < LEAST:
        return 0.0, False
    _, inverse, counts = np.unique(
        np.concatenate([some, others]), return_inverse=True, return_counts=True
    )
    # The mean rank of equal values, from 1.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    above = float(ranks[:n].sum()) - n * (n + 1) / 2
    total = n + m
    tied = float((counts.astype(np.float64) ** 3 - counts).sum()) / (total * (total - 1))
    error = math.sqrt(max(0.0, n * m / 12 * (total + 1 - tied)))
    sure = bool(error) and abs(above - n * m / 2) >= SURE * error
    return round(2 * above / (n * m) - 1, 4), sure


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 4) if values else None


def _mean(values: Iterable[float]) -> float:
    every = list(values)
    return math.fsum(every) / len(every) if every else 0.0
