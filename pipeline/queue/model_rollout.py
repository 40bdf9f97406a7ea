"""A model handed to running workers, one after the other: what `damoscope model use` and the Model
page do, and what Redis keeps of the last time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Literal

from redis import Redis
from redis.exceptions import RedisError

from models.store import VERSION_DIGITS, Store, sha256_of
from pipeline.errors import SwitchUnderWay
from pipeline.queue import model_choice
from pipeline.queue.model_choice import OFFER, OUTCOMES_S, ModelChoice, SwitchOutcome

#: The last rollout, for as long as what became of it at each worker.
ROLLOUT, ROLLOUT_S = "damoscope:model:rollout", OUTCOMES_S
#: Seconds between looks, and without any news after which it is given up. Loading a model may take
#: a worker three minutes.
LOOK_S, NEWS_S = 0.5, 240.0


@dataclass(frozen=True)
class Rollout:
    """One rollout, as it stands."""

    #: Empty for the model of each worker's own settings.
    name: str
    version: str
    #: By the clock of who began it.
    began_unix_s: float
    #: `done` says that all is told, whatever it was; `interrupted` that whoever drove it has gone.
    state: Literal["running", "done", "interrupted"]
    #: Why it ended early; empty where it did not.
    problem: str
    #: What became of it at each worker so far, by the worker's name.
    outcomes: dict[str, SwitchOutcome]


def choice_of(store: Store, name: str | None) -> ModelChoice:
    """A model by its name, once its file was read and is whole; None is that of each worker's own
    settings. Raises ModelStoreError."""
    if name is None:
        return ModelChoice.of("", "")
    source = store.named(name)
    if source.installed is not None:
        source.installed.verify()
        return ModelChoice.of(name, source.installed.version)
    return ModelChoice.of(name, sha256_of(source.file)[:VERSION_DIGITS])


def begin(redis: Redis, choice: ModelChoice) -> None:
    """Offer a model to workers. Raises SwitchUnderWay, and RedisError."""
    if not redis.set(OFFER, _text(choice), ex=model_choice.OFFER_S, nx=True):
        raise _under_way(model_choice.offered(redis))
    _note(redis, choice, time.time())


def follow(
    redis: Redis,
    choice: ModelChoice,
    workers: Callable[[], Collection[str]],
    told: Callable[[str, SwitchOutcome], None],
    stopping: threading.Event | None = None,
) -> dict[str, SwitchOutcome]:
    """Go on offering what `begin` has, until every worker has told what became of it, or there
    is no hope. `workers` are the names of those that there are; `told` hears of each.

    Once a first worker runs it, it is the choice. Raises RedisError, and what `workers` raises.
    """
    began_s, problem = time.time(), "it was interrupted"
    stopping = stopping or threading.Event()
    try:
        found = _followed(redis, choice, workers, told, stopping)
        problem = "" if found is not None else "the process that drove it was stopped"
        return found or {}
    except Exception as error:
        problem = str(error) or type(error).__name__
        raise
    finally:
        with suppress(RedisError):
            if _is_last(redis, choice):
                _note(redis, choice, began_s, ended=True, problem=problem)
        with suppress(RedisError):
            offered = model_choice.offered(redis)
            if offered is not None and offered.id == choice.id:
                model_choice.withdraw(redis)


def last(redis: Redis) -> Rollout | None:
    """The last rollout, where there was one lately. Raises RedisError."""
    (text,) = redis.mget(ROLLOUT)
    said, choice = model_choice.written(text), model_choice.choice_in(text)
    began_s = said.get("began_unix_s") if said else None
    if said is None or choice is None or not isinstance(began_s, int | float):
        return None
    offered = model_choice.offered(redis)
    going = offered is not None and offered.id == choice.id
    ended = said.get("ended") is True
    return Rollout(
        choice.name, choice.version, float(began_s),
        state="done" if ended and not said.get("problem") else
        "running" if going and not ended else "interrupted",
        problem=str(said.get("problem") or ""),
        outcomes=model_choice.outcomes(redis, choice),
    )  # fmt: skip


def _followed(
    redis: Redis, choice: ModelChoice, workers: Callable[[], Collection[str]],
    told: Callable[[str, SwitchOutcome], None], stopping: threading.Event,
) -> dict[str, SwitchOutcome] | None:  # fmt: skip
    """What became of it at each worker; None when it was stopped."""
    heard: dict[str, SwitchOutcome] = {}
    #: Workers that were seen to load it.
    loading: set[str] = set()
    kept = False
    news_s = time.monotonic()

    def give_up(worker: str, problem: str) -> None:
        heard[worker] = SwitchOutcome(problem)
        model_choice.tell(redis, choice, worker, heard[worker])
        told(worker, heard[worker])

    while not stopping.is_set():
        offered = model_choice.offered(redis)
        if offered is not None and offered.id != choice.id:  # this process stood still too long
            raise _under_way(offered)
        model_choice.offer(redis, choice)
        loading.add(model_choice.holder(redis))
        found = model_choice.outcomes(redis, choice)
        there = set(workers())
        for worker, outcome in sorted(found.items()):
            if worker not in heard:
                heard[worker], news_s = outcome, time.monotonic()
                told(worker, outcome)
        if not kept and any(not outcome.problem for outcome in heard.values()):
            model_choice.choose(redis, choice)
            kept = True
        left = there - heard.keys()
        ended = loading - there - heard.keys() - {""}
        if ended:  # others would end over it as well
            given_up, why = ended, "ended while it loaded it: the others are spared"
        elif time.monotonic() - news_s > NEWS_S:
            given_up, why = left, f"did not answer within {NEWS_S:g} s"
        elif left:
            stopping.wait(LOOK_S)
            continue
        else:
            return heard
        for worker in sorted(given_up):
            give_up(worker, why)
        for worker in sorted(left - given_up):
            give_up(worker, "was not asked")
        return heard
    return None


def _is_last(redis: Redis, choice: ModelChoice) -> bool:
    """Whether no other has begun since."""
    (text,) = redis.mget(ROLLOUT)
    noted = model_choice.choice_in(text)
    return noted is None or noted.id == choice.id


def _under_way(offered: ModelChoice | None) -> SwitchUnderWay:
    name = (offered.name if offered else "") or "the model of their settings"
    return SwitchUnderWay(
        f"workers are being switched to {name} at this moment; try again when that has ended, or "
        f"{model_choice.OFFER_S} s after whoever did it was killed"
    )


def _note(
    redis: Redis, choice: ModelChoice, began_s: float, *, ended: bool = False, problem: str = ""
) -> None:
    said = asdict(choice) | {
        "began_unix_s": began_s,
        "ended": ended,
        "problem": problem[: model_choice.REASON_MAX],
    }
    redis.set(ROLLOUT, json.dumps(said), ex=ROLLOUT_S)


def _text(choice: ModelChoice) -> str:
    return json.dumps(asdict(choice))
