"""The structure of a JPEG: its segments, its scans, and whether all of its scans are there."""

from __future__ import annotations

import re
import struct

import numpy as np

from pipeline.errors import InvalidImage, UnsupportedImage
from pipeline.images import directory
from pipeline.images.header import Header, cut_short, damaged, parts_max, too_many

#: Scans of an image, and of one so large that so many passes over its pixels would take seconds.
#: Progressive encoders write about ten. (DALI and libjpeg-turbo's own fuzzers stop at 500.)
SCANS_MAX, SCANS_MAX_LARGE = 100, 25
#: Pixels that all scans together pass over, from which on an image is that large.
PASSES = 1_000_000_000
#: Number of pictures in the index of a multi-picture file (CIPA DC-007).
PICTURES = 0xB001
#: Bytes that are searched for a marker at a time.
BLOCK = 256 * 1024

SOI, EOI, SOS, APP1, APP2 = 0xD8, 0xD9, 0xDA, 0xE1, 0xE2
#: Start of frame, by what follows; the others of C0 to CF are tables.
FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
PROGRESSIVE = {0xC2, 0xCA}
HIERARCHICAL = {0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF}
#: Markers without a segment: TEM, RST0 to RST7, SOI; and 00, which is none.
LONE = {0x00, 0x01, *range(0xD0, 0xD9)}
#: Every coefficient of a block.
ALL = 2**64 - 1

_FILL = re.compile(rb"\xff+")


def read(data: bytes) -> Header:
    """Size, orientation and completeness. Raises InvalidImage or UnsupportedImage.

    An end marker may be missing; whether the last scan's data is complete is for the decoder.
    """
    frame = _Frame()
    orientation = pictures = 0
    position, most = 2, parts_max(data)
    while True:
        most -= 1
        if most < 0:
            raise too_many("JPEG", "segments")
        position, marker = _marker(data, position)
        if marker in (None, EOI):
            break
        if marker in LONE:
            continue
        start, position = _segment(data, position)
        if marker in FRAMES:
            frame.begin(marker, data[start:position])
        elif marker == APP1 and not orientation and data[start : start + 4] == b"Exif":
            orientation = directory.orientation(data[start:position])
        elif marker == APP2 and data[start : start + 4] == b"MPF\0":
            pictures = _pictures(data[start + 4 : position])
        elif marker == SOS:
            frame.scan(data[start:position])
            position = _scan_end(data, position)
    if marker is None:
        # A thumbnail's end is not the picture's: it lies within a segment.
        if not frame.scans:
            raise cut_short("JPEG", "it ends before its picture begins")
        frame.check(f"no end of image after {frame.scans} scan(s)")
    else:
        frame.check("scans are missing")
    kind = "MPO" if pictures > 1 else "JPEG"
    # What phones append, such as a film, is cut off.
    pieces = ((0, position),) if position < len(data) else ()
    end = b"" if marker == EOI else b"\xff\xd9"
    return Header(kind, frame.width, frame.height, orientation or 1, pieces, end)


class _Frame:
    """The frame header, and which coefficients the scans so far have brought in full."""

    def __init__(self) -> None:
        self.width = self.height = self.scans = 0
        self._progressive = False
        #: By component: a bit for each coefficient.
        self._whole: dict[int, int] = {}

    def begin(self, marker: int, segment: bytes) -> None:
        if self._whole:
            raise damaged("JPEG", "it has two frames")
        if marker in HIERARCHICAL:
            raise UnsupportedImage("hierarchical JPEG is not supported; save it as baseline JPEG")
        try:
            bits, self.height, self.width, components = struct.unpack_from(">BHHB", segment)
            self._whole = {segment[6 + 3 * index]: 0 for index in range(components)}
        except (struct.error, IndexError):
            raise damaged("JPEG", "its frame header is too short") from None
        if bits != 8:
            raise UnsupportedImage(f"a JPEG of {bits} bits a sample is not supported; save it as 8")
        if not (self.width and self.height and self._whole):
            raise damaged("JPEG", f"it is {self.width} x {self.height} pixels")
        self._progressive = marker in PROGRESSIVE

    def scan(self, segment: bytes) -> None:
        if not self._whole:
            raise damaged("JPEG", "a scan comes before the frame header")
        self.scans += 1
        most = min(SCANS_MAX, max(SCANS_MAX_LARGE, PASSES // (self.width * self.height)))
        if self.scans > most:
            raise InvalidImage(
                f"the JPEG has more than {most} scans, which only costs time; save it anew"
            )
        count = segment[0] if segment else 0
        if len(segment) < 4 + 2 * count:
            raise damaged("JPEG", "a scan header is too short")
        first, last, precision = segment[1 + 2 * count : 4 + 2 * count]
        brought = ALL
        if self._progressive:
            # Bits of lower precision come in later scans.
            inside = 0 <= first <= last <= 63 and precision & 15 == 0
            brought = (2 << last) - (1 << first) if inside else 0
        for index in range(count):
            component = segment[1 + 2 * index]
            if component in self._whole:
                self._whole[component] |= brought

    def check(self, missing: str) -> None:
        """Raise InvalidImage unless there is a picture and each component is complete."""
        if not self._whole:
            raise damaged("JPEG", "it has no picture")
        if any(whole != ALL for whole in self._whole.values()):
            raise cut_short("JPEG", missing)


def _marker(data: bytes, position: int) -> tuple[int, int | None]:
    """The next marker and where it ends; None at the end. What lies before it is skipped."""
    start = data.find(b"\xff", position)
    fill = _FILL.match(data, start) if start >= 0 else None
    if fill is None or fill.end() >= len(data):
        return len(data), None
    return fill.end() + 1, data[fill.end()]


def _segment(data: bytes, position: int) -> tuple[int, int]:
    """First byte of a segment's content, and the one after its last."""
    if position + 2 > len(data):
        raise cut_short("JPEG", "it ends within its header")
    length = data[position] << 8 | data[position + 1]
    if length < 2:
        raise damaged("JPEG", "a segment has no length")
    if position + length > len(data):
        raise cut_short("JPEG", "it ends within its header")
    return position + 2, position + length


def _scan_end(data: bytes, position: int) -> int:
    """Where the marker after a scan's data begins: FF not followed by 00, FF or a restart.

    By blocks in numpy: photographs hold FF 00 by the ten thousand, and hostile files FF FF.
    """
    while position + 1 < len(data):
        count = min(BLOCK + 1, len(data) - position)
        block = np.frombuffer(data, np.uint8, count, position)
        after = block[1:]
        ends = block[:-1] == 0xFF
        ends &= after != 0
        ends &= after != 0xFF
        ends &= after & 0xF8 != 0xD0
        first = int(ends.argmax())
        if ends[first]:
            return position + first
        position += BLOCK
    return len(data)


def _pictures(index: bytes) -> int:
    try:
        return directory.read(index).number(PICTURES, 1)
    except directory.Damaged:
        return 1
