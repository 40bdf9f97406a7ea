"""What a store hands over so that some images can be compared with the others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from monitoring.stores.contract import Span, TraceSummary
from monitoring.stores.finding import DIMENSIONS, VALUE_MAX, TraceQuery
from monitoring.stores.summary import descendants

#: Images of each side whose rows are looked at for stages, scores and numbers of boxes.
SAMPLE_MAX: Final = 1000
#: Of these, how many have their spans read for all other attributes.
TRACED_MAX: Final = 200
#: Traces of more spans than this are not read for a comparison: one image has ten.
SPANS_MAX: Final = 100
#: Items of a list that are looked at.
ITEMS_MAX: Final = 100

#: What every image has one of, and is counted by where it can be counted at once.
COUNTED: Final = ("outcome", *DIMENSIONS)

T = TypeVar("T")
#: Of a dimension one value.
DimensionValue = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ComparedSide:
    """Some of the images: how many, what they have, and a sample of them, evenly over time."""

    count: int
    #: Of `counted` of them, how many have a value.
    values: Mapping[DimensionValue, int]
    counted: int
    sample: Sequence[TraceSummary] = ()
    #: Of some of the sample, all attributes of all spans.
    attributes: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class ComparedSides:
    """The images that were selected, those that took `from_ms` or longer and less than `to_ms`;
    and all others that the same question finds."""

    selected: ComparedSide
    rest: ComparedSide
    from_ms: float
    to_ms: float | None = None
    #: Whether all images are counted; otherwise these are some of them.
    exact: bool = True


def of_images(
    query: TraceQuery,
    slowest: float,
    images: Iterable[TraceSummary],
    attributes: Callable[[TraceSummary], Mapping[str, Any]],
    *,
    exact: bool,
) -> ComparedSides:
    """Both sides of a few images, all of which answer the question but for its durations."""
    every = sorted(images, key=lambda each: each.start_unix_ns)
    from_ms, to_ms = query.min_duration_ms or 0.0, query.max_duration_ms
    if not by_duration(query):
        from_ms = _slowest([each.duration_ms for each in every], slowest)
    end_ms = math.inf if to_ms is None else to_ms

    def side(*, is_selected: bool) -> ComparedSide:
        found = [
            each for each in every if (from_ms <= each.duration_ms < end_ms) == is_selected
        ]  # fmt: skip
        values = Counter(value for each in found for value in values_of(each))
        sample = evenly(found, SAMPLE_MAX)
        traced = [attributes(each) for each in evenly(sample, TRACED_MAX)]
        return ComparedSide(
            len(found), values, len(found), sample, [each for each in traced if each]
        )

    return ComparedSides(side(is_selected=True), side(is_selected=False), from_ms, to_ms, exact)


def by_duration(query: TraceQuery) -> bool:
    """Whether a question says by duration which images are selected."""
    return query.min_duration_ms is not None or query.max_duration_ms is not None


def _slowest(durations_ms: Sequence[float], share: float) -> float:
    if not durations_ms:
        return 0.0
    wanted = max(1, round(share * len(durations_ms)))
    return sorted(durations_ms)[-wanted]


def evenly(items: Sequence[T], count: int) -> list[T]:
    """Up to `count` of them, in order, as far apart as can be."""
    return [items[at] for at in places(len(items), count)]


def places(total: int, count: int) -> list[int]:
    """Where up to `count` of `total` things are, as far apart as can be."""
    if total <= count:
        return list(range(total))
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def values_of(image: TraceSummary) -> list[DimensionValue]:
    """What an image has of the dimensions that are counted."""
    texts = {
        "outcome": image.outcome,
        "code": image.error_type,
        "client": image.client,
        "worker": image.worker,
        "model": image.model,
        "model_version": image.model_version,
        "route": image.route,
    }
    found = [(name, text[:VALUE_MAX]) for name, text in texts.items() if text is not None]
    return found + [("label", label) for label in {each[:VALUE_MAX] for each in image.labels}]


def attributes_of(span_id: str, spans: Sequence[Span]) -> dict[str, Any]:
    """All attributes of the spans of one request, each by its name; of those that several have,
    the last one's: that of an image's last try."""
    found: dict[str, Any] = {}
    for span in sorted(descendants(span_id, spans), key=lambda each: each.start_unix_ns):
        found |= span.attributes
    return found
