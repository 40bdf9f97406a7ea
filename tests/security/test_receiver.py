"""The embedded receiver under senders that are broken or mean harm: the service's own goes on."""

from __future__ import annotations

import io
import math
import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.trace.v1 import trace_pb2
from PIL import Image

from monitoring.stores.contract import TRACE_MAX_LINES, Window
from monitoring.stores.embedded.limits import TRACE_MAX_SPANS
from monitoring.stores.embedded.metrics import EmbeddedMetrics
from monitoring.stores.embedded.schema import Readers
from telemetry import catalogue
from tests.servers import Service, eventually

EVIL = "<script>alert(1)</script>'); DROP TABLE request; --\x1b[31m\x00[x](javascript:1) | **b**"
DAY_NS = 86_400 * 10**9


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`damoscope up`, and everything below is sent to it: what one test does the next one bears."""
    with Service(tmp_path_factory.mktemp("receiver") / "home", pages=True) as running:
        yield running.wait_until_ready()


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    """Has the token that `up` gives to its own processes: the worst that a sender can be."""
    (frontend,) = service.children("frontend")
    given = frontend.environ().get("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "")
    token = dict(pair.split("=", 1) for pair in given.split(",") if pair)

    def with_token(request: httpx.Request) -> None:
        if request.url.path.startswith("/otlp/"):
            request.headers.update(token)

    with service.client() as opened:
        opened.event_hooks = {"request": [with_token]}
        yield opened


def keys(**values: object) -> list[KeyValue]:
    return [
        KeyValue(key=name.replace("__", "."), value=AnyValue(string_value=str(value)))
        for name, value in values.items()
    ]


def span(trace_id: bytes, name: str = "x", **given: Any) -> trace_pb2.Span:
    now = time.time_ns()
    times = {"start_time_unix_nano": now - 10**9, "end_time_unix_nano": now}
    own = {"trace_id": trace_id, "span_id": secrets.token_bytes(8), "name": name, "kind": 1}
    return trace_pb2.Span(**(own | times | given))


def request_span(trace_id: bytes, **given: Any) -> trace_pb2.Span:
    told = keys(damoscope__route="api", damoscope__outcome="ok")
    named = {"name": catalogue.SPAN_REQUEST_API, "kind": 2, "attributes": told}
    return span(trace_id, **(named | given))


def send_spans(client: httpx.Client, spans: Iterable[trace_pb2.Span]) -> int:
    """Send them; how many were rejected."""
    export = ExportTraceServiceRequest()
    group = export.resource_spans.add()
    group.resource.attributes.extend(keys(service__name=EVIL))
    group.scope_spans.add().spans.extend(spans)
    answer = ExportTraceServiceResponse.FromString(send(client, "traces", export))
    return answer.partial_success.rejected_spans


def send(client: httpx.Client, kind: str, export: Any) -> bytes:
    headers = {"content-type": "application/x-protobuf"}

    def taken() -> httpx.Response | None:
        answer = client.post(f"/otlp/v1/{kind}", content=export.SerializeToString(),
                             headers=headers)  # fmt: skip
        return None if answer.status_code == 503 else answer  # busy: come back later

    answer = eventually(taken, "the receiver has room")
    assert answer is not None
    assert answer.status_code == 200, answer.text
    return answer.content


def metrics(service: str = "forged", instance: str = "forged") -> tuple[Any, Any]:
    export = ExportMetricsServiceRequest()
    group = export.resource_metrics.add()
    identity = keys(service__name=service, service__instance__id=instance)
    group.resource.attributes.extend(identity)
    return export, group.scope_metrics.add().metrics


def everything_answers(client: httpx.Client) -> None:
    """What reads telemetry answers, whatever was sent."""
    for path in (
        "/api/v1/stats?window=3600", "/api/v1/stats/series?window=3600",
        "/api/v1/traces?limit=1000",
        "/api/v1/traces?order=slowest", "/api/v1/report?days=1", "/api/v1/report?days=1&format=md",
        "/pages/traces",
    ):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert "<script>alert" not in answer.text or "json" in answer.headers["content-type"]


def own_image(client: httpx.Client, service: Service, format: str) -> None:
    """An image of the service's own is seen: its trace in the list, and its format counted."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), "gray").save(picture, format)
    answer = client.post("/api/v1/detect", content=picture.getvalue(),
                         headers={"content-type": f"image/{format.lower()}"})  # fmt: skip
    assert answer.status_code == 200, answer.text
    assert service.summary(answer.headers["x-trace-id"])["outcome"] == "ok"
    readers = Readers(service.home / "telemetry.db")
    stored = EmbeddedMetrics(readers)

    def counted() -> bool:
        window = Window.last(3600, time.time())
        return (format,) in stored.histogram(catalogue.IMAGE_SIZE, window, by=["format"])

    eventually(counted, f"a series of its own for {format}")
    readers.close()


def test_a_hundred_thousand_series(client: httpx.Client, service: Service) -> None:
    """Series of the catalogue's names and of others, more than there is room for: a new series of
    the service's own finds room, and its traces are there at once."""
    for first in range(0, 100_000, 10_000):
        export, sent = metrics()
        name = catalogue.CLIENT_REQUESTS.name if first < 60_000 else f"forged.{first}"
        total = sent.add(name=name).sum
        total.is_monotonic, total.aggregation_temporality = True, 2
        now = time.time_ns()
        for i in range(first, first + 10_000):
            total.data_points.add(attributes=keys(client=f"forged-{i}"), as_int=1,
                                  start_time_unix_nano=1, time_unix_nano=now)  # fmt: skip
        send(client, "metrics", export)
    own_image(client, service, "BMP")
    everything_answers(client)


def test_a_trace_of_sixty_thousand_spans(client: httpx.Client, service: Service) -> None:
    """A trace keeps so many spans, the rest is counted; list, page and API show it in parts."""
    trace_id = secrets.token_bytes(16)
    root = request_span(trace_id)
    send_spans(client, [root])
    for _ in range(60):
        send_spans(client, [span(trace_id, "upload", parent_span_id=root.span_id)
                            for _ in range(1000)])  # fmt: skip
    own_image(client, service, "WEBP")  # written after it: all of it has been seen to
    assert service.summary(trace_id.hex())["route"] == "api"

    address = f"/api/v1/traces/{trace_id.hex()}"
    found: list[str] = []
    following: str | None = address
    while following:
        answer = client.get(following)
        found += [each["span_id"] for each in answer.json()]
        assert len(answer.json()) <= 1000
        link = answer.links.get("next")
        following = str(answer.url.join(link["url"])) if link else None
    total, dropped = (int(answer.headers[f"x-{name}-count"]) for name in ("total", "dropped"))
    assert len(set(found)) == len(found) == total <= TRACE_MAX_SPANS
    assert total + dropped == 60_001

    page = client.get(f"/pages/traces/{trace_id.hex()}")
    assert page.text.count("<details") == 500
    assert 'data-more="1000"' in page.text
    assert str(dropped) in page.text
    more = client.get(f"/pages/traces/{trace_id.hex()}?spans=1000")
    assert more.text.count("<details") == 1000


def test_spans_of_every_odd_shape(client: httpx.Client) -> None:
    """Loops of parents, long chains, wrong ids and times, giant values: taken or rejected one by
    one, and the page shows what is there."""
    trace_id = secrets.token_bytes(16)
    own, one, other = (secrets.token_bytes(8) for _ in range(3))
    now = time.time_ns()
    chain = [secrets.token_bytes(8) for _ in range(2000)]
    good = [
        span(trace_id, EVIL, span_id=own, parent_span_id=own, attributes=keys(**{EVIL: EVIL})),
        span(trace_id, "one", span_id=one, parent_span_id=other),
        span(trace_id, "other", span_id=other, parent_span_id=one),
        request_span(trace_id, start_time_unix_nano=now + 300 * 365 * DAY_NS // 2,
                     end_time_unix_nano=now + 300 * 365 * DAY_NS // 2),
        request_span(trace_id, start_time_unix_nano=1, end_time_unix_nano=2),
        span(trace_id, "negative", end_time_unix_nano=1),
        span(trace_id, "giant", attributes=keys(a="x" * 10**6),
             events=[trace_pb2.Span.Event(name="e", attributes=keys(b="y" * 10**6))]),
        span(trace_id, "many", attributes=keys(**{f"k{i}": i for i in range(5000)})),
        *(span(trace_id, "deep", span_id=id, parent_span_id=above)
          for above, id in zip([b"", *chain], chain, strict=False)),
    ]  # fmt: skip
    bad = [
        span(b"short"), span(bytes(16)), span(trace_id, span_id=b"1"),
        span(trace_id, parent_span_id=b"123"), span(trace_id, start_time_unix_nano=0),
        span(trace_id, end_time_unix_nano=now + 400 * DAY_NS), span(trace_id, span_id=bytes(8)),
        span(trace_id, attributes=keys(**{f"{i}": "z" * 4000 for i in range(100)})),
    ]  # fmt: skip
    assert send_spans(client, [*good, *good, *bad]) == len(bad)
    page = f"/pages/traces/{trace_id.hex()}?spans=5000"

    def shown() -> str:
        text = client.get(page).text
        return text if text.count("<details") == len(good) else ""

    text = eventually(shown, "every good span once")
    assert "<script>alert" not in text
    assert len(text) < 4 * 10**6
    newest = client.get("/api/v1/traces", params={"limit": 1}).json()
    assert newest[0]["start_unix_ns"] < time.time_ns() + DAY_NS
    everything_answers(client)


def test_metrics_of_every_odd_shape(client: httpx.Client, service: Service) -> None:
    """Values that are none or overflow what adds them up, absurd buckets, times and names."""
    export, sent = metrics(service=catalogue.SERVICE_FRONTEND)
    now = time.time_ns()
    for value in (math.nan, math.inf, -math.inf, 1e308, -1e308):
        sent.add(name=catalogue.QUEUE_DEPTH.name).gauge.data_points.add(
            as_double=value, time_unix_nano=now, attributes=keys(queue="q"))  # fmt: skip
    for at in (1, now - 400 * DAY_NS, now + 400 * DAY_NS, 2**64 - 1):
        sent.add(name=catalogue.QUEUE_DEPTH.name).gauge.data_points.add(
            as_double=1, time_unix_nano=at, attributes=keys(queue=f"q{at}"))  # fmt: skip
    # As many as it takes to leave 64 bits behind, into the buckets of one moment.
    overflow = sent.add(name=catalogue.REQUEST_DURATION.name).histogram
    overflow.aggregation_temporality = 1
    for i in range(3000):
        overflow.data_points.add(
            bucket_counts=[2**52, 0], explicit_bounds=[1.0], sum=1e308, time_unix_nano=now + i,
            attributes=keys(outcome="ok", route="api"),
        )  # fmt: skip
        overflow.data_points.add(
            bucket_counts=[2**47, 0], explicit_bounds=[1.0], sum=1e15, time_unix_nano=now + i,
            attributes=keys(outcome="ok", route="api"),
        )  # fmt: skip
    wide = sent.add(name=catalogue.IMAGE_SIZE.name).histogram.data_points.add(
        explicit_bounds=range(5000), bucket_counts=[1] * 5001, time_unix_nano=now)  # fmt: skip
    assert len(wide.bucket_counts) == 5001
    sent.add(name="e").exponential_histogram.data_points.add(
        count=1, scale=2**31 - 1, time_unix_nano=now,
        positive=pb.ExponentialHistogramDataPoint.Buckets(offset=-(2**31), bucket_counts=[1]),
    )  # fmt: skip
    for name in ("", "n" * 10**5, EVIL):
        sent.add(name=name).gauge.data_points.add(
            as_int=-(2**63), time_unix_nano=now, attributes=keys(**{EVIL: EVIL}))  # fmt: skip
    sent.add(name="long").gauge.data_points.add(
        as_int=1, time_unix_nano=now, attributes=keys(a="v" * 10**6))  # fmt: skip
    send(client, "metrics", export)
    own_image(client, service, "TIFF")
    everything_answers(client)


def test_lines_without_end(client: httpx.Client) -> None:
    """A trace keeps so many log lines, each so long, and the page says so."""
    trace_id = secrets.token_bytes(16)
    only = span(trace_id)
    send_spans(client, [only])
    export = ExportLogsServiceRequest()
    records = export.resource_logs.add().scope_logs.add().log_records
    for _ in range(4000):
        records.add(trace_id=trace_id, span_id=only.span_id, time_unix_nano=2**64 - 1,
                    severity_text=EVIL, body=AnyValue(string_value=EVIL * 20))  # fmt: skip
    send(client, "logs", export)

    def logged() -> bool:
        answer = client.get(f"/api/v1/traces/{trace_id.hex()}")
        return answer.status_code == 200 and len(answer.json()[0]["logs"]) == TRACE_MAX_LINES

    eventually(logged, "as many lines as a trace keeps")
    page = client.get(f"/pages/traces/{trace_id.hex()}").text
    assert "<script>alert" not in page
    assert f"first {TRACE_MAX_LINES} log lines" in page


def test_bytes_that_are_no_export(client: httpx.Client) -> None:
    """What is no protobuf, or has texts that are not UTF-8, is refused as a whole with 400."""
    name = b"\xff\xfe\xfd"
    resource = b"\x0a" + bytes([len(name) + 4]) + b"\x0a" + bytes([len(name) + 2])
    for body in (secrets.token_bytes(500), resource + b"\x0a" + bytes([len(name)]) + name):
        answer = client.post("/otlp/v1/traces", content=body,
                             headers={"content-type": "application/x-protobuf"})  # fmt: skip
        assert answer.status_code == 400
