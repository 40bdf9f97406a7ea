"""One image, one trace: in Jaeger, and in the service's own API that reads Jaeger."""

from __future__ import annotations

import json
from typing import Any

import pytest

from run.stack.ports import HOST
from telemetry import catalogue
from tests.fullstack.service import ARRIVAL_S, Load, Service
from tests.fullstack.traces import (
    IMAGE,
    REFUSED,
    Span,
    by_name,
    parent_of,
    references,
    shape_of,
    tag,
)
from tests.run.stack.servers_api import eventually, get

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def test_every_image_leaves_one_complete_trace(load: Load, service: Service) -> None:
    """Each span once, with its kind, service and parent, under the trace id of the answer."""
    assert len(load.trace_ids) == len(load.results)
    for result in load.results:
        spans = service.trace(result.trace_id)
        assert shape_of(spans) == IMAGE
        assert {span["traceID"] for span in spans} == {result.trace_id}


def test_spans_say_what_the_answer_says(load: Load, service: Service) -> None:
    """Durations and attributes of the spans are the timings and facts of the result."""
    for result in load.results[:10]:
        spans = by_name(service.trace(result.trace_id))
        request, process = spans[catalogue.SPAN_REQUEST_API], spans[catalogue.SPAN_PROCESS]
        timings = result.timings_ms.model_dump()
        for stage in catalogue.STAGES:
            # Jaeger keeps microseconds, and cuts off both ends of a span.
            assert spans[stage]["duration"] / 1e3 == pytest.approx(timings[stage], abs=0.003)
        assert tag(request, catalogue.ATTR_JOB_ID) == tag(
            process, catalogue.ATTR_MESSAGING_MESSAGE_ID
        )
        assert tag(request, catalogue.ATTR_JOB_ID) == result.job_id
        assert tag(request, catalogue.ATTR_OUTCOME) == "ok"
        assert tag(request, catalogue.ATTR_DETECTIONS) == len(result.detections)
        assert tag(process, catalogue.ATTR_WORKER) == result.worker
        assert tag(spans[catalogue.SPAN_UPLOAD], catalogue.ATTR_IMAGE_BYTES) == result.image.bytes
        assert tag(spans[catalogue.SPAN_INFERENCE], catalogue.ATTR_PROVIDER) == result.provider
        assert tag(spans[catalogue.SPAN_INFERENCE], catalogue.ATTR_BATCH_SIZE) == result.batch_size


def test_both_workers_did_some_and_say_which_process_they_are(load: Load, service: Service) -> None:
    """Spans carry service.instance.id of their process and the host's id."""
    assert len({result.worker for result in load.results}) == 2
    instances: dict[str, set[str]] = {}
    hosts = set()
    for result in load.results:
        raw = get(service.stack.ports.jaeger, f"/api/traces/{result.trace_id}")["data"][0]
        for process in raw["processes"].values():
            tags = {each["key"]: each["value"] for each in process["tags"]}
            instances.setdefault(process["serviceName"], set()).add(tags["service.instance.id"])
            hosts.add(tags["host.id"])
    assert {name: len(ids) for name, ids in instances.items()} == {
        catalogue.SERVICE_FRONTEND: 1,
        catalogue.SERVICE_WORKER: 2,
    }
    assert len(hosts) == 1


def test_inference_links_to_its_batch(load: Load, service: Service) -> None:
    """The link of an `inference` span opens a trace of its own with one `batch` span."""
    result = load.results[0]
    inference = by_name(service.trace(result.trace_id))[catalogue.SPAN_INFERENCE]
    ((trace_id, span_id),) = references(inference, "FOLLOWS_FROM")
    (batch,) = eventually(lambda: service.servers.spans(trace_id))
    assert (batch["operationName"], batch["spanID"]) == (catalogue.SPAN_BATCH, span_id)
    assert result.trace_id in {linked for linked, _ in references(batch, "FOLLOWS_FROM")}


def test_a_trace_that_a_camera_began_goes_on(service: Service) -> None:
    """An incoming `traceparent` is continued: its trace id, its span as the request's parent."""
    trace_id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    result = service.detect(traceparent=f"00-{trace_id}-{parent}-01")
    assert result.trace_id == trace_id
    spans = by_name(service.trace(trace_id))
    assert set(spans) == set(IMAGE)
    assert parent_of(spans[catalogue.SPAN_REQUEST_API]) == parent


def test_a_refused_file_leaves_its_reason(load: Load, service: Service) -> None:
    """What is no image is said on request and upload, the exception recorded once; no span has
    an error's status, as it is the client's."""
    spans = by_name(service.trace(service.record.invalid[0], REFUSED))
    assert shape_of(list(spans.values())) == REFUSED
    for span in spans.values():
        assert tag(span, "otel.status_code") != "ERROR"
        assert tag(span, catalogue.ATTR_PROBLEM_CODE) == "invalid_image"
    exceptions = {name: len(span["logs"] or []) for name, span in spans.items()}
    assert exceptions == {catalogue.SPAN_REQUEST_API: 0, catalogue.SPAN_UPLOAD: 1}


def test_the_api_shows_the_spans_that_jaeger_has(load: Load, service: Service) -> None:
    """GET /api/v1/traces/{id}: the same spans, as a flat list."""
    for result in load.results[:5]:
        in_jaeger = {span["spanID"]: span for span in service.trace(result.trace_id)}
        shown = service.get(f"/api/v1/traces/{result.trace_id}")
        assert {span["span_id"] for span in shown} == set(in_jaeger)
        for span in shown:
            _agrees(span, in_jaeger[span["span_id"]])


def _agrees(shown: dict[str, Any], span: Span) -> None:
    assert shown["name"] == span["operationName"]
    assert shown["service"] == span["service"]
    assert shown["kind"] == tag(span, "span.kind").upper()
    assert shown["parent_span_id"] == parent_of(span)
    assert shown["start_unix_ns"] == span["startTime"] * 1000
    assert shown["duration_ms"] == span["duration"] / 1000
    assert shown["status"] == "unset"
    assert [(link["trace_id"], link["span_id"]) for link in shown["links"]] == references(
        span, "FOLLOWS_FROM"
    )
    for name, value in shown["attributes"].items():
        in_jaeger = tag(span, name)
        assert value == (json.loads(in_jaeger) if isinstance(value, list) else in_jaeger), name


def test_the_api_lists_recent_images(load: Load, service: Service) -> None:
    """GET /api/v1/traces: every image with its outcome, job and stages; errors on demand."""

    def listed(**query: Any) -> dict[str, dict[str, Any]]:
        return {row["trace_id"]: row for row in service.get("/api/v1/traces", limit=500, **query)}

    rows = eventually(
        lambda: found if load.trace_ids <= set(found := listed()) else {}, timeout_s=ARRIVAL_S
    )
    for result in load.results:
        row = rows[result.trace_id]
        assert (row["status"], row["outcome"], row["route"]) == ("ok", "ok", "api")
        assert (row["job_id"], row["detections"]) == (result.job_id, len(result.detections))
        timings = result.timings_ms.model_dump()
        assert row["stages_ms"] == {
            stage: pytest.approx(timings[stage], abs=0.003) for stage in catalogue.STAGES
        }
    failed = listed(status="error")
    assert set(failed) == set(service.record.invalid)
    assert {row["error_type"] for row in failed.values()} == {"invalid_image"}
    slowest = service.get("/api/v1/traces", limit=3, order="slowest")
    durations = [row["duration_ms"] for row in slowest]
    assert durations == sorted(durations, reverse=True)
    assert durations[0] >= max(row["duration_ms"] for row in rows.values())


def test_a_trace_that_is_not_there(service: Service) -> None:
    """An unknown trace id is a 404 problem; Jaeger's own address is not given away."""
    answer = service.client.get(f"/api/v1/traces/{'0' * 31}1")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert f"{HOST}:{service.stack.ports.jaeger}" not in answer.text
