"""`damoscope watcher`: evaluates the alert rules, sends notices, and the scheduled report.

Two things go on at the same time, so that a slow mail server keeps no alert waiting: a thread
evaluates the rules, unless Prometheus does; the main thread runs the queue of notices. Any
number of watchers may run: one evaluates at a time, and a job is run by one of them.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

from redis import Redis
from redis.exceptions import RedisError
from rq.cron import CronScheduler

from monitoring.alerts.evaluator import Evaluator
from monitoring.notify.channels import Channels, Kinds
from monitoring.notify.queue import enqueue
from monitoring.notify.schedule import report_job, scheduler
from monitoring.notify.worker import NoticeWorker
from monitoring.stores.selection import open_readers
from pipeline.complaints import complaints
from pipeline.connection import connect, passing
from pipeline.liveness import Liveness, forget
from pipeline.settings import Settings

log = logging.getLogger("damoscope.watcher")

#: Seconds between two evaluations of the rules.
EVALUATE_S = 5.0
#: Seconds that the queue is waited on at a time: a stop signal is heeded no later.
WAIT_S = 1
#: Seconds for an evaluation, and for a step of the queue beside what its job may take, beyond which
#: the watcher hangs: within, a Redis that does not answer is waited for, several times.
EVALUATION_S = QUEUE_S = 90.0
#: Seconds between two complaints, and between signs of life of the schedule.
COMPLAIN_S, SCHEDULE_BEAT_S = 60.0, 15.0


def run(settings: Settings) -> None:
    """Watch until SIGTERM or SIGINT. Raises ConfigurationError when a setting cannot be used."""
    os.environ["TZ"] = "UTC"  # in which schedules are read, and times written
    time.tzset()
    forget(settings.heartbeat_file)
    with ExitStack() as opened:
        kinds = Channels(settings).kinds
        report = report_job(settings)
        redis = opened.enter_context(closing(connect(settings)))
        liveness = Liveness(settings.heartbeat_file)
        watcher = Watcher(redis, scheduler(redis, report) if kinds else None, liveness)
        if settings.prometheus_url is None:
            opened.enter_context(_evaluating(settings, redis, watcher.stopping, liveness))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, watcher.stop)
        log.info("watching; notifications go to %s", ", ".join(kinds) or "nobody: none are set")
        liveness.start()
        opened.callback(liveness.close)
        watcher.run()


class Watcher:
    """The main thread: the queue of notices and the schedule. `stopping` ends it."""

    def __init__(self, redis: Redis, schedule: CronScheduler | None, liveness: Liveness) -> None:
        self.stopping = threading.Event()
        self._redis, self._schedule = redis, schedule
        self._worker: NoticeWorker | None = None
        self._complained_at = -COMPLAIN_S
        self._beat_at = 0.0
        self._alive = liveness.watch("the queue of notices", QUEUE_S)

    def stop(self, *_: object) -> None:
        """What signals call: the job in hand has a second left."""
        self.stopping.set()
        if self._worker is not None:
            self._worker.stop_soon()

    def run(self) -> None:
        """Work until `stop`; wait for Redis whenever it is away."""
        while not self.stopping.is_set():
            self._alive()
            try:
                self._worker = self._worker or NoticeWorker(self._redis, self._alive)
                while not self.stopping.is_set():
                    self._alive()
                    self._attempt_schedule()
                    self._worker.step(WAIT_S)
            except Exception as error:  # a job that somebody damaged must not end the watcher
                if isinstance(error, (RedisError, OSError)) and passing(error):
                    complaints.of_redis(log, error, then="trying until it does")
                else:
                    self._complain("a job cannot be read", error)
                    self._mend()
                self.stopping.wait(1.0)
        self._leave()

    def _attempt_schedule(self) -> None:
        """Its record in Redis may be damaged: notices are sent all the same."""
        try:
            self._keep_schedule()
        except Exception as error:
            if passing(error):
                raise
            self._complain("the schedule cannot be kept", error)

    def _keep_schedule(self) -> None:
        if self._schedule is None:
            return
        enqueued = self._schedule.enqueue_jobs()
        now = time.monotonic()
        if not self._beat_at:
            self._schedule.register_birth()
        elif enqueued:
            self._schedule.save()
        elif now - self._beat_at < SCHEDULE_BEAT_S:
            return
        self._schedule.heartbeat()
        self._beat_at = now

    def _mend(self) -> None:
        try:
            if self._worker is not None:
                self._worker.run_maintenance_tasks()
        except Exception as error:
            self._complain("the queue of notices cannot be mended", error)

    def _complain(self, what: str, error: Exception | None = None) -> None:
        if time.monotonic() - self._complained_at >= COMPLAIN_S:
            log.warning(what, exc_info=error)
            self._complained_at = time.monotonic()

    def _leave(self) -> None:
        with suppress(RedisError, OSError):  # the registrations expire by themselves
            if self._worker is not None:
                self._worker.register_death()
            if self._schedule is not None:
                self._schedule.register_death()


@contextmanager
def _evaluating(
    settings: Settings, redis: Redis, stopping: threading.Event, liveness: Liveness
) -> Iterator[None]:
    """Evaluate the rules in a thread for as long as this lasts."""
    with ExitStack() as opened:
        stores = open_readers(settings)
        opened.callback(stores.close)
        evaluator = Evaluator(
            settings, stores.metrics, stores.traces, redis, lambda notice: enqueue(redis, notice),
            Kinds(settings),
        )  # fmt: skip

        alive = liveness.watch("the evaluation of the rules", EVALUATION_S)

        def evaluate() -> None:
            while not stopping.wait(EVALUATE_S):
                alive()
                evaluator.tick()

        thread = threading.Thread(target=evaluate, name="evaluation", daemon=True)
        thread.start()
        opened.callback(evaluator.close)
        opened.callback(thread.join, 2.0)
        opened.callback(stopping.set)
        yield
