"""What a model's metadata, or a labels file, says of it: names of classes, sizes, thresholds."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from models.coco import COCO
from pipeline.errors import ConfigurationError, ModelError

#: Characters of a `names` entry that are read: a thousand classes take 30,000.
NAMES_MAX = 200_000

Value = TypeVar("Value")


def read_labels(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path}: the class names (DAMOSCOPE_LABELS) cannot be read: {error}"
        ) from error
    return tuple(line.strip() for line in lines if line.strip())


def all_labels(given: tuple[str, ...] | None, channels: int) -> tuple[str, ...]:
    if given is None:
        if channels in (len(COCO), len(COCO) + 1):
            return COCO
        return tuple(f"class {index}" for index in range(channels))
    # "Legacy" checkpoints have one score more than classes; the last is unused.
    if not given or len(given) not in (channels, channels - 1):
        raise ModelError(f"it scores {channels} classes, but {len(given)} labels are given")
    return given


def entry(meta: dict[str, str], key: str, read: Callable[[str], Value]) -> Value | None:
    """What the model's metadata says under `key`; None when it says nothing."""
    if key not in meta:
        return None
    try:
        return read(meta[key])
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"its metadata {key}={_short(meta[key])} cannot be read: {error}"
        ) from error


def size(text: str) -> tuple[int, int]:
    height, width = map(int, json.loads(text))
    if height < 1 or width < 1:
        raise ValueError("sizes are positive")
    return height, width


def threshold(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError("thresholds are between 0 and 1")
    return value


def labels_in(meta: dict[str, str]) -> tuple[str, ...] | None:
    """Class names in the metadata: ours, or `names` as other exporters write them."""
    ours = entry(meta, "damoscope.labels", _names)
    return entry(meta, "names", _written_names) if ours is None else ours


def _names(text: str) -> tuple[str, ...]:
    return _as_names(json.loads(text))


def _written_names(text: str) -> tuple[str, ...]:
    """A list of names, or a table of numbers and names, as JSON or as Python writes it.

    Ultralytics and those after it write str() of a dict: {0: 'person', 1: 'bicycle'}.
    """
    if len(text) > NAMES_MAX:
        raise ValueError(f"longer than {NAMES_MAX:,} characters")
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        try:
            names = ast.literal_eval(text.strip())
        except (SyntaxError, MemoryError, RecursionError) as error:
            raise ValueError("neither JSON nor a list or dict of Python") from error
    if isinstance(names, dict):
        numbered = {int(number): name for number, name in names.items()}
        if sorted(numbered) != list(range(len(names))):
            raise ValueError("its numbers are not 0, 1, 2 and so on")
        names = [numbered[number] for number in range(len(names))]
    return _as_names(list(names) if isinstance(names, tuple) else names)


def _as_names(names: object) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("not a list of names")
    return tuple(names)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."
