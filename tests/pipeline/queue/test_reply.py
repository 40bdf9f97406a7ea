"""pipeline.queue: what workers say on the reply channel is what frontends read."""

from __future__ import annotations

import orjson
import pytest

from pipeline.job import Box, Detection, DetectionResult, ImageInfo, JobError, Timings
from pipeline.queue.messages import read_reply, reply

JOB = "507797bb1f9c4c5cb6b4a2f1f2a3c4d5"
#: Labels that imitate what stands around the detections.
SLY = ('"detections":[', '],"timings_ms":{', '{"label":', 'a "phone"', "手机", "\\")


def result(labels: tuple[str, ...]) -> DetectionResult:
    return DetectionResult(
        job_id=JOB,
        trace_id="0af7651916cd43dd8448eb211c80319c",
        model='],"timings_ms":{ "detections":[',
        provider="cpu",
        image=ImageInfo(width=640, height=480, format="JPEG", bytes=1234),
        detections=[
            Detection(label, 0.5, Box(1.25, 2.5, 30.75, 40.0 + number))
            for number, label in enumerate(labels)
        ],
        timings_ms=Timings(upload=1, queue_wait=2, preprocess=3, inference=4, nms=0.5, total=10.5),
        batch_size=1,
        worker='],"timings_ms":{',
    )


@pytest.mark.parametrize("labels", [(), ("phone",), SLY, ("phone",) * 300])
def test_a_result(labels: tuple[str, ...]) -> None:
    """Every field comes through, whatever the labels; the detections are passed on as JSON."""
    sent = result(labels)
    job_id, got = read_reply(reply(JOB, result=sent.model_dump_json().encode()))
    assert job_id == JOB
    assert (got.detections, got.error) == (len(labels), None)
    assert got.result is not None
    assert isinstance(got.result["detections"], orjson.Fragment), "they were parsed for nothing"
    assert DetectionResult.model_validate_json(orjson.dumps(got.result)) == sent


@pytest.mark.parametrize("tiles", [None, "4x3"])
def test_weaker_boxes_do_not_count(tiles: str | None) -> None:
    """They come through with the result of a page's run: what counts is what its threshold let
    through."""
    weaker = [Detection(label, 0.1, Box(1, 2, 3, 4)) for label in SLY]
    sent = result((*SLY, '],"weaker":[')).model_copy(update={"weaker": weaker, "tiles": tiles})
    _, got = read_reply(reply(JOB, result=sent.model_dump_json().encode()))
    assert got.detections == len(SLY) + 1
    assert DetectionResult.model_validate_json(orjson.dumps(got.result)) == sent


def test_a_result_that_is_written_otherwise() -> None:
    """Spaces between its parts, as another writer might set them, only cost time."""
    sent = result(SLY)
    _, got = read_reply(reply(JOB, result=sent.model_dump_json(indent=1).encode()))
    assert got.detections == len(SLY)
    assert DetectionResult.model_validate_json(orjson.dumps(got.result)) == sent


def test_an_error() -> None:
    """Code and message come through."""
    error = JobError(code="invalid_image", message='cut "short": ],"timings_ms":{')
    assert read_reply(reply(JOB, error=error))[1].error == error
