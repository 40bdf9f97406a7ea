"""What workers say of themselves in Redis beside RQ's own record, and what waits for them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError
from rq.defaults import RQ_KEY_PREFIX

from pipeline.queue.malformed import Tally, nobody
from pipeline.queue.pools import DEFAULT, POOLS, POOLS_MAX, Pool, pools_in
from pipeline.queue.start_failures import KEPT as START_FAILURES_KEPT
from pipeline.queue.start_failures import KEY as START_FAILURES_KEY
from pipeline.queue.start_failures import StartFailure, fresh

#: Workers that are looked at; more than that are not registered in earnest.
WORKERS_MAX = 1024
#: Pixels of a model's input along a side; no model has more.
INPUT_SIDE_MAX = 2**16
#: Bytes of a model's labels together.
LABELS_BYTES_MAX = 2**20

_KEY = re.compile(rb"%b:worker:[A-Za-z0-9._-]{1,300}" % RQ_KEY_PREFIX.encode())
_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")
#: Of what a worker writes when it registers, the last: where it is, the registration is whole.
LAST_FACT = "damoscope_iou_threshold"
#: Of a job, when it was enqueued.
ENQUEUED = "damoscope_enqueued"
#: Seconds that an image takes a worker, once it has worked on some.
PACE = "damoscope_pace_s"
#: Longest that is believed.
PACE_MAX_S = 3600.0
_FIELDS = (
    "state", "death", "damoscope_provider", "damoscope_model", "damoscope_labels",
    "damoscope_score_threshold", "damoscope_iou_threshold", "damoscope_fallback",
    "damoscope_model_version", "damoscope_input_side", PACE,
)  # fmt: skip


@dataclass(frozen=True)
class WorkerState:
    name: str
    busy: bool
    provider: str
    model: str
    labels: tuple[str, ...]
    score_threshold: float | None
    iou_threshold: float | None
    #: It runs on another provider than it was asked to, or on the CPU of a host with a GPU.
    fallback: bool
    #: What tells two files of one name apart: digits of the file's SHA-256.
    model_version: str = ""
    #: Pixels along the longer side of what its model takes; None when it has not said.
    input_side: int | None = None
    #: Seconds that an image takes it while others wait; None when it is not known.
    pace_s: float | None = None
    #: Whose images it takes.
    pool: Pool = DEFAULT


@dataclass(frozen=True)
class Census:
    """One look at queues and workers."""

    #: Jobs waiting, by queue name.
    depth: dict[str, int] = field(default_factory=dict)
    #: Seconds that the first job of each queue has waited.
    oldest_age_s: dict[str, float] = field(default_factory=dict)
    workers: tuple[WorkerState, ...] = ()
    #: Workers that were tried lately and did not start.
    start_failures: tuple[StartFailure, ...] = ()
    #: The pools that there are, beside that of images that name no model, by the models' names.
    pools: tuple[Pool, ...] = ()

    def pool_of(self, model: str) -> Pool | None:
        """That of a model that images ask for; None where there is none. Without a name, that of
        images that name none."""
        return next((pool for pool in (DEFAULT, *self.pools) if pool.model == model), None)

    def workers_of(self, pool: Pool) -> tuple[WorkerState, ...]:
        """Those that take the images of a pool."""
        return tuple(worker for worker in self.workers if worker.pool == pool)

    def images_per_s(self, pool: Pool = DEFAULT) -> float | None:
        """What a pool's workers do together; None while none of them knows its pace. Those that
        do not are taken for the mean of the others."""
        workers = self.workers_of(pool)
        paces = [1 / worker.pace_s for worker in workers if worker.pace_s is not None]
        return sum(paces) / len(paces) * len(workers) if paces else None


def facts(*, model: str, model_version: str, provider: str, fallback: bool, labels: Sequence[str],
          score_threshold: float, iou_threshold: float,
          input_side: int = 0) -> dict[str, str | float]:  # fmt: skip
    """What a worker adds to its registration, and to its state. 0 is no `input_side`."""
    return {
        "damoscope_model": model,
        "damoscope_model_version": model_version,
        "damoscope_provider": provider,
        "damoscope_fallback": int(fallback),
        "damoscope_labels": "\n".join(labels),
        "damoscope_input_side": input_side,
        "damoscope_score_threshold": score_threshold,
        LAST_FACT: iou_threshold,
    }


async def look(redis: Redis, tally: Tally = nobody) -> Census:
    """Look at queues and workers. Raises RedisError.

    What was not written by a worker of ours counts as no worker, and costs nobody else anything.
    """
    pipe = redis.pipeline(transaction=False)
    _ask_of(pipe, DEFAULT)
    pipe.zrevrangebyscore(POOLS, "+inf", "-inf", 0, POOLS_MAX)
    pipe.lrange(START_FAILURES_KEY, 0, START_FAILURES_KEPT - 1)
    pipe.time()
    *answers, members, failures, time = _settled(await pipe.execute(raise_on_error=False))
    pools = sorted(pools_in(members), key=lambda pool: pool.model)
    for pool in pools:
        _ask_of(pipe, pool)
    if pools:
        answers += _settled(await pipe.execute(raise_on_error=False))
    found = [_Found.of(pool, answers) for pool in (DEFAULT, *pools)]
    for each in found:
        for job_id in each.first:
            known = job_id if job_id and _ID.fullmatch(job_id) else b""
            pipe.hget(f"{RQ_KEY_PREFIX}:job:{known.decode()}", ENQUEUED)
    for each in found:
        for key in each.workers:
            pipe.hmget(key, *_FIELDS)
    rows = _settled(await pipe.execute(raise_on_error=False))
    now_s = time[0] + time[1] / 1e6
    depth, oldest_age_s, workers = {}, {}, []
    for each in found:
        for name, waiting in zip(each.pool.queues.values(), each.depth, strict=True):
            depth[name], oldest_age_s[name] = waiting or 0, _waited_s(rows.pop(0), now_s)
    refused = sum(each.refused for each in found)
    for each in found:
        for key in each.workers:
            row = rows.pop(0)
            if row is not None and (not row[0] or row[1]):
                continue  # it is gone, or about to go
            if (worker := _worker(key, row, each.pool)) is not None:
                workers.append(worker)
            else:
                refused += 1
    if refused:
        tally("worker", refused)
    return Census(
        depth=depth,
        oldest_age_s=oldest_age_s,
        workers=tuple(workers),
        start_failures=fresh(failures or (), now_s),
        pools=tuple(pools),
    )


def _ask_of(pipe: Any, pool: Pool) -> None:
    """Ask for what waits for a pool, and for its workers."""
    for key in pool.queue_keys:
        pipe.llen(key)
        pipe.lindex(key, 0)
    pipe.srandmember(pool.workers_key, WORKERS_MAX)  # all, where there are no more


@dataclass(frozen=True)
class _Found:
    """The answers to that, queue by queue."""

    pool: Pool
    depth: list[int | None]
    #: Id of the job that is next.
    first: list[bytes | None]
    #: Keys of the workers' registrations, and how many were none.
    workers: list[bytes]
    refused: int

    @classmethod
    def of(cls, pool: Pool, answers: list[Any]) -> _Found:
        """Takes them from the front of `answers`."""
        count = 2 * len(pool.queue_keys)
        queues, members = answers[:count], answers[count] or ()
        del answers[: count + 1]
        keys = sorted(key for key in members if _KEY.fullmatch(key))
        return cls(pool, queues[0::2], queues[1::2], keys, len(members) - len(keys))


def _settled(answers: list[Any]) -> list[Any]:
    """Answers, with None for what is of a type that is not ours. Raises other errors."""
    for number, answer in enumerate(answers):
        if isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE"):
            answers[number] = None
        elif isinstance(answer, Exception):
            raise answer
    return answers


def _waited_s(enqueued_us: bytes | None, now_s: float) -> float:
    try:
        return max(0.0, now_s - int(enqueued_us or b"") / 1e6)
    except (ValueError, OverflowError):
        return 0.0


def _worker(key: bytes, row: Sequence[bytes | None] | None, pool: Pool) -> WorkerState | None:
    """A registration as the worker wrote it; None when it is not one."""
    try:
        state, _, *texts = row or ()
        provider, model, labels, score, iou, fallback, version, side, pace = (
            (text or b"").decode() for text in texts
        )
        if len(labels) > LABELS_BYTES_MAX:
            return None
        return WorkerState(
            name=key.decode().removeprefix(f"{RQ_KEY_PREFIX}:worker:"),
            busy=state == b"busy",
            provider=provider,
            model=model,
            labels=tuple(labels.split("\n")) if labels else (),
            score_threshold=_threshold(score),
            iou_threshold=_threshold(iou),
            fallback=fallback == "1",
            model_version=version,
            input_side=_input_side(side),
            pace_s=_pace_s(pace),
            pool=pool,
        )
    except ValueError:
        return None


def _input_side(text: str) -> int | None:
    value = int(text or "0")
    if not 0 <= value <= INPUT_SIDE_MAX:
        raise ValueError("no side of an image")
    return value or None


def _pace_s(text: str) -> float | None:
    value = float(text) if text else None
    if value is not None and not 0 < value <= PACE_MAX_S:  # nor is what is no number at all
        raise ValueError("no time that an image takes")
    return value


def _threshold(text: str) -> float | None:
    value = float(text) if text else None
    if value is not None and not (math.isfinite(value) and 0 <= value <= 1):
        raise ValueError("thresholds are between 0 and 1")
    return value
