"""The images that are sent."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from pathlib import Path

from examples import photos
from pipeline.errors import ConfigurationError

#: Bytes of all images together: they are held in memory.
BYTES_MAX = 256 << 20


@dataclass(frozen=True)
class ImageFile:
    """One image and its media type, such as image/jpeg."""

    name: str
    data: bytes
    kind: str


def read(path: Path | None) -> list[ImageFile]:
    """Of a file, or of all image files of a folder by name; None is the bundled examples."""
    if path is None:
        files = photos()
    elif path.is_dir():
        files = sorted(each for each in path.iterdir() if each.is_file() and _kind(each))
    else:
        files = [path]
    if not files:
        raise ConfigurationError(f"{path} has no image: .jpg, .png, .webp and the like")
    found, total = [], 0
    for file in files:
        try:
            total += file.stat().st_size
            if total > BYTES_MAX:
                raise ConfigurationError(
                    f"{path} has more than {BYTES_MAX >> 20} MB of images: choose fewer of them"
                )
            data = file.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{file}: {error.strerror or error}") from error
        found.append(ImageFile(file.name, data, _kind(file) or "image/jpeg"))
    return found


def _kind(path: Path) -> str | None:
    kind = mimetypes.guess_type(path.name)[0]
    return kind if kind and kind.startswith("image/") else None
