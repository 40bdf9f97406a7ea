"""Has another model look at a share of the images as well, once they are answered.

A worker that has answered one sends it on, in a thread of its own: no answer waits for that. A
worker of the other model runs it while nothing else waits for it, and compares.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from opentelemetry.trace import get_current_span, set_span_in_context
from redis import Redis
from redis.exceptions import RedisError

from pipeline.complaints import complaints
from pipeline.errors import DamoscopeError
from pipeline.job import Detections
from pipeline.queue.consumer import Consumer, TakenJob
from pipeline.queue.pools import Pool
from pipeline.queue.shadow import (
    IMAGE_BYTES_MAX,
    LATE_S,
    Comparison,
    ShadowImage,
    ShadowNotes,
    ShadowSender,
    boxes_of,
    read_entry,
)
from pipeline.settings import Settings
from telemetry import catalogue, spans
from telemetry.setup import Telemetry
from worker.batch import BatchItem
from worker.model.loading import ModelSpec
from worker.model.pairing import pairs
from worker.stages import Stages

log = logging.getLogger("damoscope.worker")

#: Bytes of the images that wait here to be sent, and seconds between looks for the end.
WAITING_BYTES: Final = 16 * 2**20
LOOK_S: Final = 1.0
#: Boxes of a run that are compared, the best: of very many it would take a second.
BOXES_MAX: Final = 100


def sampled(trace_id: str, share: float) -> bool:
    """Whether an image is among those that the other model looks at: the same each time."""
    digest = blake2b(trace_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def compared(answer: Detections, shadow: Detections) -> Comparison:
    """What two models have found in the same image."""
    ones, others = answer[:BOXES_MAX], shadow[:BOXES_MAX]
    both = pairs(ones, others)
    return Comparison(
        len(both), len(ones) - len(both), len(others) - len(both),
        sum(abs(ones.scores[one] - others.scores[other]) for one, other in both),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Answered:
    answered: ShadowImage
    image: bytes


class Shadowing:
    """What one worker sends on; nothing at all unless the settings say so."""

    def __init__(self, settings: Settings, redis: Redis, consumer: Consumer,
                 telemetry: Telemetry) -> None:  # fmt: skip
        self._model = "" if settings.serves else settings.shadow or ""
        self._share = settings.shadow_share
        self._sender = ShadowSender(redis, self._model) if self._model else None
        self._consumer, self._instruments = consumer, telemetry.instruments
        self._waiting: deque[_Answered] = deque()
        self._bytes = self._dropped = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Begin to send what is offered."""
        if self._sender is not None:
            self._thread.start()

    def wants(self, item: BatchItem) -> bool:
        """Whether an image is to be sent on, should it be answered: not in tiles, for then it would
        be the work of dozens."""
        taken = item.taken
        if self._sender is None or taken.job is None or item.tiled:
            return False
        return sampled(item.trace_id or taken.job_id, self._share)

    def offer(self, items: Iterable[BatchItem], spec: ModelSpec) -> None:
        """Send on what was answered by this model. Returns at once."""
        if self._sender is None:
            return
        for item in items:
            if item.error is None and self.wants(item):
                self._offer(item, spec)

    def _offer(self, item: BatchItem, spec: ModelSpec) -> None:
        taken, image = item.taken, item.encoded
        assert taken.job
        if image is None or len(image) > IMAGE_BYTES_MAX:
            self._drop()
            return
        now_ns = self._consumer.redis_ns()
        # What a page asks for beside the detections is none of the answer.
        options = taken.job.options.model_copy(update={"weaker_from": None})
        answered = ShadowImage(
            job_id=taken.job_id, meta=taken.meta,
            job=taken.job.model_copy(update={"options": options}),
            model=spec.name, version=spec.version, boxes=boxes_of(item.detections),
            sent_ns=now_ns, frontend_ahead_ns=taken.now_ns() - now_ns,
        )  # fmt: skip
        with self._changed:
            if self._bytes + len(image) <= WAITING_BYTES:
                self._waiting.append(_Answered(answered, image))
                self._bytes += len(image)
                self._changed.notify()
                return
        self._drop()

    def close(self) -> None:
        """End. What waits here is lost."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(LOOK_S)

    def _drop(self) -> None:
        self._instruments.add(
            catalogue.SHADOW_IMAGES, 1, {"model": self._model, "outcome": "dropped"}
        )
        with self._changed:
            self._dropped += 1

    # -- the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        assert self._sender
        while not self._closed:
            try:
                found = self._next()
                if found is not None and not self._sent(self._sender, found):
                    self._drop()
                with self._changed:
                    dropped, self._dropped = self._dropped, 0
                if dropped:
                    self._sender.dropped(dropped)
            except RedisError as error:
                complaints.of_redis(log, error, "shadow runs", then="some are left out")
            except Exception as error:  # the next image must be sent all the same
                if complaints.due("shadow runs"):
                    log.error("sending an image to a shadow run failed", exc_info=error)

    def _sent(self, sender: ShadowSender, found: _Answered) -> bool:
        try:
            return sender.send(found.answered, found.image)
        except RedisError as error:
            complaints.of_redis(log, error, "shadow runs", then="some are left out")
            return False

    def _next(self) -> _Answered | None:
        with self._changed:
            if not self._waiting and not self._closed:
                self._changed.wait(LOOK_S)
            if not self._waiting:
                return None
            found = self._waiting.popleft()
            self._bytes -= len(found.image)
            return found


class ShadowRuns:
    """Runs what others have answered, for a worker of the model that looks as well."""

    def __init__(self, redis: Redis, pool: Pool, consumer: Consumer,
                 telemetry: Telemetry) -> None:  # fmt: skip
        self._notes, self._pool, self._consumer = ShadowNotes(redis, pool), pool, consumer
        self._tracer, self._instruments = telemetry.tracer, telemetry.instruments

    def run(self, entry: bytes, stages: Stages) -> None:
        """Run one and note what came of it. Raises ValueError for what is none of ours, and
        RedisError where it cannot be noted."""
        answered, image = read_entry(entry)
        now_ns = self._consumer.redis_ns()
        if now_ns - answered.sent_ns > LATE_S * 10**9:
            self._count("dropped", {"model": self._pool.model})
            self._notes.dropped()
            return
        item = _item(answered, image, now_ns)
        comparison, error = None, None
        try:
            stages.run(item)
            comparison = compared(answered.found, item.detections)
        except DamoscopeError as failed:
            error = failed
        self._tell(item, comparison, error, stages.detector.spec)
        by = stages.detector.spec.name, stages.detector.spec.version
        recorded = get_current_span(item.parent).get_span_context().trace_flags.sampled
        self._notes.compared(
            answered, by, comparison, trace_id=item.trace_id if recorded else "",
            now_ns=self._consumer.redis_ns(),
        )  # fmt: skip

    def _tell(self, item: BatchItem, comparison: Comparison | None, error: DamoscopeError | None,
              spec: ModelSpec) -> None:  # fmt: skip
        """By a span in the image's trace, and by metrics."""
        span = spans.record(
            self._tracer, catalogue.SPAN_SHADOW, item.parent, item.taken.taken_ns,
            item.taken.now_ns(),
            attributes={
                catalogue.ATTR_SHADOW_MODEL: spec.name,
                catalogue.ATTR_SHADOW_VERSION: spec.version,
                **_said(comparison),
                # Not the span's status: nobody's answer has failed.
                **({} if error is None else {catalogue.ATTR_SHADOW_PROBLEM: str(error)}),
            },
        )  # fmt: skip
        here = set_span_in_context(span, item.parent)
        of_model = {"model": self._pool.model, "version": spec.version}
        if comparison is None:
            self._count("failed", of_model)
            return
        self._count("agreed" if comparison.agree else "differed", of_model)
        add = self._instruments.add
        for found, count in (
            ("both", comparison.both), ("answer", comparison.only_answer),
            ("shadow", comparison.only_shadow),
        ):  # fmt: skip
            if count:
                add(catalogue.SHADOW_BOXES, count, {**of_model, "found_by": found}, here)
        if comparison.both:
            mean = comparison.score_differences / comparison.both
            self._instruments.record(catalogue.SHADOW_SCORE_DIFFERENCE, mean, of_model, here)

    def _count(self, outcome: str, of_model: Mapping[str, str]) -> None:
        self._instruments.add(catalogue.SHADOW_IMAGES, 1, {**of_model, "outcome": outcome})


def _item(answered: ShadowImage, image: bytes, now_ns: int) -> BatchItem:
    """The image as a worker has it, at times of the frontend that took it."""
    taken_ns = now_ns + answered.frontend_ahead_ns
    return BatchItem(
        TakenJob(
            job_id=answered.job_id, execution_id="", queue="", meta=answered.meta,
            enqueued_ns=answered.sent_ns + answered.frontend_ahead_ns, taken_ns=taken_ns,
            origin_ns=taken_ns - time.perf_counter_ns(), attempt=1, reply_to="",
            job=answered.job, image=image,
        )
    )  # fmt: skip


def _said(comparison: Comparison | None) -> dict[str, int]:
    if comparison is None:
        return {}
    return {
        catalogue.ATTR_SHADOW_BOTH: comparison.both,
        catalogue.ATTR_SHADOW_ONLY_ANSWER: comparison.only_answer,
        catalogue.ATTR_SHADOW_ONLY_SHADOW: comparison.only_shadow,
    }
