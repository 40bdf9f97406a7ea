"""Photographs in a folder, as a model sees them: to calibrate it with, and to compare by."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigurationError, DamoscopeError
from pipeline.images import inspect
from pipeline.settings import Settings
from worker.model.preprocess import preprocess

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"))
#: Entries of a folder, and of those below it, that are looked at.
ENTRIES_MAX = 200_000
#: Photographs that are taken, spread evenly over all; and without how many there is no judging.
TAKEN, LEAST = 200, 20


def pictures_in(
    folder: Path, height: int, width: int, settings: Settings
) -> list[NDArray[np.uint8]]:
    """Up to `TAKEN` pictures, each `height` x `width` x 3, in the order of their files' names.

    What the service would refuse is left out. Raises ConfigurationError when too few are there.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder}: no such folder; photographs are wanted")
    try:
        entries = list(islice(folder.rglob("*"), ENTRIES_MAX))
        files = sorted(each for each in entries
                       if each.suffix.lower() in SUFFIXES and each.is_file())  # fmt: skip
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be read: {error.strerror}") from error
    places = {round(place) for place in np.linspace(0, len(files) - 1, TAKEN)} if files else set()
    found = []
    for place in sorted(places):
        try:
            with files[place].open("rb") as file:
                data = file.read(settings.max_upload_bytes + 1)
            inspect(data, max_bytes=settings.max_upload_bytes, max_pixels=settings.max_pixels)
            found.append(preprocess(data, height, width).pixels)
        except (DamoscopeError, OSError):
            continue
    if len(found) < LEAST:
        raise ConfigurationError(
            f"{folder}: {len(found)} photographs can be read of {len(files)} that are there, and "
            f"at least {LEAST} are needed; a hundred or two tell more"
        )
    return found
