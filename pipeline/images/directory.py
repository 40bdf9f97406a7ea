"""A TIFF directory: the list of tags that TIFF files, EXIF and multi-picture JPEGs share."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Most tags that are looked at. Cameras write a few dozen; a raw photograph has two hundred.
TAGS_MAX = 1000
ORIENTATION = 0x0112
#: Bytes of one value by its type's number.
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
              16: 8, 17: 8, 18: 8}  # fmt: skip
#: Those whose values are whole numbers, as numpy names them.
INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}


class Damaged(ValueError):
    """The list is not what it says; the message names why."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One entry: where its values lie."""

    kind: int
    count: int
    #: Offset of the first value.
    start: int

    @property
    def bytes(self) -> int:
        """Length of all values."""
        return self.count * TYPE_BYTES.get(self.kind, 1)


@dataclass(frozen=True, slots=True)
class Directory:
    """The first directory of a TIFF structure. Values are read when they are asked for."""

    data: bytes
    #: `<` or `>`.
    order: str
    tags: Mapping[int, Tag]

    def number(self, tag: int, default: int) -> int:
        """The first value of a tag; the default where there is none that is a whole number."""
        values = self.numbers(tag, 1)
        return int(values[0]) if len(values) else default

    def numbers(self, tag: int, most: int | None = None) -> NDArray[np.unsignedinteger]:
        """The values of a tag; none where they are no whole numbers, or lie outside the data."""
        entry = self.tags.get(tag)
        if entry is None or entry.kind not in INTEGERS:
            return np.zeros(0, np.uint8)
        count = entry.count if most is None else min(most, entry.count)
        kind = np.dtype(self.order + INTEGERS[entry.kind])
        if entry.start + count * kind.itemsize > len(self.data):
            return np.zeros(0, np.uint8)
        return np.frombuffer(self.data, kind, count, entry.start)


def read(data: bytes) -> Directory:
    """The first directory of a TIFF, or of a BigTIFF. Raises Damaged."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise Damaged("it has no byte order")
    try:
        (version,) = struct.unpack_from(f"{order}H", data, 2)
        big = version == 43
        where, number, entry = ("Q", "Q", "HHQQ") if big else ("I", "H", "HHII")
        (start,) = struct.unpack_from(order + where, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + number, data, start)
        if count > TAGS_MAX:
            raise Damaged(f"it has {count:,} tags")
        start += 8 if big else 2
        form = struct.Struct(order + entry)
        if start + count * form.size > len(data):
            raise Damaged("its list of tags ends early")
        inside = form.size - (8 if big else 4)
        tags: dict[int, Tag] = {}
        for index in range(count):
            at = start + index * form.size
            tag, kind, values, offset = form.unpack_from(data, at)
            found = Tag(kind, values, offset)
            if found.bytes <= form.size - inside:
                found = Tag(kind, values, at + inside)
            tags.setdefault(tag, found)
    except (struct.error, OverflowError) as error:
        raise Damaged("its list of tags lies outside of it") from error
    return Directory(data, order, tags)


def orientation(exif: bytes) -> int:
    """EXIF orientation, 1 to 8; 1 where it cannot be told.

    EXIF begins with a TIFF structure, in PNG and WebP too; some writers put `Exif` and two more
    bytes before it, as a JPEG has them.
    """
    try:
        found = read(exif[6:] if exif[:4] == b"Exif" else exif).number(ORIENTATION, 1)
    except Damaged:
        return 1
    return found if 1 <= found <= 8 else 1
