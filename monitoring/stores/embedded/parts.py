"""What a search looks through: the blocks of the file, and the requests that are in none yet."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Final, Protocol

from monitoring.stores.embedded import block_file, block_format_1, blocks, summaries
from monitoring.stores.embedded.bits import Array, Bits, Counts
from monitoring.stores.embedded.blocks import ALL, ImageBlock
from monitoring.stores.embedded.rows import FACTS

#: Requests in no block that a search looks through, the newest. There are more only for a while
#: after an upgrade, or a flood.
TAIL_MAX: Final = 20_000


class Part(Protocol):
    """Requests with the ids from `first` on, the quickest first: see `blocks`."""

    first: int
    #: When the first and the last of them began.
    span_ns: tuple[int, int]

    @property
    def edges(self) -> Counts:
        """At which position each bucket of durations begins; last, how many requests there are."""
        ...

    def counts(self, name: str) -> Counts | None:
        """How many have a value, by bucket; None when none has it."""
        ...

    def bits(self, name: str) -> Bits | None:
        """Which of them have it."""
        ...

    def figure(self, name: str, begin: int = 0, end: int | None = None) -> Array:
        """One of FIGURES of each of them, or of those at these positions."""
        ...

    def items(self, name: str, positions: Counts) -> Array:
        """The same of those at some positions, one at least, in order."""
        ...

    def every(self) -> Iterator[tuple[str, Bits]]:
        """All values that any of them has, and which have it."""
        ...


class TailPart:
    """Requests that are in no block yet."""

    def __init__(self, block: ImageBlock) -> None:
        self.first, self.span_ns, self.edges = block.first, block.span_ns, block.edges
        self._block = block

    def counts(self, name: str) -> Counts | None:
        is_there = name == ALL or name in self._block.bits
        return self._block.counts(name) if is_there else None

    def bits(self, name: str) -> Bits | None:
        return self._block.bits.get(name)

    def figure(self, name: str, begin: int = 0, end: int | None = None) -> Array:
        return self._block.figures[name][begin:end]

    def items(self, name: str, positions: Counts) -> Array:
        return self._block.figures[name][positions]

    def every(self) -> Iterator[tuple[str, Bits]]:
        yield from self._block.bits.items()


class StoredPart(block_file.CountedBlock):
    """A block of the file, of which only what is asked for is read."""

    @property
    def _total(self) -> int:
        return int(self.edges[-1])

    def bits(self, name: str) -> Bits | None:
        if self.first not in self._counted[name]:
            return None
        body = block_file.body_of(self._connection, name, self.first)
        return block_file.bits_of(body, self.first, self._total)

    def figure(self, name: str, begin: int = 0, end: int | None = None) -> Array:
        total = self._total
        return block_file.part_of_figure(
            self._connection, name, self.first, total, begin, total if end is None else end
        )

    def items(self, name: str, positions: Counts) -> Array:
        return block_file.items_of_figure(
            self._connection, name, self.first, self._total, positions
        )

    def every(self) -> Iterator[tuple[str, Bits]]:
        yield from block_file.bits_of_all(self._connection, self.first, self._total)


def parts(
    connection: sqlite3.Connection,
    first_ns: int,
    end_ns: int,
    names: Sequence[str],
    damaged: Collection[int] = (),
) -> tuple[list[Part], bool]:
    """What may have requests of a time, to be asked for these values only; whether that is all.

    Of blocks that are `damaged` the requests themselves are read.
    """
    stored = [
        block_file.StoredBlock(*row)
        for row in connection.execute(
            "SELECT first, size, earliest_ns, latest_ns, format FROM block"
            " WHERE latest_ns >= ? AND earliest_ns < ? ORDER BY first",
            (first_ns, end_ns),
        )
    ]
    between = (stored[0].first, stored[-1].first) if stored else (0, -1)
    counted = {
        name: dict(
            connection.execute(
                "SELECT block, counts FROM block_column WHERE name = ? AND block BETWEEN ? AND ?",
                (name, *between),
            ).fetchall()
        )
        for name in (ALL, *names)
    }

    def part(block: block_file.StoredBlock) -> Part:
        if block.first in damaged:
            return _anew(connection, block.first, block.size)
        if block.format == 1:
            return block_format_1.OldPart(connection, counted, block)
        return StoredPart(connection, counted, block)

    found = [part(each) for each in stored]
    tail, complete = _tail(connection)
    if tail is not None and tail.span_ns[1] >= first_ns and tail.span_ns[0] < end_ns:
        found.append(tail)
    return found, complete


def _anew(connection: sqlite3.Connection, first: int, size: int) -> TailPart:
    rows = connection.execute(
        f"SELECT {FACTS} FROM request WHERE id >= ? AND id < ?", (first, first + size)
    )
    return TailPart(blocks.build(first, size, [summaries.facts(*row) for row in rows]))


def _tail(connection: sqlite3.Connection) -> tuple[TailPart | None, bool]:
    (end,) = connection.execute("SELECT coalesce(max(first + size), 0) FROM block").fetchone()
    rows = connection.execute(
        f"SELECT {FACTS} FROM request WHERE id >= ? ORDER BY id DESC LIMIT ?",
        (end, TAIL_MAX + 1),
    ).fetchall()
    complete = len(rows) <= TAIL_MAX
    if not rows:
        return None, complete
    first, last = rows[-1][0], rows[0][0]
    if last - first >= 2 * TAIL_MAX:  # ids are without gaps, unless somebody made some
        first, complete = last - 2 * TAIL_MAX, False
    taken = [summaries.facts(*row) for row in rows if row[0] >= first]
    return TailPart(blocks.build(first, last - first + 1, taken)), complete
