"""The worker's loop: take a batch, run its stages, answer, and begin again.

RQ's worker keeps the registration that `rq info` shows; its job-by-job loop is replaced, because
its bookkeeping costs more than an inference (rq issue 928).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from uuid import uuid4

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq.suspension import is_suspended
from rq.worker import BaseWorker

from pipeline.complaints import complaints
from pipeline.connection import REPLY_TIMEOUT_S, passing
from pipeline.errors import Cancelled, DamoscopeError
from pipeline.liveness import STALLED_EXIT_CODE, Liveness
from pipeline.queue.consumer import Consumer, Stored, TakenJob
from pipeline.queue.malformed import Kind
from pipeline.queue.pools import Pool, announce
from pipeline.queue.workers import LAST_FACT, facts
from pipeline.settings import Settings
from telemetry.setup import Telemetry
from worker import tiled
from worker.batch import BatchItem
from worker.model.session import Detector
from worker.pace import Pace
from worker.pictures import Pictures
from worker.shadowing import Shadowing, ShadowRuns
from worker.stages import Stages
from worker.switching import ModelSwitch
from worker.taking import TakenBatch, Taking
from worker.trace import WorkerTrace
from worker.watchdog import Watchdog

log = logging.getLogger("damoscope.worker")

#: Seconds between heartbeats; many must fit into pipeline.queue.LEASE_S. With each, what silent
#: workers held is looked for: so much later than its lease it is found.
HEARTBEAT_S = 1.0
#: Heartbeats between looks for what is none of ours, and for what has outlived its time.
MEND_BEATS, CLEAN_BEATS = 10, 60
#: Seconds without a heartbeat, and without a turn of the loop beside what its batch may take, after
#: which the process ends: within, a Redis that does not answer is waited for, several times.
HEARTBEAT_STALLED_S, LOOP_STALLED_S = 90.0, 120.0
#: Seconds after the last heartbeat at which a worker counts as gone.
WORKER_TTL_S = 12
#: Tries, one a second, to store a batch's outcomes while Redis is away or refuses.
FINISH_TRIES = 120
#: Seconds that a worker waits after it could not take images, for no reason that it knows.
PAUSE_S = 1.0

LOST_REDIS = (RedisConnectionError, RedisTimeoutError)


class BatchWorker(BaseWorker):
    """A resident worker with a loaded model. `work` returns after a stop signal."""

    def __init__(self, settings: Settings, detector: Detector, telemetry: Telemetry,
                 connection: Redis) -> None:  # fmt: skip
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:4]}"
        self._pool = Pool(settings.serves or "")
        queues = list(self._pool.queues.values())
        super().__init__(queues, name=name, connection=connection, serializer="json")
        self._settings = settings
        self._instruments = telemetry.instruments
        self._consumer = Consumer(
            connection, name, result_ttl_s=settings.result_ttl_s, tally=self._refused,
            pool=self._pool,
        )  # fmt: skip
        spec = detector.spec
        self._trace = WorkerTrace(
            telemetry, worker=name, queue=self._pool.name, model=spec.name,
            version=spec.version, provider=detector.provider,
        )  # fmt: skip
        self._stopping = threading.Event()
        self._in_hand: dict[str, TakenJob] = {}
        self._pictures = Pictures(settings, connection, self._refused)
        self._shadowing = Shadowing(settings, connection, self._consumer, telemetry)
        self._shadow_runs = ShadowRuns(connection, self._pool, self._consumer, telemetry)
        self._stages = Stages(
            detector, settings.inference_threads,
            keep_encoded=lambda item: self._pictures.whole or self._shadowing.wants(item),
        )  # fmt: skip
        #: What the registration in Redis says that runs.
        self._said: Detector | None = None
        self._switch = ModelSwitch(settings, connection, name, detector, self._adopt)
        self._watchdog = Watchdog(detector)
        self._liveness = Liveness(settings.heartbeat_file)
        self._loop_moves = self._liveness.watch("the loop", LOOP_STALLED_S)
        self._heart_beats = self._liveness.watch("the heartbeat", HEARTBEAT_STALLED_S)
        self._pace = Pace()
        self._taking = Taking(
            settings, self._consumer, self._in_hand, self._stopping, lambda: self._stages,
            self._run_shadow,
        )  # fmt: skip
        self._asked_to_stop = False

    @property
    def connection_timeout(self) -> int:
        """Seconds in which Redis must answer, which RQ asks for. Its own are seven minutes, as its
        waits for a job need: so long a host that is gone would not be missed."""
        return REPLY_TIMEOUT_S

    # -- life -----------------------------------------------------------------------------

    def work(self, *_: object, **__: object) -> bool:
        """Work until SIGTERM or SIGINT; what is in hand is finished first.

        Returns whether that came. If not, a decoder was left behind at work: the process is to
        begin anew.
        """
        self._install_signal_handlers()
        # Only once Redis answers; where it refuses, images may be taken all the same, and the
        # heartbeat sees to the registration.
        self._until_redis_answers(lambda: self._attempt("registration", self._keep_registered))
        beating = threading.Thread(target=self._keep_beating, name="heartbeat", daemon=True)
        beating.start()
        self._watchdog.start()
        self._pictures.start()
        self._shadowing.start()
        self._liveness.start()
        try:
            self._loop()
        finally:
            self._stopping.set()
            self._stages.close()
            self._pictures.close()
            self._shadowing.close()
            beating.join(HEARTBEAT_S)
            self._watchdog.close()
            self._liveness.close()
            # Back within seconds, it counts as ready meanwhile; its registration expires.
            if self._asked_to_stop or not self._stages.stalled:
                self._say_goodbye()
        return self._asked_to_stop

    def announce(self) -> None:
        """Say that the model which images ask for has a worker. Raises RedisError, and
        ConfigurationError where too many have."""
        announce(self.connection, self._pool, self._consumer.redis_ns() / 1e9)

    def _say_goodbye(self) -> None:
        try:
            self.register_death()
        except RedisError:
            log.warning("Redis is away: this worker's registration will expire by itself")

    @property
    def stalled(self) -> bool:
        """Whether a decoder was left behind that may be at work still."""
        return self._stages.stalled

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Finish what is in hand, then stop. (RQ calls this name on its signals.)"""
        self._asked_to_stop = True
        self._stopping.set()

    def _install_signal_handlers(self) -> None:
        signal.signal(signal.SIGINT, self.request_stop)
        signal.signal(signal.SIGTERM, self.request_stop)

    def _registered(self) -> bool:
        """Whether Redis has this worker's registration: it may have lost it, or cut us off."""
        pipe = self.connection.pipeline(transaction=False)
        pipe.hexists(self.key, LAST_FACT)
        pipe.sismember(self._pool.workers_key, self.key)
        # What is of another type is no registration, and an error that is not heeded here.
        return list(pipe.execute(raise_on_error=False)) == [1, 1]

    def _register(self) -> None:
        self.connection.delete(self.key)  # RQ refuses to register over what is left of one
        self.register_birth()
        self._say_what_runs(state="idle")

    def _say_what_runs(self, **more: str | float) -> None:
        detector = self._stages.detector
        spec = detector.spec
        said = facts(
            model=spec.name,
            model_version=spec.version,
            provider=detector.provider,
            fallback=detector.fallback,
            labels=spec.labels,
            score_threshold=detector.score_threshold,
            iou_threshold=detector.iou_threshold,
            input_side=max(spec.width, spec.height),
        )
        # The last fact last: where it is, the registration is whole.
        self.connection.hset(self.key, mapping=more | said)  # type: ignore[arg-type]
        self._said = detector

    def _adopt(self, detector: Detector) -> None:
        """Take another model from the next batch on; those that are prepared keep theirs."""
        self._stages = self._stages.with_detector(detector)
        self._attempt("registration", self._say_what_runs)

    def _until_redis_answers(self, action: Callable[[], object]) -> None:
        while not self._stopping.is_set():
            self._loop_moves()
            try:
                action()
                return
            except RedisError as error:
                complaints.of_redis(log, error, then="trying until it does")
                self._stopping.wait(1.0)

    # -- the heartbeat thread -------------------------------------------------------------

    def _keep_beating(self) -> None:
        """Beat until the worker stops. If that ends otherwise, so does the process: others would
        take its images for abandoned, and it would work on them in vain."""
        try:
            self._beat()
        except BaseException:
            log.critical("the heartbeat has ended: this process ends", exc_info=True)
            os._exit(STALLED_EXIT_CODE)

    def _beat(self) -> None:
        beats = 0
        while not self._stopping.is_set() or self._in_hand:
            self._heart_beats()
            try:
                self._beat_once(beats)
            except LOST_REDIS as error:
                complaints.of_redis(log, error, then="trying until it does")
            beats += 1
            # Once it stops, only until the batch in hand is done.
            if self._stopping.wait(HEARTBEAT_S):
                time.sleep(0.1)

    def _beat_once(self, beats: int) -> None:
        """Raises LOST_REDIS: the other steps would only wait for it as well."""
        self._attempt("heartbeat", self._keep_leases)
        self._attempt("registration", self._keep_registered)
        self._attempt("announcing", self.announce)  # which takes memory that Redis may refuse
        self._attempt("recovery", self._recover)
        self._attempt("suspension", self._look_whether_suspended)
        if not self._stopping.is_set() and not self._pool.model:  # whoever asks for one gets it
            self._attempt("switching models", self._switch.follow)
        if beats % MEND_BEATS == 0:
            self._attempt("mending", self._consumer.mend)
        if beats % CLEAN_BEATS == 0:
            self._attempt("cleaning", self._clean_registries)

    def _attempt(self, what: str, step: Callable[[], object]) -> None:
        """One step of the heartbeat; what happens in one must not keep the others from coming.

        Raises LOST_REDIS only.
        """
        try:
            step()
        except LOST_REDIS:
            raise
        except Exception as error:
            self._complain(what, error)

    def _complain(self, what: str, error: Exception) -> None:
        """Once a minute for each cause. Redis' refusals are one line."""
        if isinstance(error, RedisError):
            complaints.of_redis(log, error, what)
        elif complaints.due(what):
            log.error("%s failed", what, exc_info=error)

    def _refused(self, kind: Kind, count: int) -> None:
        """Count what stands in Redis and is none of ours."""
        self._instruments.malformed(kind, count)
        if complaints.due(kind):
            log.warning("%d malformed entries (%s) in Redis are refused", count, kind)

    def _keep_leases(self) -> None:
        self._consumer.heartbeat(list(self._in_hand.values()))

    def _keep_registered(self) -> None:
        if not self._registered():
            self._consumer.mend()  # what stands in its way
            self._register()
        elif self._said is not self._stages.detector:
            self._say_what_runs()
        pipe = self.connection.pipeline(transaction=False)
        self.heartbeat(WORKER_TTL_S, pipeline=pipe)
        # RQ's first command needs memory, which a full Redis refuses; those after it do not.
        for answer in pipe.execute(raise_on_error=False):
            if isinstance(answer, Exception):
                raise answer

    def _look_whether_suspended(self) -> None:
        self._taking.suspended = is_suspended(self.connection)

    def _clean_registries(self) -> None:
        """As RQ does, but by Redis' clock: by another, what others keep would be too old."""
        now_s = self._consumer.redis_ns() / 1e9
        for queue in self.queues:
            for registry in (queue.finished_job_registry, queue.failed_job_registry):
                registry.cleanup(now_s)

    def _recover(self) -> None:
        back, failed = self._consumer.recover()
        if back:
            log.warning("%d image(s) of a silent worker are queued again", back)
        if failed:
            log.error("%d image(s) failed: every worker that took them died", failed)

    # -- the loop -------------------------------------------------------------------------

    def _loop(self) -> None:
        with self._taking:
            while True:
                self._loop_moves(self._watchdog.most_s)
                try:
                    if self._stages.stalled and not self._stopping.is_set():
                        log.warning("an image took too long to decode: this worker begins anew")
                        self._stopping.set()
                    batch = self._taking.next()
                    if batch is None:
                        return
                    if batch.items:
                        # Nothing waits behind a lone image, and looking would take a core from it.
                        if not batch.items[0].taken.alone:
                            self._taking.begin_ahead(batch)
                        self._run(batch)
                except LOST_REDIS as error:
                    complaints.of_redis(log, error, then="trying until it does")
                    self._until_redis_answers(self.connection.ping)
                except Exception as error:  # whatever it is, the next image must be taken
                    self._complain("taking images", error)
                    self._attempt("mending", self._consumer.mend)
                    self._stopping.wait(PAUSE_S)

    def _run(self, batch: TakenBatch) -> None:
        """One batch. Of several images, those that are to be looked at in tiles have their turn
        after the others, one by one."""
        if len(batch.items) == 1 and batch.items[0].tiled:
            self._run_tiled(batch)
        else:
            self._run_together(self._taking.put_off_tiled(batch))

    def _run_tiled(self, batch: TakenBatch) -> None:
        """One image in tiles; then its answer; then telemetry. Between two calls others have
        their turn, as they come: one batch of them."""
        (item,), stages = batch.items, batch.stages
        started = time.perf_counter()
        tiled.run(
            item, stages, self._consumer,
            begins=lambda: self._call_begins(stages),
            ran=lambda tiles: self._worked(batch.items, tiles),
            others=lambda: self._run_others(batch),
        )  # fmt: skip
        self._watchdog.began_s = None
        self._answer(batch, time.perf_counter() - started)

    def _run_others(self, batch: TakenBatch) -> None:
        """Run what came while tiles are worked on. While further images that are to be looked at in
        tiles wait for their turn, no more are taken."""
        try:
            if (others := self._taking.come()) is not None:
                self._run_together(self._taking.put_off_tiled(others))
        except LOST_REDIS as error:
            complaints.of_redis(log, error, then="tiles are worked on meanwhile")
        except Exception as error:  # whatever it is, the image in hand goes on
            self._complain("taking images", error)
        if not self._taking.tiled_wait:
            self._taking.begin_ahead(batch)

    def _run_shadow(self, answered: bytes) -> None:
        """An image that others have answered, for comparison. Whatever becomes of it costs
        nobody anything."""
        stages = self._stages
        self._call_begins(stages)
        try:
            self._shadow_runs.run(answered, stages)
        except ValueError:
            self._refused("job", 1)
        except Exception as error:
            self._complain("shadow runs", error)
        finally:
            self._watchdog.began_s = None

    def _call_begins(self, stages: Stages) -> None:
        """It has all of its time before it."""
        self._loop_moves(self._watchdog.most_s)
        self._watchdog.detector = stages.detector
        self._watchdog.began_s = time.monotonic()

    def _run_together(self, batch: TakenBatch) -> None:
        """Inference and NMS of one batch; then answers; then telemetry."""
        items, stages = batch.items, batch.stages
        if not items:
            return
        started = time.perf_counter()
        self._call_begins(stages)
        ready = [item for item in items if item.error is None]
        if ready:
            stages.infer(ready)
        for item in ready:
            if item.error is None:
                stages.nms(item)
        self._watchdog.began_s = None
        self._answer(batch, time.perf_counter() - started)
        self._worked(items, sum(item.images_run for item in items))

    def _answer(self, batch: TakenBatch, work_s: float) -> None:
        """Store the outcomes; then telemetry."""
        stages = batch.stages
        stored = self._finish(batch, work_s)
        spec = stages.detector.spec
        try:
            self._trace.runs(spec.name, spec.version, stages.detector.provider)
            self._trace.batch(stored)
        except Exception as error:  # the images are answered
            self._complain("telemetry", error)
        try:
            self._pictures.offer(stored)
        except Exception as error:  # as well
            self._complain("keeping pictures", error)
        try:
            self._shadowing.offer(stored, spec)
        except Exception as error:  # as well
            self._complain("shadow runs", error)

    def _worked(self, items: list[BatchItem], images: int) -> None:
        """So many images, or tiles, of what is in hand have just been run."""
        since_ns = min(item.taken.taken_ns - item.taken.origin_ns for item in items)
        self._trace.busy(since_ns)
        self._pace.batch(since_ns, images, alone=items[0].taken.alone)
        self._consumer.pace_s = self._pace.seconds

    def _finish(self, batch: TakenBatch, work_s: float) -> list[BatchItem]:
        """Store the outcomes. Returns the items whose outcome stands."""
        items = batch.items
        outcomes = [(item.taken, self._outcome(item, batch.stages)) for item in items]
        try:
            stored = self._store(outcomes, work_s)
        finally:  # what cannot be stored is not kept from others any longer
            for item in items:
                self._in_hand.pop(item.taken.execution_id, None)
        for item, became in zip(items, stored, strict=True):
            item.stored_ns = item.taken.now_ns()
            if became is Stored.WITHDRAWN:
                item.drop(Cancelled("the image was withdrawn while it was worked on"))
        if late := stored.count(Stored.TOO_LATE):
            log.warning("%d result(s) came too late: others did the work", late)
        return [item for item, stands in zip(items, stored, strict=True) if stands]

    def _store(self, outcomes: list[tuple[TakenJob, bytes | DamoscopeError]],
               work_s: float) -> list[Stored]:  # fmt: skip
        for _ in range(FINISH_TRIES - 1):
            self._loop_moves()
            try:
                return self._consumer.finish(outcomes, work_s)
            except RedisError as error:
                if not passing(error):
                    raise
                complaints.of_redis(log, error, then="results are kept until they can be stored")
                time.sleep(1.0)
        return self._consumer.finish(outcomes, work_s)

    def _outcome(self, item: BatchItem, stages: Stages) -> bytes | DamoscopeError:
        if item.error is not None:
            return item.error
        return stages.result(item, self.name)
