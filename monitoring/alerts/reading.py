"""Files that an operator writes, in YAML: read, checked, and what is wrong with them said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)


def parsed(path: Path, model: type[Model], title: str, entries: str) -> Model:
    """What a file says, which is called `title`; `entries` is its list of things with names.

    Raises ConfigurationError naming file, entry and field.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {title} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path}: lists in lists, too deep to be {title}") from error
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {_explain(error, data, entries)}") from error


def _explain(error: ValidationError, data: Any, entries: str) -> str:
    lines = []
    for item in error.errors():
        where = [str(part) for part in item["loc"]]
        if where[:1] == [entries] and len(where) > 1:
            where[:2] = [f"{entries.removesuffix('s')} {_name(data, entries, int(where[1]))}"]
        reason = item["msg"]
        if item["type"] == "value_error":  # ours, which may begin with a name
            reason = reason.removeprefix("Value error, ")
        else:
            reason = reason[:1].lower() + reason[1:]
        lines.append(": ".join([*where, reason]))
    return "; ".join(lines)


def _name(data: Any, entries: str, index: int) -> str:
    found = data[entries][index]
    name = found.get("name") if isinstance(found, Mapping) else None
    return str(name) if name else f"number {index + 1}"
