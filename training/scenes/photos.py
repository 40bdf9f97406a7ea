"""The photographs that ship inside the scikit-image and scikit-learn wheels.

Only those whose licence their project states are used. `HELD_OUT` never appears in training.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from training.images import read_rgb


@dataclass(frozen=True)
class Photo:
    """A photograph, where it lies in which package, and what its project says of its licence."""

    package: str
    name: str
    license: str

    def read(self) -> np.ndarray:
        """H x W x 3 uint8, RGB."""
        return read_photo(self.package, self.name)


@dataclass(frozen=True)
class PhotoFile:
    """A photograph in a file of its own."""

    path: Path

    def read(self) -> np.ndarray:
        """H x W x 3 uint8, RGB."""
        return read_rgb(self.path)


@cache
def read_photo(package: str, name: str) -> np.ndarray:
    """H x W x 3 uint8, RGB; kept, since every scene asks for a few."""
    with as_file(files(package) / name) as path:
        return read_rgb(path)


#: Textures seen from above, fit for a surface in perspective.
SURFACES = [
    Photo("skimage.data", "brick.png", "CC0, CC0Textures"),
    Photo("skimage.data", "grass.png", "CC0, linolafett"),
    Photo("skimage.data", "gravel.png", "CC0, CC0Textures"),
]
TRAINING = [
    Photo("skimage.data", "astronaut.png", "public domain, NASA"),
    Photo("skimage.data", "camera.png", "CC0, Lav Varshney"),
    Photo("skimage.data", "rocket.jpg", "public domain, SpaceX"),
    Photo("skimage.data", "hubble_deep_field.jpg", "public domain, NASA"),
    Photo("sklearn.datasets.images", "china.jpg", "CC BY 2.0, danielbuechele"),
    *SURFACES,
]
HELD_OUT = [
    Photo("skimage.data", "chelsea.png", "CC0, Stefan van der Walt"),
    Photo("skimage.data", "coffee.png", "CC0, Rachel Michetti"),
    Photo("sklearn.datasets.images", "flower.jpg", "CC BY 2.0, vultilion"),
]
#: Those of `HELD_OUT` that ask for no attribution: the scenes given away show no others.
EXAMPLES = HELD_OUT[:2]
