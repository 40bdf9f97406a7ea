"""worker.stages: a batch goes on when one of its images fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InferenceFailed, InvalidImage, JobExpired
from pipeline.job import DetectionResult
from pipeline.settings import Settings
from tests.worker.batch_items import item, job
from tests.worker.onnx_models import Export
from tests.worker.pictures import encode, gradient
from worker.batch import BatchItem
from worker.model.session import Detector
from worker.stages import Stages

DARK = encode(gradient() // 2, "PNG")
#: The model of these tests fails on it.
WHITE = encode(np.full((60, 90, 3), 255, np.uint8), "PNG")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """A real session over a model that fails on white images."""
    path: Path = tmp_path_factory.mktemp("models") / "model.onnx"
    Export(classes=2, fails_on_white=True).save(path)
    return Detector(Settings(model=path, provider="cpu", threads=1, batch_max=8))


@pytest.fixture
def stages(detector: Detector) -> Iterator[Stages]:
    made = Stages(detector, threads=2)
    yield made
    made.close()


def run(stages: Stages, items: list[BatchItem]) -> None:
    """All stages, as the worker's loop runs them."""
    stages.preprocess(items)
    ready = [each for each in items if each.error is None]
    if ready:
        stages.infer(ready)
    for each in ready:
        if each.error is None:
            stages.nms(each)


def result_of(stages: Stages, one: BatchItem, worker: str = "w") -> DetectionResult:
    """The answer as the model reads it, which is also as the model would write it."""
    answer = stages.result(one, worker)
    result = DetectionResult.model_validate_json(answer)
    assert answer == result.model_dump_json().encode()
    assert result.detections == list(one.detections)
    return result


def test_one_image(stages: Stages) -> None:
    """An image passes its three stages in order, and its result says how long each took."""
    one = item(DARK, meta={"traceparent": f"00-{'f' * 32}-{'1' * 16}-01"})
    run(stages, [one])
    assert one.error is None
    assert list(one.stages) == ["preprocess", "inference", "nms"]
    edges = [edge for interval in one.stages.values() for edge in interval]
    assert edges == sorted(edges)
    assert one.taken.image is None
    assert one.raw is None
    result = result_of(stages, one, "worker-1")
    timings = result.timings_ms
    assert timings.upload == 12.5
    assert timings.queue_wait == 50
    for stage in ("preprocess", "inference", "nms"):
        assert getattr(timings, stage) == one.stage_ms(stage) > 0
    spent = timings.queue_wait + timings.preprocess + timings.inference + timings.nms
    assert timings.total >= timings.upload + spent
    assert (result.job_id, result.trace_id, result.worker) == ("job-1", "f" * 32, "worker-1")
    assert (result.model, result.provider, result.batch_size) == ("model", "cpu", 1)
    assert (result.image.width, result.image.height, result.image.bytes) == (90, 60, 1234)


def test_result_tells_the_decoded_size(stages: Stages) -> None:
    """The size in the result is the one that boxes are in, whatever the header promised."""
    one = item(encode(gradient(33, 44) // 2, "PNG"))
    run(stages, [one])
    image = result_of(stages, one).image
    assert (image.width, image.height) == (33, 44)


def test_batch(stages: Stages) -> None:
    """A batch is one call of ONNX Runtime, and each image gets what it gets alone."""
    pictures = [encode(gradient(50 + n, 40) // (n + 2), "PNG") for n in range(5)]
    options = job(score_threshold=0.1, iou_threshold=0.3, max_detections=7)
    together = [item(data, job=options, origin_ns=0) for data in pictures]
    run(stages, together)
    assert len({id(each.call) for each in together}) == 1
    for each, data in zip(together, pictures, strict=True):
        assert each.call is not None
        assert each.call.size == 5
        assert each.stages["inference"] == each.call.interval
        alone = item(data, job=options)
        run(stages, [alone])
        assert len(each.detections) == len(alone.detections)
        for one, other in zip(each.detections, alone.detections, strict=True):
            assert one.label == other.label
            assert one.score == pytest.approx(other.score, abs=2e-4)


def test_weaker_boxes(stages: Stages) -> None:
    """Asked for, they come apart from the detections, which are those of a run without them; with
    any threshold above, both together hold what a run with it finds. They are no detections."""

    def ran(threshold: float, **more: float) -> BatchItem:
        given = job(score_threshold=threshold, iou_threshold=0.9, max_detections=500, **more)
        one = item(DARK, job=given)
        run(stages, [one])
        return one

    plain, asked = ran(0.6), ran(0.6, weaker_from=0.05)
    assert result_of(stages, plain).weaker is None
    result = result_of(stages, asked)
    assert result.weaker
    assert result.detections == list(plain.detections)
    assert all(0.05 <= each.score < 0.6 for each in result.weaker)
    together = [*result.detections, *result.weaker]
    for threshold in (0.1, 0.3, 0.5, 0.55):
        found = ran(threshold).detections
        assert [each for each in together if each.score >= threshold] == list(found)
    asked.drop(InferenceFailed("nobody wants it"))
    assert asked.weaker is None


def test_bad_image_fails_alone(stages: Stages) -> None:
    """An image that cannot be decoded fails in `preprocess`; the rest of its batch is done."""
    good, bad, other = item(DARK), item(DARK[:100]), item(DARK)
    run(stages, [good, bad, other])
    assert isinstance(bad.error, InvalidImage)
    assert bad.failed_stage == "preprocess"
    assert list(bad.stages) == ["preprocess"]
    assert bad.prepared is None
    for each in (good, other):
        assert each.error is None
        assert each.call is not None
        assert each.call.size == 2


def test_image_that_the_model_fails_on(stages: Stages) -> None:
    """When a call fails its images are tried one by one, and only the culprit fails."""
    batch = [item(DARK), item(WHITE), item(DARK)]
    run(stages, batch)
    assert [type(each.error) for each in batch] == [type(None), InferenceFailed, type(None)]
    assert batch[1].failed_stage == "inference"
    assert list(batch[1].stages) == ["preprocess", "inference"]
    assert batch[1].call is None
    for each in (batch[0], batch[2]):
        assert each.call is not None
        assert each.call.size == 1
        assert list(each.stages) == ["preprocess", "inference", "nms"]


def test_batch_in_which_all_fail(stages: Stages) -> None:
    """Every image of a batch may fail, and the stages are fit for the next one."""
    batch = [item(WHITE), item(WHITE)]
    run(stages, batch)
    assert all(isinstance(each.error, InferenceFailed) for each in batch)
    after = item(DARK)
    run(stages, [after])
    assert after.error is None


def test_unforeseen_error_fails_one_image(stages: Stages) -> None:
    """An error that nobody foresaw fails its image only, and keeps what has caused it."""
    broken = item(DARK, job=job().model_copy(update={"image": None}), job_id="job-7")
    broken.taken.image = "not bytes"  # type: ignore[assignment]
    good = item(DARK)
    run(stages, [broken, good])
    assert isinstance(broken.error, InferenceFailed)
    assert broken.error.__cause__ is not None
    assert good.error is None


def test_job_past_its_deadline(stages: Stages) -> None:
    """A job older than its deadline is not run, and no stage has begun."""
    late = item(DARK, expired=True)
    run(stages, [late])
    assert isinstance(late.error, JobExpired)
    assert (late.failed_stage, late.stages) == (None, {})


def test_image_whose_key_expired(stages: Stages) -> None:
    """A job whose image Redis no longer has counts as expired."""
    late = item(None)
    run(stages, [late])
    assert isinstance(late.error, JobExpired)


def test_job_that_is_not_ours(stages: Stages) -> None:
    """A job of another kind is refused with the queue's reason, and nothing of it is run."""
    foreign = item(DARK, job=None, refusal="os.system is not a function that workers run")
    run(stages, [foreign])
    assert isinstance(foreign.error, InferenceFailed)
    assert str(foreign.error) == "os.system is not a function that workers run"
    assert (foreign.failed_stage, foreign.stages) == (None, {})


def test_options_of_a_job(stages: Stages) -> None:
    """Thresholds, labels and the number of detections are the job's own."""
    every = item(DARK, job=job(score_threshold=0, iou_threshold=1, max_detections=500))
    some = item(DARK, job=job(score_threshold=0, iou_threshold=1, labels=("class 1",)))
    none = item(DARK, job=job(score_threshold=1))
    run(stages, [every, some, none])
    assert {found.label for found in every.detections} == {"class 0", "class 1"}
    assert {found.label for found in some.detections} == {"class 1"}
    assert len(every.detections) == every.candidates == 168
    assert some.candidates == 84
    assert list(none.detections) == []
