"""Workers switched to another model from here, by a thread of this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from redis.exceptions import RedisError

from frontend.status import Snapshot
from models.errors import ModelStoreError
from models.store import Store
from pipeline.connection import connect, explain
from pipeline.errors import InvalidParameter, Unavailable
from pipeline.queue import model_choice, model_rollout, shadow
from pipeline.queue.model_choice import ModelChoice, SwitchOutcome
from pipeline.queue.model_rollout import Rollout
from pipeline.queue.pools import DEFAULT
from pipeline.queue.shadow import ShadowReport
from pipeline.settings import Settings

log = logging.getLogger("damoscope.frontend")

T = TypeVar("T")

#: Seconds that the end of the process waits for a rollout to stop, between two looks at Redis.
STOP_S = 5.0


class Rollouts:
    """Begins rollouts, and knows of the last one, whoever began it. Its methods block: call them
    from a thread. They raise Unavailable when Redis is away."""

    def __init__(self, settings: Settings, snapshot: Callable[[], Snapshot]) -> None:
        self.store = Store(settings.models_folder)
        self._redis, self._snapshot = connect(settings), snapshot
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Stop a rollout that goes on: workers that have the new model keep it."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_S)
        self._redis.close()

    def last(self) -> Rollout | None:
        """The last one, where there was one lately."""
        return _asked(lambda: model_rollout.last(self._redis))

    def chosen(self) -> ModelChoice | None:
        """What workers start with, where somebody has chosen."""
        return _asked(lambda: model_choice.chosen(self._redis))

    def shadows(self) -> list[ShadowReport]:
        """How models have done that look at what others have answered."""
        pools = self._snapshot().pools
        found = _asked(lambda: [shadow.report(self._redis, pool) for pool in pools])
        return [each for each in found if each is not None]

    def begin(self, name: str | None, who: str) -> None:
        """Have workers run a model by its name, or again that of their own settings.

        Raises InvalidParameter where there is none of that name, or it is damaged, and
        SwitchUnderWay.
        """
        try:
            choice = model_rollout.choice_of(self.store, name)
        except ModelStoreError as error:
            raise InvalidParameter(f"name={name!r}: {error}") from error
        if not self._workers():
            raise Unavailable("no worker is ready")
        _asked(lambda: model_rollout.begin(self._redis, choice))
        log.warning("%r has workers run model %s", who, _called(choice))
        self._thread = threading.Thread(
            target=self._follow, args=(choice,), name="rollout", daemon=True
        )
        self._thread.start()

    def _follow(self, choice: ModelChoice) -> None:
        try:
            model_rollout.follow(self._redis, choice, self._workers, _log, self._stopping)
        except Exception as error:  # the page and the API say that it was interrupted
            log.error("switching workers to model %s was interrupted: %s", _called(choice), error)

    def _workers(self) -> set[str]:
        snapshot = self._snapshot()
        if snapshot.problem:
            raise Unavailable(snapshot.problem)
        # Those that serve a model which images ask for keep it.
        return {worker.name for worker in snapshot.workers_of(DEFAULT)}


def _log(worker: str, outcome: SwitchOutcome) -> None:
    if outcome.problem:
        log.error("worker %s did not take the model: %s", worker, outcome.problem)
    else:
        log.info("worker %s runs the model", worker)


def _called(choice: ModelChoice) -> str:
    return f"{choice.name} {choice.version}" if choice.name else "of their settings"


def _asked(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except (RedisError, OSError) as error:
        raise Unavailable(explain(error)) from error
