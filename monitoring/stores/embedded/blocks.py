"""Blocks of requests by columns: what images are found by.

A block has the requests of a stretch of ids, the quickest first; of those that took equally long
the first to arrive. By this order, a request's position, it has their figures as arrays, and for
each value of a text, such as `worker=a`, a bit for each request that has it.

So the requests of some durations are a stretch of positions, how many of them have a value is a
count of bits, and the slowest are at the end: a question reads a few bits of each request, and of
the figures next to nothing. `block_file` says how a block is stored.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from monitoring.stores.embedded.bits import (
    Array,
    Bits,
    Counts,
    Flags,
    at,
    before,
    pack,
    unpack,
)
from monitoring.stores.embedded.summaries import Facts
from monitoring.stores.finding import BOUNDS_MS, DIMENSIONS, VALUE_MAX, TraceQuery

#: Requests of a block, and of one that several of those become: both as in the trigger
#: `request_late`.
SMALL: Final = 1024
LARGE: Final = 65_536
#: Texts of one dimension that a block has; of more, those that fewest requests have go.
VALUES_MAX: Final = 500

#: The name of what every request has.
ALL: Final = "*"
#: What comes first in the names of figures: how long it took in µs, by which they are in order; its
#: id, less that of the block; when it began in ns; and its score in ten-thousandths.
TOOK, ID, START, SCORE = "#took", "#id", "#start", "#score"
FIGURES: Final[dict[str, npt.DTypeLike]] = {TOOK: "<u4", ID: "<u2", START: "<i8", SCORE: "<u2"}
#: Begins the name of the bit that a value of this dimension was left out.
LEFT_OUT: Final = "-"
#: Where the buckets begin, in µs, but for the first.
BOUNDS_US: Final = np.array([round(bound * 1e3) for bound in BOUNDS_MS], np.int64)
#: Durations beyond (71 minutes) are as good as that.
TOOK_MAX: Final = 2**32 - 1


def name_of(dimension: str, value: str) -> str:
    """The name of a text's column."""
    return f"{dimension}={value[:VALUE_MAX]}"


def groups_of(query: TraceQuery) -> list[tuple[str, ...]]:
    """What a question asks of texts: of each group one must be there. None of them is there twice
    for one request."""
    groups: list[tuple[str, ...]] = []
    if query.status is not None:
        groups.append((name_of("status", query.status),))
    if query.outcomes:
        groups.append(tuple(name_of("outcome", each) for each in dict.fromkeys(query.outcomes)))
    for dimension in DIMENSIONS:
        value = getattr(query, dimension)
        if value is not None:
            groups.append((name_of(dimension, value),))
    return groups


@dataclass(slots=True)
class ImageBlock:
    """Requests with ids from `first` up to `first + size`, as many as there are of these."""

    first: int
    size: int
    figures: dict[str, Array] = field(default_factory=dict)
    bits: dict[str, Bits] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many requests there are."""
        return len(self.figures[TOOK])

    @property
    def edges(self) -> Counts:
        """At which position each bucket of durations begins; last, where the last one ends."""
        return np.concatenate([[0], np.searchsorted(self.figures[TOOK], BOUNDS_US), [self.total]])

    def counts(self, name: str) -> Counts:
        """How many requests have a value, by bucket."""
        edges = self.edges
        return np.diff(edges) if name == ALL else tally(self.bits[name], edges)

    @property
    def span_ns(self) -> tuple[int, int]:
        """When the first and the last of them began, as their clocks say."""
        starts = self.figures[START]
        return (int(starts.min()), int(starts.max())) if len(starts) else (0, 0)


def tally(bits: Bits, edges: Counts) -> Counts:
    """How many of those that have a bit are in each bucket."""
    return np.diff(before(bits, edges))


def build(first: int, size: int, facts: Sequence[Facts]) -> ImageBlock:
    """The block of the requests that are given, in any order."""
    ordered = sorted(facts, key=lambda each: (_took_us(each), each.id))
    figures = {
        TOOK: [_took_us(each) for each in ordered],
        ID: [each.id - first for each in ordered],
        START: [each.start_ns for each in ordered],
        SCORE: [round((each.score or 0.0) * 1e4) for each in ordered],
    }
    having: dict[str, list[int]] = {}
    for dimension, texts in _texts(ordered).items():
        by_text: defaultdict[str | None, list[int]] = defaultdict(list)
        for position, text in enumerate(texts):
            by_text[text].append(position)
        for value, where in by_text.items():
            if value is not None:
                having.setdefault(name_of(dimension, value), []).extend(where)
    labelled = ((position, each.labels) for position, each in enumerate(ordered) if each.labels)
    for position, labels in labelled:
        for name in {name_of("label", label) for label in labels}:
            having.setdefault(name, []).append(position)
    _leave_out(having)
    return ImageBlock(
        first,
        size,
        {name: np.array(figures[name], kind) for name, kind in FIGURES.items()},
        {name: at(np.array(where), len(ordered)) for name, where in having.items()},
    )


def _took_us(facts: Facts) -> int:
    return min(facts.duration_ns // 1000, TOOK_MAX)


def _texts(facts: Sequence[Facts]) -> dict[str, list[str | None]]:
    """By dimension, what each request has of it; but for labels, of which it may have several."""
    return {
        "status": ["error" if each.error else "ok" for each in facts],
        "outcome": [each.outcome for each in facts],
        "route": [each.route for each in facts],
        "code": [each.code for each in facts],
        "client": [each.client for each in facts],
        "worker": [each.worker for each in facts],
        "model": [each.model for each in facts],
        "model_version": [each.model_version for each in facts],
    }


def _leave_out(having: dict[str, list[int]]) -> None:
    dimensions = Counter(name.partition("=")[0] for name in having)
    for dimension, count in dimensions.items():
        if count > VALUES_MAX:
            names = [name for name in having if name.partition("=")[0] == dimension]
            names.sort(key=lambda name: -len(having[name]))
            left_out = [having.pop(name) for name in names[VALUES_MAX:]]
            having[LEFT_OUT + dimension] = sorted({at for each in left_out for at in each})


def merge(blocks: Sequence[ImageBlock], first: int, size: int) -> ImageBlock:
    """One block of several that lie in it."""
    figures = {
        name: np.concatenate(
            [
                each.figures[ID] + np.uint16(each.first - first)
                if name == ID
                else each.figures[name]
                for each in blocks
            ]
        )
        for name in FIGURES
    }
    flags: dict[str, Flags] = {}
    begin = 0
    for block in blocks:
        end = begin + block.total
        for name, bits in block.bits.items():
            if name not in flags:
                flags[name] = np.zeros(len(figures[ID]), np.bool_)
            flags[name][begin:end] = unpack(bits, block.total)
        begin = end
    return in_order(ImageBlock(first, size, figures), flags)


def in_order(block: ImageBlock, flags: dict[str, Flags]) -> ImageBlock:
    """A block of requests that are in any order, which their figures and flags have alike."""
    order = np.lexsort((block.figures[ID], block.figures[TOOK]))
    return ImageBlock(
        block.first,
        block.size,
        {name: figures[order] for name, figures in block.figures.items()},
        {name: pack(each[order]) for name, each in flags.items()},
    )
