"""`damoscope model use`: running workers take another model, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.exceptions import RedisError

from models.store import Store
from pipeline.connection import connect, explain, with_redis
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.queue import model_choice, model_rollout
from pipeline.queue.model_choice import ModelChoice
from pipeline.queue.pools import DEFAULT
from pipeline.queue.workers import WorkerState
from pipeline.settings import Settings
from run.models.running import running


def use(settings: Settings, name: str | None) -> bool:
    """Have workers run a model by its name, or again that of their own settings.

    Prints what became of each worker. Returns whether all of them run it.
    Raises ModelStoreError, ConfigurationError, SwitchUnderWay while another goes on, and
    Unavailable when Redis or workers are away.
    """
    choice = model_rollout.choice_of(Store(settings.models_folder), name)
    reached = with_redis(settings)
    if reached is None:
        raise ConfigurationError(
            "no service runs in this data folder, and REDIS_URL is not set: nobody is there to "
            f"switch. DAMOSCOPE_MODEL={name or 'NAME'} says what one starts with"
        )
    with _redis(reached) as redis:
        keep = [worker for worker in _workers(reached) if worker.pool != DEFAULT]
        if not _switched(reached):
            raise Unavailable("no worker is ready: start one, then try again")
        former = model_choice.chosen(redis)
        model_rollout.begin(redis, choice)
        outcomes = model_rollout.follow(
            redis,
            choice,
            lambda: _switched(reached),
            lambda worker, outcome: print(f"{worker}: {outcome.problem or 'runs it'}", flush=True),
        )
        went_well = sum(not outcome.problem for outcome in outcomes.values())
        whole = went_well == len(outcomes)
        _say(choice, former, went_well, len(outcomes))
        if keep:
            models = ", ".join(sorted({worker.pool.model for worker in keep}))
            print(f"Left alone: workers that serve a model of their own ({models}).")
        return whole


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


def _switched(settings: Settings) -> set[str]:
    """Names of the workers that are switched: those that serve a model which images ask for by its
    name keep it."""
    return {worker.name for worker in _workers(settings) if worker.pool == DEFAULT}


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
