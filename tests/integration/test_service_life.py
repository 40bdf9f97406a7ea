"""`damoscope up` from start to end: what stays up, what comes back, what is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import psutil
import pytest

from tests.integration import pictures
from tests.servers import (
    PATIENCE_S,
    RedisProcess,
    Service,
    damoscope,
    eventually,
    free_port,
    left_running,
)

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
BACKGROUND = JPEG | {"prefer": "respond-async"}


def detect(client: httpx.Client) -> httpx.Response:
    """One image, with time for a worker to start meanwhile."""
    return client.post(DETECT, content=pictures.jpeg(), headers=JPEG, params={"timeout": 150})


def test_the_ready_line(service: Service) -> None:
    """When it is ready it says so, and where the pages and the API are."""
    assert f"pages  {service.url}/" in service.output
    assert f"API    {service.url}/docs" in service.output
    assert "Traceback" not in service.output


def test_one_at_a_time_in_a_home(service: Service, client: httpx.Client, tmp_path: Path) -> None:
    """A second service in the same data folder is refused, and the first goes on."""
    answer = damoscope(
        "up", folder=tmp_path, DAMOSCOPE_HOME=str(service.home), DAMOSCOPE_PORT=str(free_port())
    )
    assert answer.returncode == 2
    (line,) = answer.stderr.splitlines()
    assert f"DAMOSCOPE_HOME={service.home}" in line
    assert left_running(tmp_path) == []
    assert detect(client).status_code == 200


def test_one_at_a_time_on_a_port(service: Service, client: httpx.Client, tmp_path: Path) -> None:
    """A second service on the same port is refused, and the first goes on."""
    answer = damoscope(
        "up", folder=tmp_path, DAMOSCOPE_HOME=str(tmp_path), DAMOSCOPE_PORT=str(service.port)
    )
    assert answer.returncode == 2
    (line,) = answer.stderr.splitlines()
    assert f"DAMOSCOPE_PORT={service.port}" in line
    assert left_running(tmp_path) == []
    assert detect(client).status_code == 200


def test_a_killed_worker_is_started_again(service: Service, client: httpx.Client) -> None:
    """A worker that dies is replaced, and what was sent meanwhile is answered."""
    (old,) = service.children("worker")
    old.kill()
    answer = detect(client)
    assert answer.status_code == 200, answer.text
    (new,) = service.children("worker")
    assert new.pid != old.pid
    assert "worker 1 ended with signal 9" in service.output
    eventually(lambda: client.get("/readyz").json().get("workers") == 1, "the dead one to be gone")


def test_a_killed_redis_is_started_again(service: Service, client: httpx.Client) -> None:
    """Redis restarted under the running service: no image is lost, and all goes on by itself."""
    places = [
        client.post(DETECT, content=pictures.slow(), headers=BACKGROUND).headers["location"]
        for _ in range(4)
    ]
    (redis,) = [
        process for process in psutil.Process(service.pid).children()
        if process.name() == "redis-server"
    ]  # fmt: skip
    redis.terminate()
    redis.wait(PATIENCE_S)

    def all_finished() -> bool:
        answers = [client.get(place) for place in places]
        return all(a.status_code == 200 and a.json()["status"] == "finished" for a in answers)

    eventually(all_finished, "every image to be answered")
    eventually(lambda: detect(client).status_code == 200, "new images to be taken")
    assert "Traceback" not in service.output


@pytest.mark.timeout(600)
def test_stop_and_go(tmp_path: Path) -> None:
    """SIGTERM ends everything with 0, and its history is there after a new start.

    The first time with the Valkey of the wheel, as where no Redis is installed. In the end the
    supervisor is killed outright, and its processes go with it.
    """
    (tmp_path / "empty").mkdir()
    env = {"PATH": str(tmp_path / "empty")}
    home = tmp_path / "home"
    with Service(home, **env) as service:
        service.wait_until_ready()
        with service.client() as client:
            answer = detect(client)
            place = f"/api/v1/jobs/{answer.json()['job_id']}"
            waiting = [
                client.post(DETECT, content=pictures.slow(), headers=BACKGROUND).headers["location"]
                for _ in range(2)
            ]
        trace_id = answer.headers["x-trace-id"]
        service.send(signal.SIGTERM)
        assert service.wait() == 0
        assert left_running(home) == []
        assert "Traceback" not in service.output

    with Service(home) as service:
        service.wait_until_ready()
        with service.client() as client:
            assert client.get(place).json()["result"] == answer.json() | {
                "timings_ms": client.get(place).json()["result"]["timings_ms"]
            }
            for other in waiting:
                eventually(
                    lambda other=other: client.get(other).json()["status"] == "finished",
                    "what was queued",
                )
        assert len(service.spans(trace_id, 8)) == 8
        assert service.summary(trace_id)["status"] == "ok"
        service.send(signal.SIGKILL)
        service.wait()
        eventually(lambda: not left_running(home), "its processes to end")


@pytest.mark.timeout(600)
def test_two_side_by_side(service: Service, tmp_path: Path) -> None:
    """A second service with a home, a port and a Redis of its own disturbs nobody.

    Ctrl-C reaches the whole foreground group; the service stops in order all the same.
    """
    with RedisProcess(tmp_path / "redis") as redis:
        with Service(tmp_path / "home", REDIS_URL=redis.url) as second:
            second.wait_until_ready()
            assert not (tmp_path / "home" / "redis").exists()
            assert [p.name() for p in psutil.Process(second.pid).children()].count(
                "redis-server"
            ) == 0
            with service.client() as one, second.client() as other:
                first_id = detect(one).json()["job_id"]
                other_id = detect(other).json()["job_id"]
                assert one.get(f"/api/v1/jobs/{other_id}").status_code == 404
                assert other.get(f"/api/v1/jobs/{first_id}").status_code == 404
            assert redis.client.exists(f"rq:job:{other_id}")
            os.killpg(second.pid, signal.SIGINT)
            assert second.wait() == 0
            assert left_running(tmp_path / "home") == []
        assert redis.client.ping()
        assert redis.client.smembers("rq:workers") == set()


def test_a_variable_that_is_no_setting_is_told_of_once(tmp_path: Path) -> None:
    """By the command that was started, and by none of the processes that it starts."""
    with Service(tmp_path / "home", DAMOSCOPE_BATCHMAX="3") as running:
        running.wait_until_ready()
        assert running.output.count("DAMOSCOPE_BATCHMAX is not a setting") == 1
