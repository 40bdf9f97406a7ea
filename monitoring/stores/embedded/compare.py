"""Compares images by blocks: what the selected ones have, and what the others have."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from monitoring.stores.comparing import (
    COUNTED,
    SAMPLE_MAX,
    SPANS_MAX,
    TRACED_MAX,
    ComparedSide,
    ComparedSides,
    attributes_of,
    by_duration,
    evenly,
    of_images,
    places,
    values_of,
)
from monitoring.stores.contract import Span, TraceSummary
from monitoring.stores.embedded.bits import Bits, Counts, nth_of_each, positions_of, stretch
from monitoring.stores.embedded.block_search import BlockSearch, Durations
from monitoring.stores.embedded.blocks import BOUNDS_US, ID, LEFT_OUT, TOOK
from monitoring.stores.embedded.find import OnDamage, by_id, images_of, nobody, searched
from monitoring.stores.embedded.otlp import service_of, span_of
from monitoring.stores.embedded.parts import Part
from monitoring.stores.embedded.rows import chunks
from monitoring.stores.finding import BUCKETS, NEVER, TraceQuery

#: Blocks of which all columns are read, to count what all their images have. Of more only a sample
#: is asked: a block of 65,536 images takes 5 ms.
COUNTED_BLOCKS: Final = 24
#: Blocks that tell which duration a share of the images took longer than.
_TELLING_BLOCKS: Final = 64
#: Which images are drawn is always the same.
_SEED: Final = 1
#: How finely a duration is told that a share of the images took longer than: parts of a bucket.
_FINE: Final = 4096


class _Side:
    """One side while the parts are gone through: bits of each part, and what they have."""

    def __init__(self) -> None:
        self.count = 0
        self.exact = True
        self._values: Counter[tuple[str, str]] = Counter()
        self._parts: list[tuple[Part, Bits, int]] = []

    def add(self, part: Part, bits: Bits, columns: Mapping[str, Bits]) -> None:
        """Take those of a part that have a bit."""
        count = int(np.bitwise_count(bits).sum())
        if not count:
            return
        self.count += count
        self._parts.append((part, bits, count))
        for name, having in columns.items():
            dimension, is_text, value = name.partition("=")
            if not is_text:
                self.exact &= not name.startswith(LEFT_OUT)
            elif dimension in COUNTED:
                both = int(np.bitwise_count(having & bits).sum())
                if both:
                    self._values[dimension, value] += both

    def read(self, connection: sqlite3.Connection, *, is_counted: bool) -> ComparedSide:
        """With its sample, of which the values are where not all are counted."""
        sample = images_of(connection, self._ids())
        values = self._values
        if not is_counted:
            values = Counter(value for image in sample for value in values_of(image))
        traced = [_attributes(connection, each) for each in evenly(sample, TRACED_MAX)]
        return ComparedSide(
            self.count,
            dict(values),
            self.count if is_counted else len(sample),
            sample,
            [each for each in traced if each],
        )

    def _ids(self) -> list[int]:
        """Of some of them: of each part as many as it has a share of all."""
        counts = np.array([count for _, _, count in self._parts], np.int64)
        of_part, ranks = drawn(counts, SAMPLE_MAX)
        positions = nth_of_each([bits for _, bits, _ in self._parts], of_part, ranks)
        ids: list[int] = []
        begins = np.searchsorted(of_part, np.arange(len(counts) + 1)).tolist()
        for (part, _, _), begin, end in zip(self._parts, begins, begins[1:], strict=False):
            if begin < end:
                found = part.items(ID, positions[begin:end])
                ids += sorted((found + np.int64(part.first)).tolist())
        return ids


def drawn(counts: Counts, most: int) -> tuple[Counts, Counts]:
    """Which of the images of some parts are looked at: of each its part, and its rank there.

    Each part has as many as its share of all. In a part they are by duration, and as far apart as
    can be: every one of them is as likely, since where they begin is drawn.
    """
    ends = np.cumsum(counts)
    wanted = np.array(places(int(counts.sum()), most), np.int64)
    shares = np.diff(np.searchsorted(wanted, ends), prepend=0)
    of_part = np.repeat(np.arange(len(counts)), shares)
    number = np.arange(len(of_part)) - np.repeat(np.cumsum(shares) - shares, shares)
    begin = np.random.default_rng(_SEED).integers(0, np.maximum(counts, 1))
    total = counts[of_part]
    ranks = (begin[of_part] + number * total // shares[of_part]) % total
    order = np.lexsort((ranks, of_part))
    return of_part[order], ranks[order]


def compare(
    connection: sqlite3.Connection,
    query: TraceQuery,
    slowest: float,
    on_damage: OnDamage = nobody,
) -> ComparedSides:
    """See TraceStore.compare."""
    base = replace(query, min_duration_ms=None, max_duration_ms=None)
    if query.id is not None:
        found, complete = by_id(connection, base)
        return of_images(
            query, slowest, (image for _, image in found),
            lambda image: _attributes(connection, image), exact=complete,
        )  # fmt: skip
    (durations, selected, rest, is_counted), complete = searched(
        connection, base, lambda search: _sides(search, query, slowest), on_damage
    )
    return ComparedSides(
        selected.read(connection, is_counted=is_counted),
        rest.read(connection, is_counted=is_counted),
        from_ms=durations.least / 1e3,
        to_ms=None if durations.end >= NEVER else durations.end / 1e3,
        exact=complete and selected.exact and rest.exact,
    )


def _sides(
    search: BlockSearch, query: TraceQuery, slowest: float
) -> tuple[Durations, _Side, _Side, bool]:
    """Which durations are meant, the images that have them, and the others; and whether what these
    have is counted."""
    durations = Durations.of(query)
    if not by_duration(query):
        durations = Durations(_slowest_us(search, slowest), NEVER)
    selected, rest = _Side(), _Side()
    is_counted = len(search.parts) <= COUNTED_BLOCKS
    for part in search.parts:
        bits = search.matching(part)
        if bits is None:
            continue
        chosen = bits & stretch(*durations.stretch(part), int(part.edges[-1]))
        columns = dict(part.every()) if is_counted else {}
        selected.add(part, chosen, columns)
        rest.add(part, bits & ~chosen, columns)
    return durations, selected, rest, is_counted


def _slowest_us(search: BlockSearch, share: float) -> int:
    """The longest duration such that at least this share of the images took it or longer."""
    counts = search.tally()
    wanted = max(1, round(share * int(counts.sum())))
    last = BUCKETS
    while last > 1 and counts[last - 1 :].sum() < wanted:
        last -= 1
    wanted -= int(counts[last:].sum())
    edges = (0, *map(int, BOUNDS_US), int(BOUNDS_US[-1]) * 100)
    low, high = edges[last - 1], edges[last]
    width: int = max(1, -(-(high - low) // _FINE))
    fine = np.zeros(_FINE, np.int64)
    for part in evenly(search.parts, _TELLING_BLOCKS):
        bits = search.matching(part)
        if bits is None:
            continue
        begin, end = map(int, part.edges[last - 1 : last + 1])
        at = positions_of(bits, begin, end)
        took = part.figure(TOOK, begin, end)[at - begin].astype(np.int64)
        at = np.minimum((took - low) // width, _FINE - 1)
        fine += np.bincount(at, minlength=_FINE)
    # Of the bucket's images as many are wanted as of those that were looked at.
    wanted = math.ceil(wanted * int(fine.sum()) / max(1, int(counts[last - 1])))
    having = np.cumsum(fine[::-1])[::-1] >= max(1, wanted)
    at_least = int(np.flatnonzero(having)[-1]) if having.any() else 0
    return low + width * at_least


def _attributes(connection: sqlite3.Connection, image: TraceSummary) -> dict[str, Any]:
    """All that the spans of an image have; {} where they are gone, or too many."""
    key = bytes.fromhex(image.trace_id)
    found = connection.execute("SELECT spans FROM trace WHERE trace_id = ?", (key,)).fetchone()
    if found is None or found[0] > SPANS_MAX:
        return {}
    return attributes_of(image.span_id, _spans(connection, key))


def _spans(connection: sqlite3.Connection, trace_id: bytes) -> Sequence[Span]:
    return [
        span_of(span, service_of(Resource.FromString(body)))
        for body, chunk in chunks(connection, trace_id)
        for span in chunk
    ]
