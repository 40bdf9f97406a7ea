"""frontend.api.alerts: the routes over a real Redis, with channels that a real server receives."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from frontend.api import alerts, problems
from monitoring.alerts.evaluator import Evaluator
from monitoring.notify.queue import notices
from monitoring.stores.selection import open_stores
from pipeline import errors
from pipeline.settings import Settings
from telemetry import catalogue
from tests.monitoring import traffic
from tests.paths import ROOT
from tests.servers import RedisProcess, free_port

HOUR_S = 3600.0


class Receiver:
    """Something that takes JSON notifications; `taken` holds them."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        taken = self.taken

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                taken.append(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Front:
    """A server with the routes in it, and a client of it."""

    def __init__(self, settings: Settings) -> None:
        self.stores = open_stores(settings)
        app = FastAPI(telemetry={"tracing": False}, exception_handlers=problems.HANDLERS)
        app.state.alerts = self.alerting = alerts.Alerting(settings, self.stores)
        app.include_router(alerts.router)
        port = free_port()
        config = uvicorn.Config(app, port=port, log_level="warning")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30, trust_env=False
        )

    def close(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join()
        self.alerting.close()
        self.stores.close()

    def get(self) -> dict[str, Any]:
        answer = self.client.get("/alerts")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


Start = Callable[..., Front]


@pytest.fixture
def start(server: RedisProcess, tmp_path: Path) -> Iterator[Start]:
    """Starts a frontend with these settings, over a Redis with nothing in it."""
    server.client.flushall()
    started: list[Front] = []

    def begin(**given: Any) -> Front:
        options: dict[str, Any] = {
            "redis_url": server.url,
            "home": tmp_path,
            "notify": SecretStr("json://127.0.0.1:9/in"),
        } | given
        front = Front(Settings(**options))
        started.append(front)
        return front

    yield begin
    for front in started:
        front.close()


def posted(status: str = "firing", **change: Any) -> dict[str, Any]:
    """What Alertmanager 0.25 posts about NoWorkers, here with one alert."""
    now = time.time()
    alert = {
        "status": status,
        "labels": {"alertname": "NoWorkers", "severity": "critical"},
        "annotations": {"summary": "No worker.", "summary_zh": "没有工作进程。",
                        "action": "Start some.", "value": "0"},
        "startsAt": datetime.fromtimestamp(now - 60, UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z" if status == "firing"
        else datetime.fromtimestamp(now, UTC).isoformat(),
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "0d0f3cf6f1b3a1c2",
    } | change  # fmt: skip
    return {
        "version": "4", "groupKey": '{}:{alertname="NoWorkers"}', "truncatedAlerts": 0,
        "status": status, "receiver": "damoscope", "groupLabels": {"alertname": "NoWorkers"},
        "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager:9093",
        "alerts": [alert],
    }  # fmt: skip


def queued(server: RedisProcess) -> list[tuple[str, str]]:
    """Kind and title of the notices that wait to be sent, oldest first."""
    found = [job.args[0] for job in notices(server.client).jobs]
    return [(notice["kind"], notice["title"]["en"]) for notice in found]


def test_before_anything(start: Start) -> None:
    """All rules, inactive, and plainly that nobody evaluates them; channels by kind only."""
    front = start(notify=SecretStr("json://somebody:secret@127.0.0.1:9/in"))
    found = front.get()
    assert found["source"] == "watcher"
    assert found["evaluated_at"] is None
    assert "no watcher runs" in found["problem"]
    assert {alert["state"] for alert in found["alerts"]} == {"inactive"}
    assert {"HighTraffic", "NoWorkers", "NmsSlow"} <= {alert["name"] for alert in found["alerts"]}
    assert found["channels"] == ["json"]
    assert "secret" not in front.client.get("/alerts").text
    assert found["history"] == found["silences"] == []


def test_silences(start: Start) -> None:
    """A silence is made, shown at its rule and in the list, and ended."""
    front = start()
    made = front.client.post(
        "/alerts/silences", json={"name": "NoWorkers", "minutes": 30, "comment": "repair"}
    )
    assert made.status_code == 201, made.text
    silence = made.json()
    assert silence["until_at"] == pytest.approx(time.time() + 1800, abs=300)
    found = front.get()
    assert found["silences"] == [silence]
    (rule,) = (alert for alert in found["alerts"] if alert["silenced_until_at"] is not None)
    assert rule["name"] == "NoWorkers"
    assert front.client.delete(f"/alerts/silences/{silence['id']}").status_code == 204
    assert front.get()["silences"] == []
    assert front.client.delete(f"/alerts/silences/{silence['id']}").status_code == 404


@pytest.mark.parametrize(
    "wish",
    [
        {"name": "Nobody", "minutes": 30}, {"name": "NoWorkers", "minutes": 0},
        {"name": "NoWorkers", "minutes": 1e9}, {"minutes": 5}, {"name": "*"}, [],
        {"name": "*", "minutes": 5, "comment": "x" * 501},
    ],
)  # fmt: skip
def test_silences_that_are_refused(start: Start, wish: Any) -> None:
    """An unknown rule and lengths that make no sense are 422 problems."""
    answer = start().client.post("/alerts/silences", json=wish)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == problems.MEDIA_TYPE


@pytest.mark.parametrize("path", ["/alerts/silences", "/alerts/test", "/alerts/webhook"])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_only_json_changes_anything(start: Start, path: str, kind: str | None) -> None:
    """What another site's page can send without asking changes nothing."""
    front = start()
    headers = {} if kind is None else {"content-type": kind}
    body = json.dumps({"name": "NoWorkers", "minutes": 5})
    assert front.client.post(path, content=body, headers=headers).status_code == 415
    assert front.get()["silences"] == []


def test_a_test_notice(start: Start) -> None:
    """Each channel gets it, and what became of it is answered, without addresses."""
    receiver = Receiver()
    try:
        urls = f"json://127.0.0.1:{receiver.port}/in json://user:secret@127.0.0.1:{free_port()}/x"
        answer = start(notify=SecretStr(urls)).client.post("/alerts/test", json={})
    finally:
        receiver.close()
    assert answer.status_code == 200, answer.text
    good, bad = answer.json()
    assert good == {"channel": "json", "ok": True, "error": ""}
    assert (bad["channel"], bad["ok"]) == ("json", False)
    assert bad["error"]
    assert "secret" not in answer.text
    assert len(receiver.taken) == 1
    assert "Test notification" in json.dumps(receiver.taken)


def test_webhook(start: Start, server: RedisProcess) -> None:
    """An alert becomes an episode and a notice, in our own words; its end closes both."""
    front = start()
    for _ in range(3):  # Alertmanager repeats
        assert front.client.post("/alerts/webhook", json=posted()).json() == {"status": "ok"}
    (episode,) = front.get()["history"]
    assert (episode["name"], episode["severity"]) == ("NoWorkers", "critical")
    assert episode["message"]["en"] == "No worker takes images from the queue."
    assert (episode["value"], episode["resolved_at"], episode["notified"]) == (0, None, True)
    assert episode["fired_at"] - episode["pending_at"] == 30
    fired = [("firing", "Critical: NoWorkers: No worker takes images from the queue.")]
    assert queued(server) == fired
    started = datetime.fromtimestamp(episode["fired_at"], UTC).isoformat()
    for _ in range(2):
        front.client.post("/alerts/webhook", json=posted("resolved", startsAt=started))
    (episode,) = front.get()["history"]
    assert episode["resolved_at"] == pytest.approx(time.time(), abs=300)
    assert queued(server) == [
        *fired, ("resolved", "Resolved: NoWorkers"),
    ]  # fmt: skip
    # A repetition that comes late does not open it again.
    front.client.post("/alerts/webhook", json=posted(startsAt=started))
    assert len(front.get()["history"]) == 1
    assert len(queued(server)) == 2


def test_webhook_after_everything_was_stopped(start: Start, server: RedisProcess) -> None:
    """Stopped while an alert fires, Prometheus and Alertmanager forget it. The next time it fires
    is an episode of its own, and sent."""
    front, now = start(), time.time()
    for ago in (5000, 100):
        at = datetime.fromtimestamp(now - ago, UTC).isoformat()
        server.client.delete("damoscope:alerts:sent")  # the cooldown is over
        front.client.post("/alerts/webhook", json=posted(startsAt=at))
    newer, older = front.get()["history"]
    assert older["resolved_at"] == newer["fired_at"] == pytest.approx(now - 100, abs=1)
    assert newer["resolved_at"] is None
    assert [kind for kind, _ in queued(server)] == ["firing", "resolved", "firing"]


def test_what_was_forgotten_is_ended(start: Start, server: RedisProcess) -> None:
    """An episode that was not heard of for long ends, once its rule is known to be inactive."""
    front, intake = start(), start().alerting._intake
    front.client.post("/alerts/webhook", json=posted())
    for over, later_s, ended in (
        ({"NoWorkers"}, 600, False), ({"Other"}, 3600, False), ({"NoWorkers"}, 3600, True),
    ):  # fmt: skip
        intake.settle(over, time.time() + later_s)
        (episode,) = front.get()["history"]
        assert (episode["resolved_at"] is not None) is ended
    assert [kind for kind, _ in queued(server)] == ["firing", "resolved"]


def test_webhook_and_cooldown(start: Start, server: RedisProcess) -> None:
    """A second time within the cooldown is recorded and not sent, nor is its end."""
    front = start()
    begun = time.time() - 600
    for number in range(3):
        at = datetime.fromtimestamp(begun + 100 * number, UTC).isoformat()
        over = datetime.fromtimestamp(begun + 100 * number + 50, UTC).isoformat()
        front.client.post("/alerts/webhook", json=posted(startsAt=at))
        front.client.post("/alerts/webhook", json=posted("resolved", startsAt=at, endsAt=over))
    assert [episode["notified"] for episode in front.get()["history"]] == [False, False, True]
    assert [kind for kind, _ in queued(server)] == ["firing", "resolved"]


def test_webhook_and_silence(start: Start, server: RedisProcess) -> None:
    """Nothing is sent while it lasts; the repetition after its end is."""
    front = start()
    silence = front.client.post("/alerts/silences", json={"name": "*", "minutes": 5}).json()
    began = posted()
    front.client.post("/alerts/webhook", json=began)
    (episode,) = front.get()["history"]
    assert (episode["silenced"], episode["notified"]) == (True, False)
    assert queued(server) == []
    front.client.delete(f"/alerts/silences/{silence['id']}")
    front.client.post("/alerts/webhook", json=began)
    assert [kind for kind, _ in queued(server)] == ["firing"]


def test_webhook_of_a_rule_that_only_prometheus_has(start: Start, server: RedisProcess) -> None:
    """It is shown in Prometheus' words, in English where there is no Chinese."""
    front = start()
    labels = {"alertname": "DiskFull", "severity": "page", "instance": "a"}
    annotations = {"summary": "The disk is full.", "value": "not a number"}
    front.client.post("/alerts/webhook", json=posted(labels=labels, annotations=annotations))
    (episode,) = front.get()["history"]
    assert (episode["name"], episode["severity"], episode["value"]) == ("DiskFull", "warning", None)
    assert episode["message"] == {"en": "The disk is full.", "zh": "The disk is full."}
    assert queued(server) == [("firing", "Warning: DiskFull: The disk is full.")]


def test_webhook_of_what_is_over(start: Start, server: RedisProcess) -> None:
    """An alert of whose beginning nobody was told is history; nothing is sent."""
    front = start()
    front.client.post("/alerts/webhook", json=posted("resolved"))
    (episode,) = front.get()["history"]
    assert episode["resolved_at"] is not None
    assert episode["notified"] is False
    assert queued(server) == []


@pytest.mark.parametrize(
    "message",
    [{}, [], {**posted(), "version": "3"}, {**posted(), "alerts": [{}]}, posted(startsAt="soon")],
)
def test_webhook_that_is_none(start: Start, message: Any) -> None:
    """What Alertmanager would not post is a 422 problem."""
    assert start().client.post("/alerts/webhook", json=message).status_code == 422


def test_an_example_trace(start: Start) -> None:
    """The episode names the last image that failed when the alert fired, and keeps it."""
    front = start()
    assert front.stores.receiver is not None
    spans, _ = traffic.image(
        time.time_ns() - 100 * 10**9, outcome="rejected", error="no worker is ready"
    )
    front.stores.receiver.receive_traces(traffic.encoded(spans))
    front.stores.receiver.flush()  # type: ignore[attr-defined]
    front.client.post("/alerts/webhook", json=posted())
    (episode,) = front.get()["history"]
    assert episode["example_trace_id"] == traffic.trace_id(spans)


def test_what_the_watcher_knows_is_shown(start: Start, server: RedisProcess) -> None:
    """States and episodes of the evaluator, which is another process, through Redis."""
    front = start()
    settings = Settings(alerts=ROOT / "monitoring" / "alerts" / "alerts.yaml")
    evaluator = Evaluator(
        settings, front.stores.metrics, front.stores.traces, server.client, lambda _: None
    )
    now = time.time()
    for ago in (200, 150, 100, 50, 0):  # nobody reports: that is NoTelemetry after two minutes
        evaluator.tick(now - ago)
    evaluator.close()
    found = front.get()
    assert found["problem"] == ""
    assert found["evaluated_at"] == pytest.approx(now)
    first = found["alerts"][0]
    assert (first["name"], first["state"], first["value"]) == ("NoTelemetry", "firing", 0)
    assert [episode["name"] for episode in found["history"]] == ["NoTelemetry"]
    assert catalogue.SERVICE_FRONTEND not in first["message"]["en"]


def test_redis_is_away(tmp_path: Path) -> None:
    """Every route is a 503 problem that says so."""
    with RedisProcess(tmp_path / "redis") as server:
        front = Front(Settings(redis_url=server.url, home=tmp_path))
        server.stop()
        try:
            for answer in (
                front.client.get("/alerts"),
                front.client.post("/alerts/silences", json={"name": "*", "minutes": 5}),
                front.client.delete("/alerts/silences/x"),
                front.client.post("/alerts/webhook", json=posted()),
            ):
                assert answer.status_code == 503, answer.text
                assert answer.headers["content-type"] == problems.MEDIA_TYPE
                assert "Redis" in answer.json()["detail"]
        finally:
            front.close()


def test_unusable_rules_are_refused_at_the_start(tmp_path: Path) -> None:
    """The frontend does not start with rules it cannot read."""
    with pytest.raises(errors.ConfigurationError, match=r"none\.yaml"):
        Front(Settings(redis_url="redis://127.0.0.1:1", home=tmp_path, alerts=Path("none.yaml")))


def test_prometheus_is_away(start: Start) -> None:
    """What was last heard of it is shown, and plainly that it is that."""
    front = start(prometheus_url=f"http://user:secret@127.0.0.1:{free_port()}")
    front.client.post("/alerts/webhook", json=posted())
    answer = front.client.get("/alerts")
    assert answer.status_code == 200
    found = answer.json()
    assert found["source"] == "prometheus"
    assert "Prometheus on 127.0.0.1 cannot be read" in found["problem"]
    assert "secret" not in answer.text
    assert [(alert["name"], alert["state"]) for alert in found["alerts"]][:2] == [
        ("NoWorkers", "firing"), ("SuccessRateLow", "inactive"),
    ]  # fmt: skip
    assert found["alerts"][0]["since_at"] == pytest.approx(time.time() - 60, abs=50)
