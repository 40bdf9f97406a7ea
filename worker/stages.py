"""The three stages in order, over the items of a batch. Nothing here knows of Redis.

A stage that fails on one image gives up that image only; the rest of the batch goes on.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import orjson

from pipeline.errors import DamoscopeError, ImageTooLarge, InferenceFailed, JobExpired
from pipeline.job import DetectOptions
from pipeline.tiles import Tile
from telemetry.catalogue import SPAN_INFERENCE, SPAN_NMS, SPAN_PREPROCESS
from worker.batch import BatchItem, Call, Interval, TileCalls
from worker.decoding import Decoders, Run
from worker.model.merging import merged, view
from worker.model.nms import detections
from worker.model.preprocess import Prepared, preprocess, preprocess_tiles
from worker.model.session import Detector, InferenceStopped


class Stages:
    """Runs the stages with one detector; `threads` images are decoded at a time.

    Items of which `keep_encoded` says so hold on to their files, which are wanted afterwards.
    """

    def __init__(
        self,
        detector: Detector,
        threads: int,
        *,
        keep_encoded: Callable[[BatchItem], bool] = lambda _: False,
    ) -> None:
        self._detector = detector
        self._keep_encoded = keep_encoded
        self._decoders = Decoders(threads, detector.stage_limit_s)

    @property
    def detector(self) -> Detector:
        """What images are prepared for, and run with."""
        return self._detector

    def with_detector(self, detector: Detector) -> Stages:
        """The same decoding threads, before another model."""
        other = copy.copy(self)
        other._detector = detector
        return other

    @property
    def stalled(self) -> bool:
        """Whether a decoder was left behind that may be at work still."""
        return self._decoders.stalled > 0

    def close(self) -> None:
        """End the decoding threads."""
        self._decoders.close()

    def run(self, item: BatchItem) -> None:
        """All stages on one image. Raises the DamoscopeError that it failed with."""
        self.preprocess([item])
        if item.error is None and item.tiles:
            for _ in self.infer_tiles(item):
                pass
        elif item.error is None:
            self.infer([item])
        if item.error is None:
            self.nms(item)
        if item.error is not None:
            raise item.error

    def preprocess(self, items: list[BatchItem]) -> None:
        """Decode and resize; jobs that are too old or not ours fail here."""
        spec = self._detector.spec
        decodable = [item for item in items if _is_decodable(item)]
        runs = self._decoders.run([_preparing(item, spec.height, spec.width) for item in decodable])
        for item, run in zip(decodable, runs, strict=True):
            self._prepared(item, run)

    def _prepared(self, item: BatchItem, run: Run[Prepared]) -> None:
        item.prepared = run.result
        if isinstance(run.error, TimeoutError):
            limit_s = self._detector.stage_limit_s
            item.fail(ImageTooLarge(f"decoding takes longer than the {limit_s:g} s allowed"),
                      SPAN_PREPROCESS)  # fmt: skip
        elif run.error is not None:
            item.fail(_purposeful(run.error), SPAN_PREPROCESS)
        ended_ns = run.ended_ns or time.perf_counter_ns()
        item.stages[SPAN_PREPROCESS] = _interval(item, run.began_ns, ended_ns)
        if self._keep_encoded(item):
            item.encoded = item.taken.image
        item.taken.image = None  # only the pixels are needed from here on

    def infer(self, items: list[BatchItem]) -> None:
        """One call for all items; when it fails, one each, to find the image that it fails on."""
        images = [item.prepared.pixels for item in items if item.prepared is not None]
        started = time.perf_counter_ns()
        try:
            alone = len(items) == 1 and items[0].taken.alone
            scores, boxes = self._detector.run(images, alone=alone)
        except InferenceStopped as error:  # whichever image it was, the others waited long enough
            for item in items:
                item.fail(error, SPAN_INFERENCE)
                item.stages[SPAN_INFERENCE] = _interval(item, started, time.perf_counter_ns())
            return
        except InferenceFailed as error:
            if len(items) > 1:
                for item in items:
                    self.infer([item])
                return
            items[0].fail(error, SPAN_INFERENCE)
            items[0].stages[SPAN_INFERENCE] = _interval(items[0], started, time.perf_counter_ns())
            return
        ended = time.perf_counter_ns()
        call = Call(_interval(items[0], started, ended), len(items))
        for index, item in enumerate(items):
            item.raw, item.call = (scores[index], boxes[index]), call
            item.stages[SPAN_INFERENCE] = _interval(item, started, ended)

    def infer_tiles(self, item: BatchItem) -> Iterator[int]:
        """One call after another for the whole image and its tiles, as many in each as the model
        takes. After each it says for how many, and others' images may be run meanwhile: so `item`
        may be given up between them. When one fails, so does the image.
        """
        assert item.prepared
        assert item.prepared.grid
        assert item.taken.job
        options, spec = item.taken.job.options, self._detector.spec
        columns = [
            index for index, label in enumerate(spec.labels)
            if options.labels is None or label in options.labels
        ]  # fmt: skip
        prepared, calls = item.prepared, TileCalls()
        whole = Tile(0, 0, prepared.width, prepared.height)
        left = [(prepared.pixels, whole), *((each.pixels, each.part) for each in prepared.tiles)]
        item.tile_calls = calls
        started = time.perf_counter_ns()
        while left and item.error is None:
            now, left = left[: self._detector.batch_max], left[self._detector.batch_max :]
            began = time.perf_counter_ns()
            try:
                scores, boxes = self._detector.run(
                    [pixels for pixels, _ in now], alone=item.taken.alone
                )
                calls.busy_ns += time.perf_counter_ns() - began
                calls.sizes.append(len(now))
                for number, (_, part) in enumerate(now):
                    lowest = self._lowest_score(options)
                    item.views.append(view(scores[number], boxes[number], part, columns, lowest))
            except Exception as error:  # whatever one image does must not stop a worker
                item.fail(_purposeful(error), SPAN_INFERENCE)
            item.stages[SPAN_INFERENCE] = _interval(item, started, time.perf_counter_ns())
            yield len(now)
        # Only the whole is needed from here on.
        item.prepared = replace(prepared, tiles=())

    def _score_threshold(self, options: DetectOptions) -> float:
        score = options.score_threshold
        return self._detector.score_threshold if score is None else score

    def _lowest_score(self, options: DetectOptions) -> float:
        """Down to which boxes are looked for."""
        score, weaker = self._score_threshold(options), options.weaker_from
        return score if weaker is None else min(score, weaker)

    def nms(self, item: BatchItem) -> None:
        """Choose among the raw boxes of one image."""
        assert item.prepared
        assert item.taken.job
        options, spec = item.taken.job.options, self._detector.spec
        iou = options.iou_threshold
        iou = self._detector.iou_threshold if iou is None else iou
        input_size = spec.width, spec.height
        image_size = item.prepared.width, item.prepared.height
        most = options.max_detections
        started = item.taken.now_ns()
        try:
            if item.views:
                item.detections, item.candidates = merged(
                    item.views,
                    spec.labels,
                    input_size=input_size,
                    image_size=image_size,
                    iou_threshold=iou,
                    most=most,
                )
            else:
                assert item.raw
                item.detections, item.candidates = detections(
                    *item.raw,
                    spec.labels,
                    input_size=input_size,
                    image_size=image_size,
                    score_threshold=self._lowest_score(options),
                    iou_threshold=iou,
                    most=most,
                    wanted=options.labels,
                )
            if options.weaker_from is not None:
                score = self._score_threshold(options)
                item.detections, item.weaker = item.detections.split(score)
        except Exception as error:  # whatever one image does must not stop a worker
            item.fail(_purposeful(error), SPAN_NMS)
        item.stages[SPAN_NMS] = (started, item.taken.now_ns())
        item.raw = None
        item.views = []

    def result(self, item: BatchItem, worker: str) -> bytes:
        """The answer to one image as of now: a `DetectionResult` as JSON."""
        taken, prepared = item.taken, item.prepared
        assert taken.job
        assert prepared
        upload_ms = taken.job.upload_ms
        since_enqueued_ms = (taken.now_ns() - taken.enqueued_ns) / 1e6
        # Not by way of the model, which takes four times as long when few boxes are found.
        return orjson.dumps(
            {
                "job_id": taken.job_id,
                "trace_id": item.trace_id,
                "status": "finished",
                "model": self._detector.spec.name,
                "model_version": self._detector.spec.version,
                "provider": self._detector.provider,
                "image": {
                    "width": prepared.width,
                    "height": prepared.height,
                    "format": taken.job.image.format,
                    "bytes": taken.job.image.bytes,
                },
                "detections": item.detections.plain(),
                **({} if item.weaker is None else {"weaker": item.weaker.plain()}),
                **({} if prepared.grid is None else {"tiles": str(prepared.grid)}),
                "timings_ms": {
                    "upload": upload_ms,
                    "queue_wait": round((taken.taken_ns - taken.enqueued_ns) / 1e6, 3),
                    "preprocess": item.stage_ms(SPAN_PREPROCESS),
                    "inference": item.stage_ms(SPAN_INFERENCE),
                    "nms": item.stage_ms(SPAN_NMS),
                    "total": round(upload_ms + since_enqueued_ms, 3),
                },
                "batch_size": item.largest_call,
                "worker": worker,
            }
        )


def _preparing(item: BatchItem, height: int, width: int) -> Callable[[], Prepared]:
    data = item.taken.image or b""
    assert item.taken.job
    if (tiles := item.taken.job.options.tiles) is not None:
        return partial(preprocess_tiles, data, height, width, tiles)
    return partial(preprocess, data, height, width)


def _is_decodable(item: BatchItem) -> bool:
    """Whether there is something to decode; else the item has failed."""
    taken = item.taken
    if taken.job is None:
        item.fail(InferenceFailed(taken.refusal))
    elif taken.expired:
        item.fail(JobExpired("its deadline had passed before a worker could begin it"))
    elif taken.image is None:
        item.fail(JobExpired("its image was kept no longer when a worker took it"))
    return item.error is None


def _interval(item: BatchItem, started: int, ended: int) -> Interval:
    """When a call ran that several images share, on the clock of one of them."""
    origin = item.taken.origin_ns
    return started + origin, ended + origin


def _purposeful(error: Exception) -> DamoscopeError:
    """The error as one of ours; what nobody foresaw becomes the cause of one."""
    if isinstance(error, DamoscopeError):
        return error
    failed = InferenceFailed(f"{type(error).__name__}: {error}")
    failed.__cause__ = error
    return failed
