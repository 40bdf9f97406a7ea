"""The worker's part of an image's trace, and its metrics, made once the result is stored.

Stages are measured where they run and become spans afterwards, so that a client never
waits for telemetry and a stage's span is as long as the stage.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from random import randrange

from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, get_current_span, set_span_in_context
from opentelemetry.util.types import AttributeValue

from telemetry import names, spans
from telemetry.setup import Telemetry
from worker.batch import BatchItem, Call

#: By stage or label: seconds or scores, each with the context of its image's span.
Values = defaultdict[str, list[tuple[float, Context]]]
#: The attributes of spans that have none.
NONE: Mapping[str, AttributeValue] = {}
#: Attributes and links of a span. Those of one call are the same objects for all of its images.
Inference = tuple[Mapping[str, AttributeValue], Sequence[Link]]


class WorkerTrace:
    """Emits spans and metrics for what one worker process has done."""

    def __init__(self, telemetry: Telemetry, *, worker: str, model: str, provider: str) -> None:
        self._tracer = telemetry.tracer
        self._instruments = telemetry.instruments
        self._worker, self._model, self._provider = worker, model, provider
        #: Unix nanoseconds up to which this worker's time is counted as busy.
        self._busy_until_ns = 0

    def batch(self, items: Sequence[BatchItem]) -> None:
        """Everything about the items of one batch, whose outcomes are stored."""
        calls = {
            call: self._call(call, [item for item in items if item.call is call])
            for call in dict.fromkeys(item.call for item in items if item.call)
        }
        durations: Values = defaultdict(list)
        scores: Values = defaultdict(list)
        for item in items:
            inside = self._image(item, calls[item.call] if item.call else None, durations)
            for label, score in zip(item.detections.labels, item.detections.scores, strict=True):
                scores[label].append((score, inside))
        self._durations(durations)
        self._scores(scores)
        if items:
            self._busy(min(item.taken.taken_ns for item in items))

    def _durations(self, durations: Mapping[str, Sequence[tuple[float, Context]]]) -> None:
        """How long the stages took; in each the longest is the one that names its trace."""
        for stage, measured in durations.items():
            seconds, contexts = zip(*measured, strict=True)
            longest = seconds.index(max(seconds))
            self._instruments.stage_duration.record_all(
                seconds, {"stage": stage}, contexts[longest], example=longest
            )

    def _scores(self, scores: Mapping[str, Sequence[tuple[float, Context]]]) -> None:
        """What was found; of the boxes of a label one by lot names its trace."""
        for label, found in scores.items():
            values, contexts = zip(*found, strict=True)
            labels, one = {"label": label}, randrange(len(found))
            self._instruments.detections.add(len(found), labels, contexts[one])
            self._instruments.detection_score.record_all(values, labels, contexts[one], example=one)

    def _busy(self, taken_ns: int) -> None:
        """Count the time since a batch was taken, telemetry included, as busy.

        The next batch is taken while this one is in hand: what both cover counts once.
        """
        now_ns = time.time_ns()
        busy_ns = max(0, now_ns - max(taken_ns, self._busy_until_ns))
        self._busy_until_ns = now_ns
        self._instruments.worker_busy.add(busy_ns / 1e9, {"provider": self._provider})

    def _call(self, call: Call, items: Sequence[BatchItem]) -> Inference:
        """One call of ONNX Runtime, as a span in a trace of its own.

        Returns attributes and links of its images' `inference` spans.
        """
        attributes: dict[str, AttributeValue] = {
            names.BATCH_SIZE: call.size,
            names.PROVIDER: self._provider,
            names.MODEL: self._model,
        }
        sources = [get_current_span(item.parent).get_span_context() for item in items]
        span = spans.record(
            self._tracer,
            names.SPAN_BATCH,
            Context(),
            *call.interval,
            attributes=attributes,
            links=[Link(source) for source in sources if source.is_valid],
        )
        here = set_span_in_context(span, Context())
        busy_s = (call.interval[1] - call.interval[0]) / 1e9
        self._instruments.batch_size.record(call.size, context=here)
        self._instruments.inference_busy.add(busy_s, {"provider": self._provider}, context=here)
        return attributes, (Link(span.get_span_context()),)

    def _image(self, item: BatchItem, call: Inference | None, durations: Values) -> Context:
        """`queue_wait`, and `process` with its stages, for one image. Returns `process`."""
        self._queue_wait(item, durations)
        process = spans.record(
            self._tracer,
            names.SPAN_PROCESS,
            item.parent,
            item.taken.taken_ns,
            item.stored_ns,
            kind=SpanKind.CONSUMER,
            attributes=self._process_attributes(item),
            error=item.error,
            # Recorded once, where it happened: on the stage, or here when no stage had begun.
            record_exception=item.failed_stage is None,
        )
        inside = set_span_in_context(process, Context())
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
            durations[stage].append((_seconds(*interval), inside))
        return inside

    def _queue_wait(self, item: BatchItem, durations: Values) -> None:
        start, end = item.taken.enqueued_ns, item.taken.taken_ns
        attributes = NONE
        if start > end:  # the clocks of two hosts disagree by more than the job waited
            attributes = {names.CLOCK_SKEW: (start - end) / 1e6}
            start = end
        span = spans.record(
            self._tracer, names.SPAN_QUEUE_WAIT, item.parent, start, end, attributes=attributes
        )
        here = set_span_in_context(span, Context())
        durations[names.SPAN_QUEUE_WAIT].append((_seconds(start, end), here))

    def _process_attributes(self, item: BatchItem) -> dict[str, AttributeValue]:
        return {
            names.MESSAGING_SYSTEM: "rq",
            names.MESSAGING_OPERATION_NAME: "process",
            names.MESSAGING_OPERATION_TYPE: "process",
            names.MESSAGING_DESTINATION: item.taken.queue,
            names.MESSAGING_MESSAGE_ID: item.taken.job_id,
            names.ATTEMPT: item.taken.attempt,
            names.WORKER: self._worker,
            names.MODEL: self._model,
            names.DETECTIONS: len(item.detections),
            names.LABELS: tuple(sorted(set(item.detections.labels))),
        }

    def _stage(self, stage: str, item: BatchItem, call: Inference | None) -> Inference:
        """Attributes and links of a stage's span."""
        if stage == names.SPAN_INFERENCE and call:
            return call
        if stage == names.SPAN_NMS:
            found: dict[str, AttributeValue] = {
                names.CANDIDATES: item.candidates,
                names.DETECTIONS: len(item.detections),
            }
            return found, ()
        return NONE, ()


def _seconds(start_ns: int, end_ns: int) -> float:
    return max(0, end_ns - start_ns) / 1e9
