"""Files of a running service that are damaged, cut, replaced or removed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import httpx

from monitoring.stores.selection import FILE_NAME
from tests.faults.damage import inflict
from tests.integration import pictures
from tests.servers import Service, eventually

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}


def detect(client: httpx.Client) -> str:
    """One image, answered; its trace id."""
    answer = client.post(DETECT, content=pictures.jpeg(), headers=JPEG)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-trace-id"]


def shown(client: httpx.Client, trace_id: str) -> bool:
    """Whether the list of traces has it; an answer that is no 200 must be one to come again."""
    answer = client.get("/api/v1/traces", params={"limit": 1000})
    assert answer.status_code in (200, 503), answer.text
    return answer.status_code == 200 and trace_id in answer.text


def alert(client: httpx.Client, name: str) -> dict[str, Any]:
    found = client.get("/api/v1/alerts").json()
    return dict(next(each for each in found["alerts"] if each["name"] == name))


def test_the_telemetry_file_is_damaged(tmp_path: Path) -> None:
    """Detection is unharmed; a new file serves within moments; the log, the alert and its history
    say what was lost. The same when it was damaged while nothing ran."""
    home = tmp_path / "home"
    file = home / FILE_NAME
    with Service(home).wait_until_ready() as service, service.client() as client:
        first = detect(client)
        eventually(lambda: shown(client, first), "the first trace")
        eventually(lambda: alert(client, "TelemetryLost")["value"] == 0, "the rule's figure")
        for way in ("text", "deleted"):
            inflict(way, file)
            traces = [detect(client) for _ in range(3)]
            eventually(lambda: shown(client, traces[-1]), f"a new file after {way}")  # noqa: B023
            assert not shown(client, first)
        eventually(lambda: alert(client, "TelemetryLost")["state"] == "firing", "the alert")
        history = client.get("/api/v1/alerts").json()["history"]
        assert "TelemetryLost" in [episode["name"] for episode in history]
        assert list(home.glob(f"{FILE_NAME}.damaged-*"))
        assert "is damaged" in service.output
        assert "is gone; a new one begins" in service.output
        assert "ended with" not in service.output, "a process has died of it"
    inflict("header", file)
    with Service(home).wait_until_ready() as service, service.client() as client:
        again = detect(client)
        eventually(lambda: shown(client, again), "a trace after the restart")
        assert "is damaged" in service.output


def test_the_append_only_file_is_damaged(tmp_path: Path) -> None:
    """In its middle, while nothing ran: the next start says what is lost, keeps a copy, and serves
    what was written before the damage; a job that was finished then is still there."""
    home = tmp_path / "home"
    with Service(home).wait_until_ready() as service, service.client() as client:
        place = f"/api/v1/jobs/{finished_job(client)}"
        with service.redis() as redis:
            for number in range(1000):  # of which a half is lost
                redis.set(f"later:{number}", "x" * 100)
        service.send(signal.SIGINT)
        assert service.wait() == 0
    (file,) = (home / "redis" / "appendonlydir").glob("*.incr.aof")
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size - 50_000)
        opened.write(b"\xff" * 500)
    with Service(home).wait_until_ready() as service, service.client() as client:
        assert client.get(place).json()["status"] == "finished"
        detect(client)
        assert "was damaged" in service.output
        assert len(list((home / "redis").glob("appendonlydir.damaged-*"))) == 1
        with service.redis() as redis:
            assert redis.exists("later:0")
            assert not redis.exists("later:999")


def finished_job(client: httpx.Client) -> str:
    """One image, answered; its job's id."""
    answer = client.post(DETECT, content=pictures.jpeg(), headers=JPEG)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["job_id"])
