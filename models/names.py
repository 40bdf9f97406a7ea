"""Names of models: what a person types in place of a file."""

from __future__ import annotations

import re
from typing import Final

from models.errors import ModelStoreError

NAME_MAX: Final = 64
#: How they are written, but for the ends of files.
PATTERN: Final = rf"^[a-z0-9](?:[a-z0-9._-]{{0,{NAME_MAX - 2}}}[a-z0-9])?$"
_NAME: Final = re.compile(PATTERN)
#: Who writes these means a file.
_FILES: Final = (".onnx", ".pt", ".pth", ".json")


def is_name(text: str) -> bool:
    """Whether it can be a model's name, rather than the path of a file."""
    return _NAME.fullmatch(text) is not None and not text.endswith(_FILES)


def checked_name(text: str) -> str:
    """The name. Raises ModelStoreError, which says how names are written."""
    if is_name(text):
        return text
    raise ModelStoreError(
        f"{text[:NAME_MAX]!r} is no name for a model: write up to {NAME_MAX} lower-case letters, "
        "digits, dots, hyphens and underscores, a letter or digit first and last, and no ending "
        "of a file such as .onnx"
    )
