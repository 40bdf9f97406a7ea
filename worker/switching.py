"""A worker's change from one model to another, while images go on being answered.

The new one is loaded and warmed up by a thread of its own, beside the one that runs, and taken
between two batches. One worker at a time does so; what goes wrong leaves the old one running.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from redis import Redis
from redis.exceptions import LockError
from redis.lock import Lock

from models.errors import ModelStoreError
from models.store import Store
from pipeline.errors import ModelError
from pipeline.queue import model_choice
from pipeline.queue.model_choice import ModelChoice, SwitchOutcome
from pipeline.queue.start_failures import reason
from pipeline.settings import Settings
from worker.model.session import Detector

log = logging.getLogger("damoscope.worker")

#: Seconds that loading a model may take; then the old one stays.
LOAD_S = 180.0


class _Load:
    """A model that is being loaded, in a thread of its own."""

    def __init__(self, settings: Settings, choice: ModelChoice, lease: Lock) -> None:
        self.choice, self.lease = choice, lease
        self.detector: Detector | None = None
        self.problem = ""
        self.began_s = time.monotonic()
        self._settings = settings
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether there is a detector, or a problem."""
        if self._thread.is_alive() and time.monotonic() - self.began_s > LOAD_S:
            self.problem = f"it took longer than {LOAD_S:g} s to load"
            return True
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.detector = chosen_detector(self._settings, self.choice)
        except BaseException as error:  # whatever it is, it is told to who offered the model
            self.problem = reason(error)


class ModelSwitch:
    """Follows what is offered and chosen in Redis. `follow` is called with each heartbeat."""

    def __init__(self, settings: Settings, redis: Redis, worker: str, detector: Detector,
                 adopt: Callable[[Detector], None]) -> None:  # fmt: skip
        self._settings, self._redis, self._worker = settings, redis, worker
        self._detector, self._adopt = detector, adopt
        #: Of what was tried last, whatever became of it.
        self._tried = ""
        self._load: _Load | None = None
        #: What is yet to be told.
        self._ended: tuple[ModelChoice, SwitchOutcome] | None = None

    def follow(self) -> None:
        """One step. Raises RedisError; the next call goes on."""
        if self._ended is None and self._load is None:
            self._look()
        if self._load is not None:
            self._go_on(self._load)
        if self._ended is not None:
            choice, outcome = self._ended
            model_choice.tell(self._redis, choice, self._worker, outcome)
            self._ended = None

    def _look(self) -> None:
        choice = model_choice.wanted(self._redis)
        if choice is None or choice.id == self._tried:
            return
        if _runs(self._detector, choice):
            self._tried, self._ended = choice.id, (choice, SwitchOutcome())
            return
        lease = model_choice.lease(self._redis)
        if lease.acquire(token=self._worker):
            self._tried = choice.id
            log.info("model %s is being loaded, beside the one that runs", _called(choice))
            self._load = _Load(self._settings, choice, lease)

    def _go_on(self, load: _Load) -> None:
        if not load.ended:
            with suppress(LockError):  # Redis has lost it: what is loaded is loaded all the same
                load.lease.reacquire()
            return
        self._load, detector = None, None if load.problem else load.detector
        self._ended = load.choice, SwitchOutcome(load.problem)
        if detector is None:
            log.error("model %s is not taken: %s", _called(load.choice), load.problem)
        else:
            self._detector = detector
            self._adopt(detector)
            log.info("from now on: %s %s", detector.spec.name, detector.spec.version)
        with suppress(LockError):
            load.lease.release()


def chosen_detector(settings: Settings, choice: ModelChoice) -> Detector:
    """The model of a choice, loaded. Raises ModelError, ConfigurationError or ModelStoreError."""
    if not choice.name:
        return Detector(settings)
    try:
        source = Store(settings.models_folder).named(choice.name)
    except ModelStoreError as error:
        raise ModelError(f"{choice.name}: {error}") from error
    detector = Detector(settings, source)
    if detector.spec.version != choice.version:
        raise ModelError(
            f"{choice.name} is version {detector.spec.version} here, not {choice.version}: install "
            "the same file on this host"
        )
    return detector


def served_detector(settings: Settings) -> Detector:
    """The model that images ask for by its name, or, where the worker takes the others, that of its
    settings. Raises ModelError or ConfigurationError."""
    if settings.serves is None:
        return Detector(settings)
    try:
        source = Store(settings.models_folder).named(settings.serves)
    except ModelStoreError as error:
        raise ModelError(f"DAMOSCOPE_SERVES={settings.serves}: {error}") from error
    return Detector(settings, source)


def first_detector(settings: Settings, redis: Redis, limit_s: float) -> Detector:
    """What a worker starts with: the chosen model if it can be had here, else that of its settings.
    One that serves a model has no choice.

    Redis may be away: then the choice is followed once it is back. Raises ModelError or
    ConfigurationError.
    """
    if settings.serves is not None:
        return served_detector(settings)
    found: list[ModelChoice | None] = []

    def ask() -> None:
        with suppress(Exception):
            found.append(model_choice.chosen(redis))

    asking = threading.Thread(target=ask, name="choice", daemon=True)
    asking.start()
    asking.join(limit_s)
    choice = found[0] if found else None
    if choice is None or not choice.name:
        return Detector(settings)
    try:
        detector = chosen_detector(settings, choice)
    except Exception as error:
        log.error(
            "model %s, chosen by `damoscope model use`, cannot be used here: %s; the one of "
            "DAMOSCOPE_MODEL runs", _called(choice), reason(error),
        )  # fmt: skip
        return Detector(settings)
    if settings.model != Path(choice.name):
        log.warning(
            "model %s runs, chosen by `damoscope model use`, in place of DAMOSCOPE_MODEL=%s; "
            "`damoscope model use --reset` takes that back", _called(choice), settings.model,
        )  # fmt: skip
    return detector


def _runs(detector: Detector, choice: ModelChoice) -> bool:
    if not choice.name:
        return detector.configured
    return (detector.spec.name, detector.spec.version) == (choice.name, choice.version)


def _called(choice: ModelChoice) -> str:
    return f"{choice.name} {choice.version}" if choice.name else "of the settings"
