"""What holds for the query of every operation, and the labels that a detection may ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fastapi import Request
from fastapi.exceptions import RequestValidationError

from pipeline.errors import InvalidParameter

#: Parameters that may be given again and again.
REPEATED = {"labels"}
#: So many known labels are named to who asks for an unknown one.
NAMED = 100


async def single_values(request: Request) -> None:
    """Raise RequestValidationError for a parameter with two values, of which one would be lost."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    if twice := [name for name, count in given.items() if count > 1 and name not in REPEATED]:
        raise RequestValidationError(
            [
                {
                    "type": "repeated", "loc": ("query", name), "msg": "Given more than once",
                    "input": request.query_params.getlist(name),
                }
                for name in twice
            ]
        )  # fmt: skip


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
