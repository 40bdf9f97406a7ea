"""One image, one trace, exact metrics: read from the store of a running service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from monitoring.stores.contract import Window
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.selection import FILE_NAME
from telemetry import catalogue
from telemetry.definitions import Metric
from tests.integration import pictures
from tests.monitoring.conftest import program, running
from tests.servers import PATIENCE_S, Service, eventually, free_port
from tests.spans import spans_of

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
SERVER = "POST /api/v1/detect"

SPANS = spans_of(SERVER)


#: What a type of the catalogue is in JSON.
TYPES = {
    "string": (str,), "int": (int,), "double": (float, int),
    "string[]": (list,), "int[]": (list,), "double[]": (list,),
}  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that these tests alone send images to: what they did not send, it never counts."""
    with Service(tmp_path_factory.mktemp("alone") / "home") as running:
        yield running.wait_until_ready()


@contextmanager
def store_of(service: Service) -> Iterator[EmbeddedStore]:
    """The service's own store, opened a second time."""
    opened = EmbeddedStore(service.home / FILE_NAME)
    yield opened
    opened.close()


def by_name(spans: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {span["name"]: span for span in spans}
    assert len(found) == len(spans), "a span appears twice"
    return found


def test_the_trace_of_one_image(service: Service, client: httpx.Client) -> None:
    """Exactly the spans of an image's way: names, kinds, services, parents, times, attributes."""
    data = pictures.phone(500, 300)
    answer = client.post(DETECT, content=data, headers=JPEG, params={"score_threshold": 0.01})
    result = answer.json()
    time.sleep(1)  # whatever does not belong there would have come by now
    spans = by_name(service.spans(result["trace_id"], len(SPANS)))
    assert set(spans) == set(SPANS)
    for name, (kind, of, parent) in SPANS.items():
        span = spans[name]
        assert (span["kind"], span["service"]) == (kind, of), name
        assert span["parent_span_id"] == (spans[parent]["span_id"] if parent else None), name
        assert span["status"] in ("unset", "ok"), name
        assert span["events"] == [], name
    attributes = {name: span["attributes"] for name, span in spans.items()}
    labels = sorted({detection["label"] for detection in result["detections"]})
    count = len(result["detections"])
    assert count > 0

    server = attributes[SERVER]
    assert server["damoscope.outcome"] == "ok"
    assert server["damoscope.route"] == "api"
    assert server["damoscope.job.id"] == result["job_id"]
    assert server["damoscope.detections"] == count
    assert server["http.response.status_code"] == 200
    assert attributes["upload"] == {
        "damoscope.image.format": "JPEG", "damoscope.image.bytes": len(data),
        "damoscope.image.width": 500, "damoscope.image.height": 300,
    }  # fmt: skip
    message = {
        "messaging.system": "rq", "messaging.destination.name": "detections",
        "messaging.message.id": result["job_id"],
    }  # fmt: skip
    assert attributes["enqueue detections"] == message | {
        "messaging.operation.name": "enqueue", "messaging.operation.type": "send",
    }  # fmt: skip
    assert attributes["process detections"] == message | {
        "messaging.operation.name": "process", "messaging.operation.type": "process",
        "damoscope.attempt": 1, "damoscope.worker": result["worker"],
        "damoscope.model": result["model"], "damoscope.model.version": result["model_version"],
        "damoscope.detections": count, "damoscope.labels": labels,
        "damoscope.score": max(detection["score"] for detection in result["detections"]),
    }  # fmt: skip
    assert attributes["queue_wait"] == {}
    assert attributes["preprocess"] == {}
    assert attributes["inference"] == {
        "damoscope.batch.size": 1, "damoscope.provider": "cpu", "damoscope.model": result["model"],
        "damoscope.model.version": result["model_version"],
    }  # fmt: skip
    assert attributes["nms"]["damoscope.detections"] == count
    assert attributes["nms"]["damoscope.nms.candidates"] >= count
    best = result["detections"][: catalogue.BOXES_MAX]
    assert attributes["nms"]["damoscope.boxes.labels"] == [found["label"] for found in best]
    assert attributes["nms"]["damoscope.boxes.scores"] == [found["score"] for found in best]
    assert attributes["nms"]["damoscope.boxes.corners"] == [
        round(found["box"][corner]) for found in best for corner in ("x1", "y1", "x2", "y2")
    ]

    timings = result["timings_ms"]
    for stage in catalogue.STAGES:
        assert spans[stage]["duration_ms"] == pytest.approx(timings[stage], abs=0.01), stage
    for name in ("preprocess", "inference", "nms"):
        inside, process = spans[name], spans["process detections"]
        assert inside["start_unix_ns"] >= process["start_unix_ns"]
        assert end(inside) <= end(process) + 1000
    assert end(spans["queue_wait"]) == pytest.approx(
        spans["process detections"]["start_unix_ns"], abs=1000
    )
    summary = service.summary(result["trace_id"])
    assert (summary["status"], summary["outcome"]) == ("ok", "ok")
    assert summary["detections"] == count
    assert list(summary["stages_ms"]) == list(catalogue.STAGES)


def end(span: dict[str, Any]) -> float:
    return float(span["start_unix_ns"]) + float(span["duration_ms"]) * 1e6


def test_inference_links_to_its_batch(service: Service, client: httpx.Client) -> None:
    """The inference span links to the call of the model, which has a trace of its own."""
    answer = client.post(DETECT, content=pictures.jpeg(), headers=JPEG)
    spans = by_name(service.spans(answer.headers["x-trace-id"], len(SPANS)))
    (link,) = spans["inference"]["links"]
    (batch,) = service.spans(link["trace_id"], 1)
    assert (batch["name"], batch["span_id"]) == ("batch", link["span_id"])
    (back,) = batch["links"]
    assert back["trace_id"] == answer.headers["x-trace-id"]


def test_the_callers_trace_is_continued(service: Service, client: httpx.Client) -> None:
    """A request that comes with a traceparent is part of that trace, under the caller's span."""
    trace_id, span_id = "a1" * 16, "b2" * 8
    headers = JPEG | {"traceparent": f"00-{trace_id}-{span_id}-01"}
    answer = client.post(DETECT, content=pictures.jpeg(), headers=headers)
    assert answer.headers["x-trace-id"] == trace_id
    assert answer.json()["trace_id"] == trace_id
    spans = by_name(service.spans(trace_id, len(SPANS)))
    assert spans[SERVER]["parent_span_id"] == span_id
    assert spans["process detections"]["service"] == "damoscope-worker"


@pytest.mark.parametrize("header", ["", "00-xyz", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_damaged_traceparent(client: httpx.Client, header: str) -> None:
    """A traceparent that is none begins a new trace."""
    answer = client.post(DETECT, content=pictures.jpeg(), headers=JPEG | {"traceparent": header})
    assert answer.status_code == 200
    assert set(answer.headers["x-trace-id"]) != {"0"}
    assert len(answer.headers["x-trace-id"]) == 32


def test_the_trace_of_an_error(service: Service, client: httpx.Client) -> None:
    """What is wrong is said on the request and the stage; the exception is recorded once, on the
    stage. It is the client's error, so no span has an error's status."""
    answer = client.post(DETECT, content=b"junk", headers=JPEG)
    spans = by_name(service.spans(answer.headers["x-trace-id"], 2))
    assert set(spans) == {SERVER, "upload"}
    for span in spans.values():
        assert (span["status"], span["status_message"]) == ("unset", "")
        assert span["attributes"]["damoscope.problem.code"] == "invalid_image"
        assert span["attributes"]["damoscope.problem.detail"] == answer.json()["detail"]
        assert "error.type" not in span["attributes"]
    (event,) = [event for span in spans.values() for event in span["events"]]
    assert event in spans["upload"]["events"]
    assert event["name"] == "exception"
    assert event["attributes"]["exception.type"] == "pipeline.errors.InvalidImage"


def test_only_detections_are_traced(service: Service, client: httpx.Client) -> None:
    """Pages, health checks, lists and the telemetry itself leave no trace."""
    for path in ("/healthz", "/readyz", "/api/v1/traces", "/openapi.json", "/api/v1/jobs/x"):
        assert "x-trace-id" not in client.get(path).headers
    answer = client.post(DETECT, content=pictures.jpeg(), headers=JPEG)
    service.spans(answer.headers["x-trace-id"], len(SPANS))
    for summary in client.get("/api/v1/traces", params={"limit": 1000}).json():
        assert summary["route"] in ("api", "ui")


def test_lists_of_traces(service: Service, client: httpx.Client) -> None:
    """Traces can be filtered by status and least duration; the newest come first."""
    good = client.post(DETECT, content=pictures.jpeg(), headers=JPEG).headers["x-trace-id"]
    bad = client.post(DETECT, content=b"junk", headers=JPEG).headers["x-trace-id"]
    service.summary(good)
    service.summary(bad)

    def ids(**params: Any) -> list[str]:
        found = client.get("/api/v1/traces", params={"limit": 1000} | params).json()
        starts = [entry["start_unix_ns"] for entry in found]
        assert starts == sorted(starts, reverse=True)
        return [entry["trace_id"] for entry in found]

    assert good in ids(status="ok")
    assert bad not in ids(status="ok")
    assert bad in ids(status="error")
    assert good not in ids(status="error")
    assert ids(min_duration_ms=1e7) == []
    assert len(ids(limit=1)) == 1


def test_metrics_count_every_request(alone: Service) -> None:
    """N requests are N in the counters and histograms, and the sums are the results' own."""
    with alone.client() as client, store_of(alone) as store:
        _counts_every_request(client, store)


def _counts_every_request(client: httpx.Client, store: EmbeddedStore) -> None:
    window = Window(time.time() - 3600, time.time() + 600)

    def requests() -> dict[tuple[str, ...], float]:
        return store.metrics.increase(catalogue.REQUESTS, window, by=("outcome", "route"))

    def stages() -> dict[str, tuple[int, float]]:
        found = store.metrics.histogram(catalogue.STAGE_DURATION, window, by=("stage",))
        return {stage: (each.count, each.sum) for (stage,), each in found.items()}

    def counts() -> dict[str, float]:
        every: dict[str, float] = {
            f"requests {key}": value for key, value in requests().items()
        } | {stage: count for stage, (count, _) in stages().items()}
        durations = store.metrics.histogram(catalogue.REQUEST_DURATION, window, by=("outcome",))
        every |= {f"duration {key}": each.count for (key,), each in durations.items()}
        sizes = store.metrics.histogram(catalogue.IMAGE_SIZE, window)
        every["sizes"] = sum(each.count for each in sizes.values())
        every["batches"] = sum(
            each.count for each in store.metrics.histogram(catalogue.BATCH_SIZE, window).values()
        )
        every["detections"] = sum(store.metrics.increase(catalogue.DETECTIONS, window).values())
        every["scores"] = sum(
            each.count
            for each in store.metrics.histogram(catalogue.DETECTION_SCORE, window).values()
        )
        return every

    before, sums_before = counts(), stages()
    results = [
        client.post(
            DETECT, content=pictures.jpeg(200 + i, 100), headers=JPEG,
            params={"score_threshold": 0.05},
        ).json()
        for i in range(12)
    ]  # fmt: skip
    for _ in range(3):
        client.post(DETECT, content=b"junk", headers=JPEG)
    for _ in range(2):
        client.post(DETECT, content=pictures.jpeg(), headers=JPEG, params={"timeout": 0})

    detections = sum(len(result["detections"]) for result in results)
    expected = {
        "requests ('ok', 'api')": 12, "requests ('invalid', 'api')": 5, "duration ok": 12,
        "duration invalid": 5, "upload": 15, "queue_wait": 12, "preprocess": 12, "inference": 12,
        "nms": 12, "sizes": 12, "batches": 12, "detections": detections, "scores": detections,
    }  # fmt: skip

    def grown() -> dict[str, float]:
        return {key: value - before.get(key, 0) for key, value in counts().items()}

    eventually(
        lambda: {key: grown().get(key, 0) for key in expected} == expected,
        f"the counts {expected}",
    )  # fmt: skip
    others = {key: value for key, value in grown().items() if key not in expected and value}
    assert others == {}
    for stage in ("queue_wait", "preprocess", "inference", "nms"):
        measured_s = stages()[stage][1] - sums_before.get(stage, (0, 0.0))[1]
        told_s = sum(result["timings_ms"][stage] for result in results) / 1e3
        assert measured_s == pytest.approx(told_s, abs=1e-4), stage


def test_spans_are_what_the_catalogue_says(service: Service, client: httpx.Client) -> None:
    """Name, kind, process, attributes and their types of whatever an image leaves, good or bad."""
    good = client.post(DETECT, content=pictures.phone(), headers=JPEG).json()["trace_id"]
    bad = client.post(DETECT, content=b"no image", headers=JPEG).json()["trace_id"]
    spans = service.spans(good, len(SPANS)) + service.spans(bad, 2)
    inference = next(span for span in spans if span["name"] == "inference")
    spans += service.spans(inference["links"][0]["trace_id"], 1)
    assert {span["name"] for span in spans} == {*SPANS, "batch"}
    for span in spans:
        known = catalogue.SPANS[span["name"]]
        assert (span["kind"], span["service"]) == (known.kind, f"damoscope-{known.process}")
        for name, value in span["attributes"].items():
            attribute = catalogue.ATTRIBUTES[name]
            assert span["name"] in attribute.spans, name
            assert type(value) in TYPES[attribute.type], (name, value)


def test_gauges(service: Service) -> None:
    """The state of queue, workers and processes is reported all the time."""
    queues = {("detections",), ("detections-high",), ("detections-low",)}
    idle = {("busy",): 0.0, ("idle",): 1.0}
    processes = {("damoscope-frontend",), ("damoscope-worker",)}
    with store_of(service) as store:

        def latest(metric: Metric, *by: str) -> dict[tuple[str, ...], float]:
            return store.metrics.latest(metric, by=by)

        eventually(lambda: latest(catalogue.WORKERS, "state") == idle, "an idle worker")
        eventually(lambda: latest(catalogue.REQUESTS_ACTIVE) == {(): 0.0}, "nothing in flight")
        for metric in (catalogue.QUEUE_DEPTH, catalogue.QUEUE_OLDEST_AGE):
            eventually(lambda: set(latest(metric, "queue")) == queues, "the queues")  # noqa: B023
        memory = catalogue.PROCESS_MEMORY
        eventually(lambda: set(latest(memory, "service.name")) == processes, "both processes")


def test_stats_count_what_was_sent(alone: Service) -> None:
    """`GET /api/v1/stats` grows by exactly the requests that were sent."""
    with alone.client() as client:
        _stats_count(client)


def _stats_count(client: httpx.Client) -> None:
    def counted() -> dict[str, int]:
        answer = client.get("/api/v1/stats", params={"window": 3600})
        assert answer.status_code == 200
        found: dict[str, int] = answer.json()["requests"]
        return found

    before = counted()
    for _ in range(3):
        assert client.post(DETECT, content=pictures.phone(), headers=JPEG).is_success
    assert client.post(DETECT, content=b"x", headers=JPEG).status_code == 400
    expected = {**before, "ok": before.get("ok", 0) + 3, "invalid": before.get("invalid", 0) + 1}
    eventually(lambda: counted() == expected, str(expected))
    figures = client.get("/api/v1/stats").json()
    assert set(figures["stages_ms"]) == {"upload", "queue_wait", "preprocess", "inference", "nms"}
    assert figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"]
    assert figures["workers_busy"] + figures["workers_idle"] >= 1
    assert client.get("/api/v1/stats", params={"window": 1}).status_code == 422


def test_a_prometheus_that_scrapes_is_told_the_same(
    service: Service, client: httpx.Client, tmp_path: Path
) -> None:
    """`GET /metrics`, read by a real Prometheus, counts what `GET /api/v1/stats` counts, of every
    process under its own name."""
    assert client.post(DETECT, content=pictures.phone(), headers=JPEG).is_success
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "prometheus.yml").write_text(
        "scrape_configs:\n"
        "- {job_name: machine, scrape_interval: 5s, scrape_timeout: 5s, honor_labels: true,\n"
        f"   static_configs: [{{targets: ['{httpx.URL(service.url).netloc.decode()}']}}]}}\n"
    )
    command = [
        program("prometheus"), f"--web.listen-address=127.0.0.1:{port}",
        f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}",
    ]  # fmt: skip

    def asked(expression: str) -> dict[str, float]:
        answer = httpx.get(
            f"{url}/api/v1/query", params={"query": expression}, trust_env=False,
            timeout=PATIENCE_S,
        )  # fmt: skip
        found = answer.json()["data"]["result"]
        return {
            ",".join(row["metric"].values()): float(row["value"][1]) for row in found
        }  # fmt: skip

    with running(command, tmp_path, f"{url}/-/ready"):
        counted = "sum by (outcome) (damoscope_requests_total)"

        def told() -> dict[str, float]:
            found: dict[str, float] = client.get("/api/v1/stats", params={"window": 3600}).json()[
                "requests"
            ]
            return found

        eventually(lambda: asked(counted) and asked(counted) == told(), "the same counts")

        def each_under_its_name() -> bool:
            jobs = asked("count by (job) (count by (job, instance) (process_memory_usage_bytes))")
            return (
                asked("sum(up)") == {"": 1}
                and jobs.keys() == {"damoscope-frontend", "damoscope-worker"}
                and asked("count(target_info)") == {"": sum(jobs.values())}
            )

        eventually(each_under_its_name, "every process under its own name")
