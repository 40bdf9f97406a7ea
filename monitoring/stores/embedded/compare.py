"""Compares images by blocks: what the selected ones have, and what the others have."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
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
)
from monitoring.stores.contract import Span, TraceSummary
from monitoring.stores.embedded.bits import Bits, positions_of, stretch
from monitoring.stores.embedded.block_search import BlockSearch, Durations
from monitoring.stores.embedded.blocks import BOUNDS_US, ID, LEFT_OUT, TOOK
from monitoring.stores.embedded.find import OnDamage, by_id, images_of, nobody, searched
from monitoring.stores.embedded.otlp import service_of, span_of
from monitoring.stores.embedded.parts import Part
from monitoring.stores.embedded.rows import chunks
from monitoring.stores.finding import BUCKETS, NEVER, TraceQuery

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

    def read(self, connection: sqlite3.Connection) -> ComparedSide:
        """With its sample."""
        sample = images_of(connection, self._ids())
        traced = [_attributes(connection, each) for each in evenly(sample, TRACED_MAX)]
        return ComparedSide(
            self.count, dict(self._values), sample, [each for each in traced if each]
        )

    def _ids(self) -> list[int]:
        """Of some of them."""
        wanted = np.array(places(self.count, SAMPLE_MAX), np.int64)
        ids: list[int] = []
        ends = accumulate(count for _, _, count in self._parts)
        for (part, bits, count), end in zip(self._parts, ends, strict=True):
            here = wanted[(wanted >= end - count) & (wanted < end)] - (end - count)
            if len(here):
                at = positions_of(bits, 0, int(part.edges[-1]))
                # By id, which is nearly by time.
                found = np.sort(part.figure(ID)[at])[here]
                ids += (found + np.int64(part.first)).tolist()
        return ids


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
    (durations, selected, rest), complete = searched(
        connection, base, lambda search: _sides(search, query, slowest), on_damage
    )
    return ComparedSides(
        selected.read(connection),
        rest.read(connection),
        from_ms=durations.least / 1e3,
        to_ms=None if durations.end >= NEVER else durations.end / 1e3,
        exact=complete and selected.exact and rest.exact,
    )


def _sides(
    search: BlockSearch, query: TraceQuery, slowest: float
) -> tuple[Durations, _Side, _Side]:
    """Which durations are meant, the images that have them, and the others."""
    durations = Durations.of(query)
    if not by_duration(query):
        durations = Durations(_slowest_us(search, slowest), NEVER)
    selected, rest = _Side(), _Side()
    for part in search.parts:
        bits = search.matching(part)
        if bits is None:
            continue
        chosen = bits & stretch(*durations.stretch(part), int(part.edges[-1]))
        columns = dict(part.every())
        selected.add(part, chosen, columns)
        rest.add(part, bits & ~chosen, columns)
    return durations, selected, rest


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
    for part in search.parts:
        bits = search.matching(part)
        if bits is None:
            continue
        begin, end = map(int, part.edges[last - 1 : last + 1])
        at = positions_of(bits, begin, end)
        took = part.figure(TOOK, begin, end)[at - begin].astype(np.int64)
        at = np.minimum((took - low) // width, _FINE - 1)
        fine += np.bincount(at, minlength=_FINE)
    having = np.cumsum(fine[::-1])[::-1] >= wanted
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
