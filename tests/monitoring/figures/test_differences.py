"""monitoring.figures.differences: what is said to be different, how much, and what is not said."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan

from monitoring.figures.differences import LEAST, Differences, cliff, differences
from monitoring.stores.comparing import ComparedSide, ComparedSides, attributes_of, values_of
from monitoring.stores.contract import Span, TraceSummary
from monitoring.stores.embedded.otlp import span_of
from monitoring.stores.summary import summarize
from telemetry import catalogue
from tests.monitoring import traffic

WAIT, INFERENCE = catalogue.SPAN_QUEUE_WAIT, catalogue.SPAN_INFERENCE


def modelled(spans: list[ReadableSpan]) -> list[Span]:
    (group,) = ExportTraceServiceRequest.FromString(traffic.encoded(spans)).resource_spans
    return [span_of(span, "some") for span in group.scope_spans[0].spans]


def summary(number: int, **facts: Any) -> TraceSummary:
    given: dict[str, Any] = {
        "duration_ms": 100.0, "status": "ok", "outcome": "ok", "route": "api", "worker": "w1",
        "stages_ms": {WAIT: 10.0, INFERENCE: 50.0},
    } | facts  # fmt: skip
    return TraceSummary(f"{number:032x}", f"{number:016x}", number, **given)


def side(
    sample: Sequence[TraceSummary], attributes: Sequence[Mapping[str, Any]] = ()
) -> ComparedSide:
    values = Counter(value for each in sample for value in values_of(each))
    return ComparedSide(len(sample), values, len(sample), sample, attributes)


def compared(selected: ComparedSide, rest: ComparedSide) -> Differences:
    return differences(ComparedSides(selected, rest, 100.0))


def test_a_value_that_is_more_frequent() -> None:
    """Shares of all images of each side, how much more often, and the difference of the shares;
    what is the same on both sides is not listed."""
    slow = side([summary(i, worker="w2" if i < 80 else "w1", client="camera") for i in range(100)])
    others = side(
        [summary(i, worker="w2" if i < 50 else "w1", client="camera") for i in range(500)]
    )
    found = compared(slow, others)
    assert (found.selected.count, found.rest.count, found.enough) == (100, 500, True)
    assert [(each.attribute, each.value) for each in found.values] == [
        (catalogue.ATTR_WORKER, "w1"), (catalogue.ATTR_WORKER, "w2"),
    ]  # fmt: skip
    w2 = found.values[1]
    assert (w2.count, w2.of, w2.rest_count, w2.rest_of) == (80, 100, 50, 500)
    assert (w2.share, w2.rest_share, w2.lift, w2.difference) == (0.8, 0.1, 8.0, 0.7)
    assert w2.sure


def test_what_the_rest_has_not_has_no_lift() -> None:
    """Nothing is divided by none."""
    slow = side([summary(i, error_type="no_worker") for i in range(50)])
    found = compared(slow, side([summary(i) for i in range(50)]))
    (code,) = [each for each in found.values if each.attribute == catalogue.ATTR_PROBLEM_CODE]
    assert (code.value, code.lift, code.rest_count, code.sure) == ("no_worker", None, 0, True)


def test_chance_is_not_sure() -> None:
    """Two samples of the same kind differ in something, and of nothing that is sure."""
    rng = random.Random(7)

    def some(count: int) -> ComparedSide:
        sample = [
            summary(
                i, worker=f"w{rng.randrange(4)}", score=rng.random(), detections=rng.randrange(9)
            )
            for i in range(count)
        ]
        traced = [{"size": rng.random(), "kind": f"k{rng.randrange(5)}"} for _ in range(count)]
        return side(sample, traced)

    found = compared(some(200), some(1000))
    assert found.values
    assert found.numbers
    assert not any(each.sure for each in (*found.values, *found.numbers, *found.stages))


def test_too_few() -> None:
    """With fewer than twenty on a side nothing is compared, and that is said."""
    few, many = side([summary(i) for i in range(LEAST - 1)]), side([summary(i) for i in range(99)])
    for sides in ((few, many), (many, few)):
        found = compared(*sides)
        assert (found.enough, found.least) == (False, LEAST)
        assert (found.stages, found.values, found.numbers) == ([], [], [])
    assert compared(few, many).selected.count == LEAST - 1


def test_a_few_lucky_ones_are_not_sure() -> None:
    """A value that hardly any image has is never sure, though no other side has it."""
    slow = side([summary(i, model="new" if i < 3 else "old") for i in range(30)])
    found = compared(slow, side([summary(i, model="old") for i in range(1000)]))
    assert not any(each.sure for each in found.values)


def test_few_of_few_are_sure_where_chance_is_not_likely() -> None:
    """Twenty of a hundred that all have what no other has: an approximation would not say so."""
    slow = side([summary(i, model="new") for i in range(20)])
    found = compared(slow, side([summary(i, model="old") for i in range(80)]))
    assert [each.sure for each in found.values] == [True, True]


def test_where_the_time_goes() -> None:
    """Medians of each stage, and how much of the longer duration each stage makes; what is in no
    stage is elsewhere. A stage that an image did not reach took no time of it."""
    slow = [
        summary(i, duration_ms=300.0, stages_ms={WAIT: 200.0, INFERENCE: 60.0}) for i in range(40)
    ]
    others = [summary(i) for i in range(38)]
    others += [summary(i, duration_ms=100.0, stages_ms={}) for i in range(38, 40)]
    found = compared(side(slow), side(others))
    wait, inference, elsewhere = found.stages
    assert [each.stage for each in found.stages] == [WAIT, INFERENCE, "elsewhere"]
    assert (wait.median_ms, wait.rest_median_ms) == (200.0, 10.0)
    assert wait.extra_ms == pytest.approx(200 - 9.5)
    assert wait.extra_share == pytest.approx(190.5 / 200, abs=1e-4)
    assert sum(each.extra_ms for each in found.stages) == pytest.approx(200)
    assert (inference.sure, wait.sure, wait.difference) == (True, True, 1.0)
    assert elsewhere.extra_ms == pytest.approx(40 - (38 * 40 + 2 * 100) / 40)


def test_all_that_spans_say() -> None:
    """Numbers by their medians, texts and items of lists by their shares; what is each image's own
    is left out, and a status is no number."""

    def traced(size: int, kind: str, status: int) -> dict[str, Any]:
        return {
            catalogue.ATTR_IMAGE_BYTES: size, catalogue.ATTR_IMAGE_FORMAT: kind,
            "http.response.status_code": status, "tags": ["x", kind], "flag": True,
            catalogue.ATTR_BOX_CORNERS: [size % 2, 7, 640, 480],
            catalogue.ATTR_JOB_ID: f"job-{size}", "client.port": size, "nested": {"a": 1},
        }  # fmt: skip

    slow = side([summary(i) for i in range(50)], [traced(1000 + i, "PNG", 500) for i in range(50)])
    others = side([summary(i) for i in range(50)], [traced(i, "JPEG", 200) for i in range(50)])
    found = compared(slow, others)
    (size,) = found.numbers
    assert (size.attribute, size.difference, size.sure) == (catalogue.ATTR_IMAGE_BYTES, 1.0, True)
    assert (size.median, size.rest_median, size.of) == (1024.5, 24.5, 50)
    assert {(each.attribute, each.value) for each in found.values} == {
        (catalogue.ATTR_IMAGE_FORMAT, "PNG"), (catalogue.ATTR_IMAGE_FORMAT, "JPEG"),
        ("http.response.status_code", "500"), ("http.response.status_code", "200"),
        ("tags", "PNG"), ("tags", "JPEG"),
    }  # fmt: skip


def test_what_is_listed_is_bounded() -> None:
    """Of an attribute with many values those that differ most."""
    slow = side([summary(i, worker=f"w{i % 50}") for i in range(5000)])
    found = compared(slow, side([summary(i, worker="other") for i in range(5000)]))
    assert len(found.values) == 5
    assert found.values[0].value == "other"


def test_cliff() -> None:
    """By hand: of nine pairs five are above, one is equal, three are below; samples of 3 are too
    small, so each value is there ten times."""
    delta, sure = cliff([3, 5, 9] * 10, [2, 5, 6] * 10)
    assert delta == pytest.approx((5 - 3) / 9, abs=1e-4)
    assert not sure
    assert cliff([1.0] * 30, [1.0] * 30) == (0.0, False)
    assert cliff([1.0] * 5, [2.0] * 30) == (0.0, False)
    assert cliff([2.0] * 30, [1.0] * 30) == (1.0, True)


def test_attributes_of_one_request() -> None:
    """Of a trace of two requests, those of the one that is asked for; of two tries the last."""
    caller = traffic.context()
    one, two = (traffic.image(10**18 + i * 10**9, parent=caller, job_id=f"job-{i}") for i in (0, 1))
    spans = [each for part in (*one, *two) for each in modelled(part)]
    first, second = summarize(spans)
    for request, job in ((first, "job-0"), (second, "job-1")):
        found = attributes_of(request.span_id, spans)
        assert found[catalogue.ATTR_MESSAGING_MESSAGE_ID] == job
        assert found[catalogue.ATTR_BATCH_SIZE] == 4
    assert attributes_of("0" * 16, spans) == {}
