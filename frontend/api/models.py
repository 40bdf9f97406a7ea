"""`/api/v1/models`: the models that there are, what runs, and switching workers to another."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from frontend.api.alerts import JSON_ONLY
from frontend.api.problems import responses
from frontend.identity.principal import principal
from frontend.model_history import ModelHistory
from frontend.rollouts import Rollouts
from frontend.status import Snapshot
from models.errors import ModelStoreError
from models.listing import ModelRow, listed
from models.names import NAME_MAX
from monitoring.figures.by_model import VersionFigures
from pipeline import errors
from pipeline.queue.model_rollout import Rollout
from pipeline.queue.pools import DEFAULT
from pipeline.queue.shadow import ShadowReport
from pipeline.queue.workers import WorkerState


class WorkerModel(BaseModel):
    """What one worker runs."""

    worker: str
    model: str
    version: str
    provider: str
    #: It runs on another provider than it was asked to, or on the CPU of a host with a GPU.
    fallback: bool
    busy: bool
    #: The model that images ask for by this name, which the worker runs for them alone; None where
    #: it takes the images that name none.
    serves: str | None = None


class ServedModel(BaseModel):
    """A model that images ask for by its name, now or within the last day."""

    name: str
    workers: int
    #: Images that wait for them.
    waiting: int


class WorkerOutcome(BaseModel):
    """What became of a switch at one worker: it runs the model, unless there is a `problem`."""

    worker: str
    problem: str


class SwitchReport(BaseModel):
    """The last switch, for an hour."""

    #: None for the model of each worker's own settings.
    name: str | None
    version: str | None
    began_at: datetime
    state: Literal["running", "done", "interrupted"]
    #: Why it was interrupted; empty otherwise.
    problem: str
    outcomes: list[WorkerOutcome]
    #: Workers of which nothing is known yet.
    waiting: int


class ModelName(BaseModel):
    """A model and its version."""

    name: str
    version: str


class ModelReport(BaseModel):
    """All models, what runs, and the last switch."""

    models: list[ModelRow]
    workers: list[WorkerModel]
    #: Beside the one that looks at the images which name none.
    served: list[ServedModel] = []
    #: Of these, how those have done that look at what the default one has answered.
    shadows: list[ShadowReport] = []
    #: What each version has done that had images in the last 7 days, the one that came last first;
    #: None while that cannot be read.
    figures: list[VersionFigures] | None = None
    #: What workers start with, where somebody has switched them; else that of their settings.
    chosen: ModelName | None
    switch: SwitchReport | None
    #: Why it is not known what runs; empty when it is.
    problem: str


class ModelWish(BaseModel):
    """The model that is wanted."""

    name: Annotated[str, Field(min_length=1, max_length=NAME_MAX)] | None = Field(
        description="A model that is bundled or installed; null: that of each worker's settings."
    )


router = APIRouter(tags=["models"], prefix="/api/v1/models")


@router.get("", summary="Models", responses=responses(errors.Unavailable))
async def read(request: Request) -> ModelReport:
    """The models that ship, are installed where this frontend runs, can be fetched, and run; which
    worker runs which; and what became of the last switch."""
    return await run_in_threadpool(report, request)


@router.post(
    "/use", status_code=202, summary="Switch workers to a model", dependencies=[*JSON_ONLY],
    responses=responses(errors.UnsupportedImage, errors.SwitchUnderWay, errors.Unavailable),
)  # fmt: skip
async def use(request: Request, wish: ModelWish) -> ModelReport:
    """Workers load it one after the other, beside the one that runs, so that no request fails;
    those that start run it too. The answer comes at once; `switch` of `GET /api/v1/models` tells
    then what became of it at each worker."""
    rollouts: Rollouts = request.app.state.rollouts
    await run_in_threadpool(rollouts.begin, wish.name, principal(request.scope).name)
    return await run_in_threadpool(report, request)


def report(request: Request) -> ModelReport:
    """What the API answers and the page shows. Blocks. Raises Unavailable."""
    rollouts: Rollouts = request.app.state.rollouts
    history: ModelHistory = request.app.state.model_history
    snapshot: Snapshot = request.app.state.status.snapshot
    runs = Counter((worker.model, worker.model_version) for worker in snapshot.workers)
    try:
        rows = listed(rollouts.store, runs)
    except ModelStoreError as error:
        raise errors.Unavailable(str(error)) from error
    known = not snapshot.problem
    chosen, last = (rollouts.chosen(), rollouts.last()) if known else (None, None)
    return ModelReport(
        models=[_as_it_runs(row, snapshot.workers, known) for row in rows],
        workers=[
            WorkerModel(
                worker=each.name, model=each.model, version=each.model_version,
                provider=each.provider, fallback=each.fallback, busy=each.busy,
                serves=each.pool.model or None,
            )
            for each in sorted(snapshot.workers, key=lambda each: each.name)
        ],
        served=[
            ServedModel(
                name=pool.model,
                workers=len(snapshot.workers_of(pool)),
                waiting=sum(snapshot.depth.get(queue, 0) for queue in pool.queues.values()),
            )
            for pool in snapshot.pools
        ],
        shadows=rollouts.shadows() if known else [],
        figures=history.figures(),
        chosen=ModelName(name=chosen.name, version=chosen.version)
        if chosen and chosen.name else None,
        switch=None if last is None else _switch(last, snapshot.workers),
        problem=snapshot.problem,
    )  # fmt: skip


def _as_it_runs(row: ModelRow, workers: tuple[WorkerState, ...], known: bool) -> ModelRow:
    """With what those that run it say of it, where nobody else does."""
    if not known:
        return row.model_copy(update={"workers": None})
    for each in workers:
        if (each.model, each.model_version) == (row.name, row.version or ""):
            said = {
                "labels": each.labels, "classes": len(each.labels),
                "score_threshold": each.score_threshold, "iou_threshold": each.iou_threshold,
            }  # fmt: skip
            return row.model_copy(update=said)
    return row


def _switch(last: Rollout, workers: tuple[WorkerState, ...]) -> SwitchReport:
    return SwitchReport(
        name=last.name or None,
        version=last.version or None,
        began_at=datetime.fromtimestamp(last.began_unix_s, UTC),
        state=last.state,
        problem=last.problem,
        outcomes=[
            WorkerOutcome(worker=worker, problem=outcome.problem)
            for worker, outcome in sorted(last.outcomes.items())
        ],
        waiting=len({each.name for each in workers if each.pool == DEFAULT} - last.outcomes.keys())
        if last.state == "running"
        else 0,
    )
