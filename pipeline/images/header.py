"""What a format's reader tells of a file, and what all readers have in common."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import InvalidImage

#: Segments or chunks that a file may have, and one more for so many of its bytes. Cameras and
#: editors write far fewer; each of them costs the reader, and then the decoder, a step.
PARTS_MAX = 4_000
BYTES_A_PART = 1_000
#: EXIF orientations that swap width and height.
SIDEWAYS = {5, 6, 7, 8}


@dataclass(frozen=True, slots=True)
class Header:
    """One picture in a file, by the file's structure. Nothing of it is decoded."""

    #: One of `pipeline.images.FORMATS`.
    kind: str
    #: Size in pixels as they are stored.
    width: int
    height: int
    #: EXIF orientation, 1 to 8: how the stored pixels are turned to be seen.
    orientation: int = 1
    #: Where the picture's own data lies in the file: first byte, and the one after the last. Empty
    #: for the whole file.
    pieces: tuple[tuple[int, int], ...] = ()
    #: What is missing at the end although the picture's data may be complete.
    end: bytes = b""

    @property
    def size_seen(self) -> tuple[int, int]:
        """Width and height as a person sees them."""
        if self.orientation in SIDEWAYS:
            return self.height, self.width
        return self.width, self.height

    def still(self, data: bytes) -> bytes:
        """The picture alone, as a file: without metadata, further frames, or what was appended."""
        if not self.pieces:
            return data + self.end if self.end else data
        view = memoryview(data)
        return b"".join([*(view[start:end] for start, end in self.pieces), self.end])


def parts_max(data: bytes) -> int:
    """How many parts a file of this length may have."""
    return PARTS_MAX + len(data) // BYTES_A_PART


def too_many(kind: str, what: str) -> InvalidImage:
    """The error of a file with more parts than that."""
    return InvalidImage(f"the {kind} has more {what} than any camera or editor writes")


def cut_short(kind: str, missing: str) -> InvalidImage:
    """The error of a file that ends before its picture does."""
    return InvalidImage(f"the {kind} is cut short: {missing}")


def damaged(kind: str, what: str) -> InvalidImage:
    """The error of a header that contradicts its format."""
    return InvalidImage(f"the header of the {kind} is damaged: {what}")
