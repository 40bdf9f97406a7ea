"""The labels that somebody asks for."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.errors import InvalidParameter

#: So many known labels are named to who asks for an unknown one.
NAMED = 100


def known_labels(asked: tuple[str, ...], known: Iterable[str]) -> tuple[str, ...]:
    """The labels as models write them, whatever their case. Raises InvalidParameter.

    `known` are those of the models that workers run; while there is none, all labels pass.
    """
    names = {name.casefold(): name for name in known}
    unknown = [label for label in asked if label.casefold() not in names]
    if names and unknown:
        some = sorted(names.values())[:NAMED]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        raise InvalidParameter(
            f"labels: no model here knows {', '.join(map(repr, unknown))}; "
            f"it knows {', '.join(some)}{more}"
        )
    return tuple(names.get(label.casefold(), label) for label in asked)
