"""`damoscope model use`: running workers take another model, one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis import Redis
from redis.exceptions import RedisError

from models.store import VERSION_DIGITS, Store, sha256_of
from pipeline.connection import connect, explain, with_redis
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.queue import model_choice
from pipeline.queue.model_choice import ModelChoice, SwitchOutcome
from pipeline.queue.workers import WorkerState
from pipeline.settings import Settings
from run.models.running import running

#: Seconds between looks, and without any news after which the command gives up. Loading a model may
#: take a worker three minutes.
LOOK_S, NEWS_S = 0.5, 240.0


def use(settings: Settings, name: str | None) -> bool:
    """Have workers run a model by its name, or again that of their own settings.

    Prints what became of each worker. Returns whether all of them run it.
    Raises ModelStoreError, ConfigurationError, and Unavailable when Redis or workers are away.
    """
    choice = _choice(settings, name)
    reached = with_redis(settings)
    if reached is None:
        raise ConfigurationError(
            "no service runs in this data folder, and REDIS_URL is not set: nobody is there to "
            f"switch. DAMOSCOPE_MODEL={name or 'NAME'} says what one starts with"
        )
    with _redis(reached) as redis:
        before = _workers(reached)
        if not before:
            raise Unavailable("no worker is ready: start one, then try again")
        former = model_choice.chosen(redis)
        outcomes = _rollout(redis, reached, choice)
        went_well = sum(not outcome.problem for outcome in outcomes.values())
        whole = went_well == len(outcomes)
        _say(choice, former, went_well, len(outcomes))
        return whole


def _choice(settings: Settings, name: str | None) -> ModelChoice:
    if name is None:
        return ModelChoice.of("", "")
    source = Store(settings.models_folder).named(name)
    if source.installed is not None:
        source.installed.verify()
        return ModelChoice.of(name, source.installed.version)
    return ModelChoice.of(name, sha256_of(source.file)[:VERSION_DIGITS])


def _rollout(redis: Redis, settings: Settings, choice: ModelChoice) -> dict[str, SwitchOutcome]:
    """Offer it until every worker that there is has told what became of it."""
    told: dict[str, SwitchOutcome] = {}
    #: Workers that were seen to load it.
    loading: set[str] = set()
    kept = False
    news_s = time.monotonic()
    try:
        while True:
            model_choice.offer(redis, choice)
            loading.add(model_choice.holder(redis))
            found = model_choice.outcomes(redis, choice)
            there = {worker.name for worker in _workers(settings)}
            for worker, outcome in sorted(found.items()):
                if worker not in told:
                    told[worker], news_s = outcome, time.monotonic()
                    print(f"{worker}: {outcome.problem or 'runs it'}", flush=True)
            if not kept and any(not outcome.problem for outcome in told.values()):
                model_choice.choose(redis, choice)
                kept = True
            left = there - told.keys()
            ended = loading - there - told.keys() - {""}
            if ended:  # others would end over it as well
                given_up = dict.fromkeys(ended, "ended while it loaded it: the others are spared")
            elif time.monotonic() - news_s > NEWS_S:
                given_up = dict.fromkeys(left, f"did not answer within {NEWS_S:g} s")
            elif left:
                time.sleep(LOOK_S)
                continue
            else:
                given_up = {}
            for worker, problem in sorted(given_up.items()):
                told[worker] = SwitchOutcome(problem)
                print(f"{worker}: {problem}", flush=True)
            for worker in sorted(left - given_up.keys()):
                told[worker] = SwitchOutcome("was not asked")
            return told
    finally:
        with suppress(RedisError):
            model_choice.withdraw(redis)


def _say(choice: ModelChoice, former: ModelChoice | None, well: int, of: int) -> None:
    what = f"{choice.name} {choice.version}" if choice.name else "the model of their settings"
    print(f"{well} of {of} worker{'' if of == 1 else 's'} {'runs' if well == 1 else 'run'} {what}.")
    if not well:
        print("Nothing has changed: workers run, and start with, what they did before.")
        return
    back = f"damoscope model use {former.name}" if former and former.name else None
    print(
        "Workers that start run it too. Back again: " + (back or "damoscope model use --reset")
        if choice.name
        else "Workers that start run that of their own settings, too."
    )


def _workers(settings: Settings) -> tuple[WorkerState, ...]:
    workers, problem = running(settings)
    if problem:
        raise Unavailable(problem)
    return workers


@contextmanager
def _redis(settings: Settings) -> Iterator[Redis]:
    """What Redis does not do is Unavailable, in words of ours."""
    with connect(settings) as redis:
        try:
            yield redis
        except (RedisError, OSError) as error:
            raise Unavailable(explain(error)) from error
