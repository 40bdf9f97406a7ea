"""Names and texts that mean harm, sent in as telemetry and alerts: what people read is text."""

from __future__ import annotations

import re
import secrets
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser

import httpx
import pytest
from markdown_it import MarkdownIt
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from monitoring.notify.channels import Channels
from monitoring.notify.notice import Notice
from monitoring.notify.queue import notices
from pipeline.settings import Settings
from telemetry import catalogue
from tests.monitoring.receivers import Hook, Mailbox
from tests.servers import Process, RedisProcess, eventually, free_port

#: Each part would do something: in HTML, in Markdown, in a table, in a terminal, to the eye.
EVIL = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> ![i](http://evil.example/i.png) "
    "[c](http://evil.example/l) <http://evil.example/a> http://evil.example/b www.evil.example | "
    "**b** `c` ~~d~~ \x1b[2J\x1b]0;t\x07 \u202egpj.exe\n# heading\n- item\n\n---\n"
)
OTLP_TOKEN, WEBHOOK_TOKEN = "a-token-for-telemetry-00", "a-token-for-alerts-000000"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def client(redis: RedisProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A frontend that heard nothing but evil, which knows the tokens that it was sent with."""
    port = free_port()
    env = {
        "REDIS_URL": redis.url, "DAMOSCOPE_OTLP_TOKEN": OTLP_TOKEN,
        "DAMOSCOPE_WEBHOOK_TOKEN": WEBHOOK_TOKEN,
        "DAMOSCOPE_PAGES": "false", "DAMOSCOPE_NOTIFY": "json://127.0.0.1:1",
    }  # fmt: skip
    command = [sys.executable, "-m", "run", "frontend", "--port", str(port)]
    with (
        Process(command, tmp_path_factory.mktemp("frontend"), env) as running,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as opened,
    ):

        def is_up() -> bool:
            assert running.running, running.output
            try:
                return opened.get("/healthz").status_code == 200
            except httpx.TransportError:
                return False

        eventually(is_up, "the frontend answers")
        _tell(opened)
        yield opened


def _keys(**values: str) -> list[KeyValue]:
    return [
        KeyValue(key=name.replace("__", "."), value=AnyValue(string_value=value))
        for name, value in values.items()
    ]


def _tell(client: httpx.Client) -> None:
    now = time.time_ns()
    metrics = ExportMetricsServiceRequest()
    group = metrics.resource_metrics.add()
    group.resource.attributes.extend(_keys(service__name=EVIL[:200], service__instance__id="i"))
    for metric, labels in (
        (catalogue.CLIENT_REQUESTS, {"client": EVIL}),
        (catalogue.DETECTIONS, {"label": EVIL}),
        (catalogue.REQUESTS, {"outcome": EVIL, "route": EVIL}),
        (catalogue.REQUESTS, {"outcome": "failed", "route": "api"}),
    ):
        total = group.scope_metrics.add().metrics.add(name=metric.name).sum
        total.is_monotonic, total.aggregation_temporality = True, 2
        total.data_points.add(attributes=_keys(**labels), as_int=50, time_unix_nano=now)
    traces = ExportTraceServiceRequest()
    spans = traces.resource_spans.add().scope_spans.add().spans
    for outcome in ("failed", "ok"):
        told = _keys(damoscope__route=EVIL, damoscope__outcome=outcome, damoscope__job__id=EVIL,
                     damoscope__problem__code=EVIL, damoscope__problem__detail=EVIL)  # fmt: skip
        spans.add(trace_id=secrets.token_bytes(16), span_id=secrets.token_bytes(8), name=EVIL,
                  kind=2, start_time_unix_nano=now - 10**9, end_time_unix_nano=now,
                  attributes=told)  # fmt: skip
    headers = {"content-type": "application/x-protobuf", "authorization": f"Bearer {OTLP_TOKEN}"}
    for kind, export in (("metrics", metrics), ("traces", traces)):
        body = export.SerializeToString()
        answer = client.post(f"/otlp/v1/{kind}", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
    alert = {
        "status": "firing", "fingerprint": "0d0f3cf6f1b3a1c2",
        "labels": {"alertname": EVIL, "severity": "critical"},
        "annotations": {"summary": EVIL, "summary_zh": EVIL, "action": EVIL, "value": EVIL},
        "startsAt": datetime.now(UTC).isoformat(), "endsAt": "0001-01-01T00:00:00Z",
    }  # fmt: skip
    posted = client.post("/api/v1/alerts/webhook", json={"version": "4", "alerts": [alert]},
                         headers={"authorization": f"Bearer {WEBHOOK_TOKEN}"})  # fmt: skip
    assert posted.status_code < 300, posted.text

    def is_stored() -> bool:
        found = client.get("/api/v1/traces").json()
        return len(found) == 2 and "evil.example" in client.get("/api/v1/report?days=1").text

    eventually(is_stored, "what was sent is read")


class _Elements(HTMLParser):
    """Elements of a page, with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def harmless(html: str) -> None:
    """HTML has the sender's text, and no element and no address of the sender's."""
    assert "evil" in html
    for tag, attributes in _Elements(html).found:
        assert tag not in ("script", "img", "del", "iframe"), html
        for name, value in attributes.items():
            assert not name.startswith("on"), html
            assert name not in ("href", "src") or "evil" not in (value or ""), html


def quiet(text: str) -> None:
    """Nothing that a terminal acts on, or that turns the direction of reading."""
    assert not re.search("[\x00-\x08\x0e-\x1f\x7f\u202e]", text)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_report_as_markdown(client: httpx.Client, language: str) -> None:
    """A reader of Markdown, with tables and addresses made into links, shows names as names."""
    answer = client.get("/api/v1/report", params={"days": 1, "format": "md", "language": language})
    assert answer.status_code == 200
    quiet(answer.text)
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    html = reader.render(answer.text)
    harmless(html)
    assert html.count("<h1>") == 1
    rows = [row for row in html.split("<tr>") if "evil" in row]
    assert len(rows) >= 4  # an outcome, a cause, a failed image, a label, a client
    assert all(row.count("<td") in (3, 4, 5, 6) for row in rows)
    assert not re.search(r"(?<!\\):\/\/evil", answer.text)  # what readers make links of


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_report_as_html(client: httpx.Client, language: str) -> None:
    """The page has no element of the sender's, and may run nothing."""
    found = client.get("/api/v1/report", params={"days": 1, "format": "html", "language": language})
    harmless(found.text)
    assert "default-src 'none'" in found.headers["content-security-policy"]


def test_traces_and_alerts(client: httpx.Client) -> None:
    """JSON says what was sent, as JSON."""
    for path in ("/api/v1/traces", "/api/v1/alerts", "/api/v1/report?days=1"):
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert "evil.example" in answer.text
        answer.json()


def test_a_notice(client: httpx.Client, redis: RedisProcess) -> None:
    """An alert that Alertmanager passes on reaches mail and webhook as text, in both languages."""
    (job,) = eventually(lambda: notices(redis.client).jobs, "the alert's notice is queued")
    notice = Notice.model_validate(job.args[0])
    hook = Hook()
    with Mailbox().running() as mailbox, hook.running():
        for language in ("en", "zh"):
            settings = Settings(notify=f"{mailbox.url} {hook.url}", notify_language=language)  # type: ignore[arg-type]
            assert [each.ok for each in Channels(settings).send(notice)] == [True, True]
    for mail in mailbox.mails:
        quiet(str(mail["subject"]))
        part = mail.get_body(("html",))
        assert part is not None
        harmless(str(part.get_content()))
    for body in hook.accepted:
        quiet(body["title"] + body["message"])
