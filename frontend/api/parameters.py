"""What holds for the query of every operation, and the models that a detection may ask for."""

from __future__ import annotations

from collections import Counter

from fastapi import Request
from fastapi.exceptions import RequestValidationError

from frontend.status import Snapshot
from pipeline.errors import InvalidParameter, Unavailable
from pipeline.queue.pools import Pool

#: Parameters that may be given again and again.
REPEATED = {"labels"}


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


def served(model: str, snapshot: Snapshot) -> Pool:
    """The workers that run this model for who asks for it.

    Raises Unavailable where there is none at present, and InvalidParameter where none was lately:
    with what to do.
    """
    pool = snapshot.pool_of(model)
    if pool is not None and snapshot.workers_of(pool):
        return pool
    if snapshot.problem:  # which is said of every image
        raise Unavailable(f"{snapshot.problem}; try again shortly")
    start = "`damoscope worker --serves NAME`, or DAMOSCOPE_MODELS_BESIDE of `damoscope up`"
    if pool is not None:
        error = Unavailable(
            f"no worker serves model {model} at present; try again shortly, or start one: {start}"
        )
        error.queue = pool.name
        raise error
    names = ", ".join(each.model for each in snapshot.pools) or "none"
    runs = any(worker.model == model for worker in snapshot.workers)
    raise InvalidParameter(
        f"model: no worker serves {model!r}; served are: {names}. What is installed is served by "
        + start
        + ("; images that name no model are looked at by it at present" if runs else "")
    )
