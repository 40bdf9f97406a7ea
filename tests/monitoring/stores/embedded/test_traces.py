"""monitoring.stores.embedded.traces: spans in, summaries and whole traces out."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import Link, SpanKind

from monitoring.stores.contract import Window
from monitoring.stores.embedded.otlp import MalformedTelemetry
from monitoring.stores.embedded.store import EmbeddedStore
from telemetry import catalogue
from tests.monitoring import traffic
from tests.monitoring.conftest import NOW_S, Clock

START_NS = int(NOW_S * 1e9)
INTACT = traffic.encoded([span for part in traffic.image(START_NS) for span in part])


def receive(store: EmbeddedStore, *exports: list) -> None:
    for spans in exports:
        assert store.receive_traces(traffic.encoded(spans)).count == 0
    store.flush()


def test_one_image_is_one_trace(store: EmbeddedStore) -> None:
    """The spans of frontend and worker come back as one trace, by start, each with its service."""
    frontend, worker = traffic.image(START_NS)
    receive(store, worker, frontend)
    spans = store.traces.get(traffic.trace_id(frontend))
    assert [(span.name, span.kind, span.service) for span in spans] == [
        ("POST /api/v1/detect", "SERVER", catalogue.SERVICE_FRONTEND),
        ("upload", "INTERNAL", catalogue.SERVICE_FRONTEND),
        ("enqueue detections", "PRODUCER", catalogue.SERVICE_FRONTEND),
        ("queue_wait", "INTERNAL", catalogue.SERVICE_WORKER),
        ("process detections", "CONSUMER", catalogue.SERVICE_WORKER),
        ("preprocess", "INTERNAL", catalogue.SERVICE_WORKER),
        ("inference", "INTERNAL", catalogue.SERVICE_WORKER),
        ("nms", "INTERNAL", catalogue.SERVICE_WORKER),
    ]
    ids = {span.span_id for span in spans}
    assert spans[0].parent_span_id is None
    assert all(span.parent_span_id in ids for span in spans[1:])


def test_everything_of_a_span_is_kept(store: EmbeddedStore) -> None:
    """Attributes of every type, links, events and the status come back as they were sent."""
    other = traffic.context()
    sent = traffic.span(
        "inference",
        start_ns=START_NS,
        duration_ms=1.5,
        attributes={"s": "x", "i": 2**40, "f": 0.25, "b": True, "a": ["p", "q"]},
        links=[Link(other, {"why": "batch"})],
        error="model said no",
    )
    receive(store, [sent])
    (span,) = store.traces.get(traffic.trace_id([sent]))
    assert span.attributes == {"s": "x", "i": 2**40, "f": 0.25, "b": True, "a": ["p", "q"]}
    assert (span.status, span.status_message) == ("error", "model said no")
    assert span.start_unix_ns == START_NS
    assert span.duration_ms == 1.5
    assert span.links[0].trace_id == f"{other.trace_id:032x}"
    assert span.links[0].attributes == {"why": "batch"}
    assert span.events[0].name == "exception"
    assert span.events[0].attributes["exception.message"] == "model said no"


def test_summary(store: EmbeddedStore) -> None:
    """A search tells of each request what a list of recent images shows."""
    frontend, worker = traffic.image(START_NS, duration_ms=60, detections=3, job_id="job-1")
    receive(store, frontend, worker)
    (found,) = store.traces.search()
    assert found.trace_id == traffic.trace_id(frontend)
    assert (found.start_unix_ns, found.duration_ms) == (START_NS, 60)
    assert (found.status, found.outcome, found.route) == ("ok", "ok", "api")
    assert (found.detections, found.job_id, found.error_type) == (3, "job-1", None)
    assert found.stages_ms == {
        "upload": 3, "queue_wait": 5, "preprocess": 6, "inference": 25, "nms": 2,
    }  # fmt: skip


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_spans_arrive_in_any_order(store: EmbeddedStore, order: tuple[int, ...]) -> None:
    """Whatever order exports arrive in, the summary is the same."""
    frontend, worker = traffic.image(START_NS)
    exports = [frontend[:2], frontend[2:], worker[:3], worker[3:]]
    receive(store, *(exports[i] for i in order))
    (found,) = store.traces.search()
    assert list(found.stages_ms) == list(catalogue.STAGES)
    assert found.detections == 2


def test_a_summary_fills_in(store: EmbeddedStore) -> None:
    """Before the worker's spans are there, the summary has the stages that are known."""
    frontend, worker = traffic.image(START_NS)
    receive(store, frontend)
    assert store.traces.search()[0].stages_ms == {"upload": 3}
    receive(store, worker)
    assert len(store.traces.search()[0].stages_ms) == 5


def test_a_failed_image(store: EmbeddedStore) -> None:
    """A failed request says what went wrong and is found as an error, and only as one."""
    good, _ = traffic.image(START_NS)
    bad, _ = traffic.image(START_NS + 1, outcome="failed", error="model said no")
    receive(store, good, bad)
    (found,) = store.traces.search(status="error")
    assert found.trace_id == traffic.trace_id(bad)
    assert (found.outcome, found.error_type) == ("failed", "inference_failed")
    assert found.error_message == "model said no"
    assert found.detections is None
    assert [each.trace_id for each in store.traces.search(status="ok")] == [traffic.trace_id(good)]


def test_an_outcome_that_is_not_ok_is_an_error(store: EmbeddedStore) -> None:
    """A refused image counts as an error even if its span's status was left alone."""
    spans, _ = traffic.image(START_NS, outcome="invalid")
    receive(store, spans)
    assert [each.outcome for each in store.traces.search(status="error")] == ["invalid"]


def test_search_filters_and_orders(store: EmbeddedStore) -> None:
    """Newest or slowest first, by least duration, by window, as many as asked."""
    rng = random.Random(7)
    images = [
        traffic.image(START_NS + i * 10**9, duration_ms=rng.randrange(1, 500))[0]
        for i in range(200)
    ]
    receive(store, *images)
    everything = store.traces.search(limit=1000)
    assert len(everything) == 200
    starts = [each.start_unix_ns for each in everything]
    assert starts == sorted(starts, reverse=True)
    assert store.traces.search(limit=7) == everything[:7]
    slow = store.traces.search(limit=1000, min_duration_ms=300)
    assert slow == [each for each in everything if each.duration_ms >= 300]
    ten = store.traces.search(limit=10, order="slowest")
    assert [each.duration_ms for each in ten] == sorted(
        (each.duration_ms for each in everything), reverse=True
    )[:10]
    window = Window(NOW_S + 50, NOW_S + 60)
    inside = store.traces.search(window=window)
    assert [each.start_unix_ns for each in inside] == starts[140:150]
    assert {each.trace_id for each in store.traces.search(window=window, order="slowest")} == {
        each.trace_id for each in inside
    }


def test_images_under_one_traceparent(store: EmbeddedStore) -> None:
    """A caller's trace with several images: one trace, a summary with its own stages for each."""
    caller = traffic.context()
    pairs = [traffic.image(START_NS + i, parent=caller, detections=i, job_id=f"job-{i}")
             for i in range(3)]  # fmt: skip
    receive(store, *(frontend + worker for frontend, worker in pairs))
    found = store.traces.search()
    assert [each.job_id for each in found] == ["job-2", "job-1", "job-0"]
    assert [each.detections for each in found] == [2, 1, 0]
    assert {each.trace_id for each in found} == {f"{caller.trace_id:032x}"}
    assert all(list(each.stages_ms) == list(catalogue.STAGES) for each in found)
    assert len(store.traces.get(found[0].trace_id)) == 24


def test_a_batch_is_kept_but_not_listed(store: EmbeddedStore) -> None:
    """The span of a whole batch can be fetched by its trace id; it is no request."""
    batch = traffic.span(catalogue.SPAN_BATCH, start_ns=START_NS, duration_ms=30)
    receive(store, [batch])
    assert store.traces.search() == []
    assert [span.name for span in store.traces.get(traffic.trace_id([batch]))] == ["batch"]


def test_other_server_spans_are_not_listed(store: EmbeddedStore) -> None:
    """Only a request for detection, known by its route, is one; a health check is none."""
    health = traffic.span("GET /healthz", SpanKind.SERVER, service=catalogue.SERVICE_FRONTEND,
                          start_ns=START_NS, duration_ms=1)  # fmt: skip
    foreign = traffic.span("POST /", SpanKind.SERVER, service="somebody-else",
                           start_ns=START_NS, duration_ms=1)  # fmt: skip
    receive(store, [health, foreign])
    assert store.traces.search() == []


def test_a_renamed_service(store: EmbeddedStore) -> None:
    """Images are listed whatever OTEL_SERVICE_NAME calls the service."""
    image = traffic.span("POST /api/v1/detect", SpanKind.SERVER, service="mine",
                         start_ns=START_NS, duration_ms=1,
                         attributes={catalogue.ATTR_ROUTE: "api"})  # fmt: skip
    receive(store, [image])
    assert [found.route for found in store.traces.search()] == ["api"]


def test_an_export_that_comes_twice(store: EmbeddedStore) -> None:
    """A sender that got no answer sends again: nothing is doubled."""
    frontend, worker = traffic.image(START_NS)
    receive(store, frontend, worker, frontend, worker)
    assert len(store.traces.search()) == 1
    assert len(store.traces.get(traffic.trace_id(frontend))) == 8


def test_a_second_try_counts(store: EmbeddedStore) -> None:
    """Of an image that was tried twice, the stages are those of the last try."""
    frontend, first = traffic.image(START_NS)
    enqueue = frontend[1]
    again = traffic.span(catalogue.SPAN_PROCESS, SpanKind.CONSUMER, parent=enqueue,
                         start_ns=START_NS + 10**9, duration_ms=50)  # fmt: skip
    inference = traffic.span(catalogue.SPAN_INFERENCE, parent=again,
                             start_ns=START_NS + 10**9, duration_ms=44)  # fmt: skip
    receive(store, frontend, [again, inference], first)
    assert store.traces.search()[0].stages_ms["inference"] == 44


def test_unknown_traces(store: EmbeddedStore) -> None:
    """A trace that is not there, or an id that is none, is an empty list."""
    assert store.traces.get("0" * 31 + "1") == []
    assert store.traces.get("not hexadecimal") == []


def test_history_outlives_the_process(path: Path, clock: Clock) -> None:
    """What was received before a restart is there after it."""
    frontend, worker = traffic.image(START_NS)
    first = EmbeddedStore(path, clock=clock)
    first.receive_traces(traffic.encoded(frontend + worker))
    first.close()  # without a flush: closing stores what is waiting
    second = EmbeddedStore(path, clock=clock)
    assert len(second.traces.search()) == 1
    assert len(second.traces.get(traffic.trace_id(frontend))) == 8
    second.close()


def test_spans_that_cannot_be(store: EmbeddedStore) -> None:
    """A span without ids or times is rejected and counted; the others are stored."""
    frontend, _ = traffic.image(START_NS)
    message = ExportTraceServiceRequest.FromString(traffic.encoded(frontend))
    spans = message.resource_spans[0].scope_spans[0].spans
    spans.add(trace_id=b"short", span_id=b"12345678", start_time_unix_nano=1)
    spans.add(trace_id=b"1" * 16, span_id=bytes(8), start_time_unix_nano=1)
    spans.add(trace_id=b"1" * 16, span_id=b"12345678", start_time_unix_nano=2**64 - 1)
    rejected = store.receive_traces(message.SerializeToString())
    store.flush()
    assert rejected.count == 3
    assert "trace id" in rejected.reason
    assert len(store.traces.search()) == 1


def test_bytes_that_are_no_message(store: EmbeddedStore) -> None:
    """Anything that is not protobuf is an error that says so."""
    with pytest.raises(MalformedTelemetry, match="ExportTraceServiceRequest"):
        store.receive_traces(b"\xff\xff\xff")


def test_values_that_json_does_not_know(store: EmbeddedStore) -> None:
    """What comes out is JSON, whatever came in: unknown kinds, NaN, bytes."""
    message = ExportTraceServiceRequest()
    span = (
        message.resource_spans.add()
        .scope_spans.add()
        .spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, start_time_unix_nano=START_NS, kind=99)
    )  # type: ignore[arg-type]
    span.attributes.add(key="nan").value.double_value = float("nan")
    span.attributes.add(key="bytes").value.bytes_value = b"\x00\xff"
    span.attributes.add(key="nothing")
    store.receive_traces(message.SerializeToString())
    store.flush()
    (found,) = store.traces.get((b"t" * 16).hex())
    assert (found.kind, found.service, found.duration_ms) == ("UNSPECIFIED", "unknown_service", 0)
    assert found.attributes == {"nan": "nan", "bytes": "00ff", "nothing": None}
    json.dumps(asdict(found), allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_exports(data: st.DataObject) -> None:
    """Whatever bytes arrive, they are refused or stored; reading goes on, and nothing breaks."""
    damaged = bytearray(INTACT)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(INTACT) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder) / "telemetry.db", clock=Clock())
        for receive_one in (store.receive_traces, store.receive_metrics):
            with contextlib.suppress(MalformedTelemetry):
                receive_one(bytes(damaged))
        store.flush()
        for summary in store.traces.search():
            json.dumps(asdict(summary), allow_nan=False)
            for span in store.traces.get(summary.trace_id):
                json.dumps(asdict(span), allow_nan=False)
        assert store.writer.failed == 0
        store.close()
