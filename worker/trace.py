"""The worker's part of an image's trace, and its metrics, made once the result is stored.

Stages are measured where they run and become spans afterwards, so that a client never
waits for telemetry and a stage's span is as long as the stage.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, SpanKind, get_current_span, set_span_in_context
from opentelemetry.util.types import AttributeValue

from pipeline.job import Detections
from telemetry import catalogue, logs, spans
from telemetry.setup import Telemetry
from worker.batch import BatchItem, Call

log = logging.getLogger("damoscope.worker")

#: The context of what belongs to no image. (To a metric an empty one stands for the current.)
NOWHERE = set_span_in_context(INVALID_SPAN, Context())
#: Clocks of two hosts that differ by less are as good as the same.
SKEW_NS = 50_000_000
#: Attributes and links of a span.
Inference = tuple[Mapping[str, AttributeValue] | None, Sequence[Link]]


class WorkerTrace:
    """Emits spans and metrics for what one worker process has done."""

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        worker: str,
        queue: str,
        model: str,
        provider: str,
        version: str = "",
    ) -> None:
        self._tracer = telemetry.tracer
        self._instruments = telemetry.instruments
        self._worker = worker
        #: That of ordinary images, among those which it takes from.
        self._queue = queue
        self.runs(model, version, provider)
        #: Moment of `perf_counter_ns` up to which this worker's time is counted as busy.
        self._busy_until_ns = 0

    def runs(self, model: str, version: str, provider: str) -> None:
        """Say what the batches from now on were run with."""
        self._model, self._version, self._provider = model, version, provider
        self._of_model = {"model": model, "version": version}

    def batch(self, items: Sequence[BatchItem]) -> None:
        """Everything about the items of one batch, whose outcomes are stored."""
        calls = {
            call: self._call(call, [item for item in items if item.call is call])
            for call in dict.fromkeys(item.call for item in items if item.call)
        }
        for item in items:
            self._image(item, calls[item.call] if item.call else self._tile_calls(item))
        if items:
            self.busy(min(item.taken.taken_ns - item.taken.origin_ns for item in items))

    def busy(self, taken_ns: int) -> None:
        """Count the time since a batch was taken, telemetry included, as busy.

        The next batch is taken while this one is in hand: what both cover counts once.
        """
        now_ns = time.perf_counter_ns()
        busy_ns = max(0, now_ns - max(taken_ns, self._busy_until_ns))
        self._busy_until_ns = now_ns
        self._instruments.add(
            catalogue.WORKER_BUSY, busy_ns / 1e9,
            {"provider": self._provider, "queue": self._queue},
        )  # fmt: skip

    def _call(self, call: Call, items: Sequence[BatchItem]) -> Inference:
        """One call of ONNX Runtime, as a span in a trace of its own.

        There is none when the traces of all its images are left out by their callers.
        Returns attributes and links of the images' `inference` spans.
        """
        attributes: dict[str, AttributeValue] = {
            catalogue.ATTR_BATCH_SIZE: call.size,
            catalogue.ATTR_PROVIDER: self._provider,
            catalogue.ATTR_MODEL: self._model,
            catalogue.ATTR_MODEL_VERSION: self._version,
        }
        sources = [get_current_span(item.parent).get_span_context() for item in items]
        links = [Link(source) for source in sources if source.is_valid]
        busy_s = (call.interval[1] - call.interval[0]) / 1e9
        here, to_batch = NOWHERE, list[Link]()
        if len(links) < len(items) or any(each.context.trace_flags.sampled for each in links):
            span = spans.record(
                self._tracer, catalogue.SPAN_BATCH, NOWHERE, *call.interval,
                attributes=attributes, links=links,
            )  # fmt: skip
            here = set_span_in_context(span, NOWHERE)
            to_batch.append(Link(span.get_span_context()))
        self._instruments.record(catalogue.BATCH_SIZE, call.size, context=here)
        self._instruments.add(
            catalogue.INFERENCE_BUSY, busy_s, {"provider": self._provider}, context=here
        )
        return attributes, to_batch

    def _tile_calls(self, item: BatchItem) -> Inference | None:
        """The calls for one image's tiles. No other image has a part in them, so that they are
        told on its own `inference` span, and not by spans of their own."""
        calls = item.tile_calls
        if calls is None:
            return None
        for size in calls.sizes:
            self._instruments.record(catalogue.BATCH_SIZE, size, context=NOWHERE)
        busy_s = calls.busy_ns / 1e9
        self._instruments.add(
            catalogue.INFERENCE_BUSY, busy_s, {"provider": self._provider}, context=NOWHERE
        )
        return {
            catalogue.ATTR_BATCH_SIZE: item.largest_call,
            catalogue.ATTR_PROVIDER: self._provider,
            catalogue.ATTR_MODEL: self._model,
            catalogue.ATTR_MODEL_VERSION: self._version,
            catalogue.ATTR_CALLS: len(calls.sizes),
            catalogue.ATTR_CALLS_MS: round(calls.busy_ns / 1e6, 3),
        }, ()

    def _image(self, item: BatchItem, call: Inference | None) -> None:
        """`queue_wait`, and `process` with its stages, for one image."""
        waited_s, context = self._queue_wait(item)
        self._stage_took(catalogue.SPAN_QUEUE_WAIT, waited_s, context)
        process = spans.record(
            self._tracer,
            catalogue.SPAN_PROCESS,
            item.parent,
            item.taken.taken_ns,
            item.stored_ns,
            kind=SpanKind.CONSUMER,
            attributes=self._process_attributes(item),
            error=item.error,
            # Recorded once, where it happened: on the stage, or here when no stage had begun.
            record_exception=item.failed_stage is None,
        )
        inside = set_span_in_context(process, item.parent)
        for stage, interval in item.stages.items():
            attributes, links = self._stage(stage, item, call)
            spans.record(
                self._tracer,
                stage,
                inside,
                *interval,
                attributes=attributes,
                links=links,
                error=item.error if stage == item.failed_stage else None,
            )
            self._stage_took(stage, _seconds(*interval), inside)
        self._detections(item, inside)
        outcome = item.error.outcome if item.error else "ok"
        self._instruments.add(
            catalogue.MODEL_IMAGES, 1, {**self._of_model, "outcome": outcome}, inside
        )
        if item.error:
            logs.refusal(log, inside, item.error, f"job {item.taken.job_id}: ")

    def _queue_wait(self, item: BatchItem) -> tuple[float, Context]:
        """How long an image waited, in seconds, and the context of the span that says so."""
        start, end, skew_ns = item.taken.enqueued_ns, item.taken.taken_ns, item.taken.skew_ns
        skewed = abs(skew_ns) >= SKEW_NS
        attributes = {catalogue.ATTR_CLOCK_SKEW: skew_ns / 1e6} if skewed else None
        span = spans.record(
            self._tracer, catalogue.SPAN_QUEUE_WAIT, item.parent, start, end, attributes=attributes
        )
        return _seconds(start, end), set_span_in_context(span, item.parent)

    def _stage_took(self, stage: str, seconds: float, context: Context) -> None:
        labels = {"stage": stage, **self._of_model}
        self._instruments.record(catalogue.STAGE_DURATION, seconds, labels, context)

    def _detections(self, item: BatchItem, inside: Context) -> None:
        found = item.detections
        for label, count in Counter(found.labels).items():
            labels = {"label": label, **self._of_model}
            self._instruments.add(catalogue.DETECTIONS, count, labels, inside)
        # The best of each label names its trace; an exemplar for each of hundreds of boxes would
        # cost a millisecond and say no more.
        named: set[str] = set()
        for label, score in zip(found.labels, found.scores, strict=True):
            here = NOWHERE if label in named else inside
            named.add(label)
            labels = {"label": label, **self._of_model}
            self._instruments.record(catalogue.DETECTION_SCORE, score, labels, here)

    def _process_attributes(self, item: BatchItem) -> dict[str, AttributeValue]:
        found = item.detections
        best: dict[str, AttributeValue] = (
            {catalogue.ATTR_SCORE: max(found.scores)} if found.scores else {}
        )
        return best | {
            catalogue.ATTR_MESSAGING_SYSTEM: "rq",
            catalogue.ATTR_MESSAGING_OPERATION_NAME: "process",
            catalogue.ATTR_MESSAGING_OPERATION_TYPE: "process",
            catalogue.ATTR_MESSAGING_DESTINATION: item.taken.queue,
            catalogue.ATTR_MESSAGING_MESSAGE_ID: item.taken.job_id,
            catalogue.ATTR_ATTEMPT: item.taken.attempt,
            catalogue.ATTR_WORKER: self._worker,
            catalogue.ATTR_MODEL: self._model,
            catalogue.ATTR_MODEL_VERSION: self._version,
            catalogue.ATTR_DETECTIONS: len(found),
            catalogue.ATTR_LABELS: tuple(sorted(set(found.labels))),
        }

    def _stage(self, stage: str, item: BatchItem, call: Inference | None) -> Inference:
        """Attributes and links of a stage's span."""
        tiles: dict[str, AttributeValue] = {catalogue.ATTR_TILES: item.tiles} if item.tiles else {}
        if stage == catalogue.SPAN_INFERENCE and call:
            attributes, links = call
            return tiles | dict(attributes or {}), links
        if stage == catalogue.SPAN_NMS:
            found: dict[str, AttributeValue] = {
                catalogue.ATTR_CANDIDATES: item.candidates,
                catalogue.ATTR_DETECTIONS: len(item.detections),
            }
            return tiles | found | _boxes(item.detections), ()
        return tiles, ()


def _boxes(found: Detections) -> dict[str, AttributeValue]:
    """The best boxes: OpenTelemetry has no convention for them, and attributes no structure, so
    there is a list for each of their fields."""
    best = found[: catalogue.BOXES_MAX]
    if not best:
        return {}
    return {
        catalogue.ATTR_BOX_LABELS: best.labels,
        catalogue.ATTR_BOX_SCORES: best.scores,
        catalogue.ATTR_BOX_CORNERS: [round(each) for corners in best.corners for each in corners],
    }


def _seconds(start_ns: int, end_ns: int) -> float:
    return max(0, end_ns - start_ns) / 1e9
