"""Tokens between the parts: the receiver of telemetry, and Alertmanager's webhook."""

from __future__ import annotations

import psutil

from tests.security.guarded import IMAGE, JPEG, WEBHOOK_TOKEN, Guarded

PROTOBUF = {"content-type": "application/x-protobuf"}
ALERT = {"version": "4", "status": "firing", "alerts": []}


def environment(guarded: Guarded, name: str) -> dict[str, str]:
    (process,) = guarded.children(name)
    return psutil.Process(process.pid).environ()


def token(guarded: Guarded) -> str:
    headers = environment(guarded, "worker")["OTEL_EXPORTER_OTLP_TRACES_HEADERS"]
    return dict(pair.split("=", 1) for pair in headers.split(","))["x-damoscope-token"]


def test_the_receiver_takes_telemetry_from_its_own_processes_alone(guarded: Guarded) -> None:
    """Spans of frontend and worker arrive; without its token nobody sends any."""
    with guarded.as_("camera-1") as client:
        answer = client.post("/api/v1/detect", content=IMAGE, headers=JPEG)
    guarded.trace(answer.headers["x-trace-id"], 8)
    known = token(guarded)
    assert len(known) > 40
    with guarded.client() as client:
        for kind in ("traces", "metrics", "logs"):
            address = f"/otlp/v1/{kind}"
            for headers in (
                {},
                guarded.bearer("owner"),
                {"x-damoscope-token": known[:-1]},
                {"x-damoscope-token": WEBHOOK_TOKEN},
                {"authorization": known},
            ):
                answer = client.post(address, content=b"", headers=PROTOBUF | headers)
                assert answer.status_code == 401, headers
            for headers in (
                {"x-damoscope-token": known},
                {"authorization": f"Bearer {known}"},
            ):
                answer = client.post(address, content=b"", headers=PROTOBUF | headers)
                assert answer.status_code == 200, headers


def test_the_token_is_never_printed(guarded: Guarded) -> None:
    """Neither in the log, nor on a command line, nor in what the service answers."""
    known = token(guarded)
    lines = " ".join(" ".join(each.cmdline()) for each in guarded.family())
    assert known not in guarded.output + lines
    with guarded.as_("owner") as client:
        assert known not in client.get("/openapi.json").text
    # Only the frontend compares it; the others send it.
    assert "DAMOSCOPE_OTLP_TOKEN" not in environment(guarded, "worker")


def test_the_webhook_takes_alerts_from_who_has_its_token(guarded: Guarded) -> None:
    """No key will do, not even `admin`'s."""
    with guarded.client() as client:
        for headers in ({}, guarded.bearer("owner"), {"authorization": "Bearer wrong"},
                        {"authorization": f"Basic {WEBHOOK_TOKEN}"}):  # fmt: skip
            answer = client.post("/api/v1/alerts/webhook", json=ALERT, headers=headers)
            assert answer.status_code == 401, headers
            assert WEBHOOK_TOKEN not in answer.text
        good = {"authorization": f"Bearer {WEBHOOK_TOKEN}"}
        answer = client.post("/api/v1/alerts/webhook", json=ALERT, headers=good)
        assert answer.status_code not in (401, 403), answer.text
