"""What a search looks through: the blocks of the file, and the requests that are in none yet."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Final, Protocol

from monitoring.stores.embedded import blocks, summaries
from monitoring.stores.embedded.blocks import ALL, FIGURES, Array, Bits, Counts, ImageBlock
from monitoring.stores.embedded.damage import BlockDamaged
from monitoring.stores.embedded.rows import FACTS

#: Requests in no block that a search looks through, the newest. There are more only for a while
#: after an upgrade, or a flood.
TAIL_MAX: Final = 20_000


class Part(Protocol):
    """Requests with the ids from `first` on, by position."""

    first: int
    size: int
    #: When the first and the last of them began.
    span_ns: tuple[int, int]

    def counts(self, name: str) -> Counts | None:
        """How many have a value, by bucket; None when none has it."""
        ...

    def bits(self, name: str) -> Bits | None:
        """Which of them have it."""
        ...

    def figure(self, name: str) -> Array:
        """One of FIGURES of each of them."""
        ...

    def every(self) -> Iterator[tuple[str, Bits]]:
        """All values that any of them has, and which have it."""
        ...


class TailPart:
    """Requests that are in no block yet."""

    def __init__(self, block: ImageBlock) -> None:
        self.first, self.size, self.span_ns = block.first, block.size, block.span_ns
        self._block = block

    def counts(self, name: str) -> Counts | None:
        return self._block.counts(name) if name in self._block.bits else None

    def bits(self, name: str) -> Bits | None:
        return self._block.bits.get(name)

    def figure(self, name: str) -> Array:
        return self._block.figures[name]

    def every(self) -> Iterator[tuple[str, Bits]]:
        yield from self._block.bits.items()


class StoredPart:
    """A block of the file, of which only what is asked for is read."""

    def __init__(
        self, connection: sqlite3.Connection, counts: dict[str, dict[int, bytes]], *row: int
    ) -> None:
        self.first, self.size, earliest_ns, latest_ns = row
        self.span_ns = (earliest_ns, latest_ns)
        self._connection, self._counts = connection, counts
        self._figures: dict[str, Array] = {}

    def counts(self, name: str) -> Counts | None:
        found = self._counts[name].get(self.first)
        if found is None:
            if name == ALL:
                raise BlockDamaged(self.first, "counts are not there")
            return None
        return blocks.counts_of(found, self.first)

    def bits(self, name: str) -> Bits | None:
        if self.first not in self._counts[name]:
            return None
        return blocks.bits_of(self._body(name), self.first, self.size)

    def figure(self, name: str) -> Array:
        return blocks.figures_of(self._body(name), name, self.first, self.size)

    def every(self) -> Iterator[tuple[str, Bits]]:
        for name, body in self._connection.execute(
            "SELECT name, body FROM block_column WHERE block = ?", (self.first,)
        ):
            if name not in FIGURES:
                yield name, blocks.bits_of(body, self.first, self.size)

    def _body(self, name: str) -> bytes:
        found = self._connection.execute(
            "SELECT body FROM block_column WHERE name = ? AND block = ?", (name, self.first)
        ).fetchone()
        if found is None:
            raise BlockDamaged(self.first, f"{name} is not there")
        return bytes(found[0])


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
    rows = connection.execute(
        "SELECT first, size, earliest_ns, latest_ns FROM block"
        " WHERE latest_ns >= ? AND earliest_ns < ? ORDER BY first",
        (first_ns, end_ns),
    ).fetchall()
    between = (rows[0][0], rows[-1][0]) if rows else (0, -1)
    counts = {
        name: dict(
            connection.execute(
                "SELECT block, counts FROM block_column WHERE name = ? AND block BETWEEN ? AND ?",
                (name, *between),
            ).fetchall()
        )
        for name in (ALL, *names)
    }
    found: list[Part] = [
        _anew(connection, *row[:2]) if row[0] in damaged else StoredPart(connection, counts, *row)
        for row in rows
    ]
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
    size = (last - first + 8) // 8 * 8
    taken = [summaries.facts(*row) for row in rows if row[0] >= first]
    return TailPart(blocks.build(first, size, taken)), complete
