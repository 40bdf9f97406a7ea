"""More than the service can do: what cannot be answered in time is refused, and the rest done."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from pipeline.queue.keys import QUEUE_KEYS, WAITING_BYTES
from tests.faults.test_clients import eventually_counted, outcomes, waiting
from tests.integration.pictures import jpeg
from tests.servers import Service, eventually, run
from tests.suspension import no_worker_takes

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
LATER = JPEG | {"prefer": "respond-async"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("overload") / "home"
    with Service(home, DAMOSCOPE_TRUSTED_PROXIES="127.0.0.1") as running:
        yield running.wait_until_ready()


def says_its_pace(service: Service, redis: Redis, pace_s: float) -> Counter[str]:
    """The worker's word of how long an image takes it, until it takes the next; and the frontend
    has heard it. Returns the outcomes of the requests that this took."""
    asked: Counter[str] = Counter()
    (worker,) = redis.smembers("rq:workers:detections")  # type: ignore[misc]
    redis.hset(worker, "damoscope_pace_s", str(pace_s))
    with service.client() as client:
        line = f"the workers do {1 / pace_s:.3g} a second"

        def heard() -> bool:
            answer = client.post(DETECT, content=jpeg(), headers=JPEG, params={"timeout": 1})
            asked[{503: "rejected", 504: "timeout"}[answer.status_code]] += 1
            return line in answer.text

        eventually(heard, line)
    return asked


def put_in(client: httpx.Client, count: int, **fields: str) -> list[str]:
    """Images whose clients do not wait; the addresses of their jobs."""
    found = []
    for _ in range(count):
        answer = client.post(DETECT, content=jpeg(), headers=LATER | fields)
        assert answer.status_code == 202, answer.text
        found.append(answer.headers["location"])
    return found


def finished(client: httpx.Client, jobs: list[str]) -> None:
    for job in jobs:
        eventually(lambda: client.get(job).json()["status"] == "finished", job)  # noqa: B023 now


def test_refused_before_the_upload(service: Service, redis: Redis, client: httpx.Client) -> None:
    """With three images ahead that take 5 s each, who has 4 s is told so when it has sent nothing
    but its header; who has a minute is answered. Each has its span and its count."""
    with no_worker_takes(redis):
        before = outcomes(client)
        jobs = put_in(client, 3)
        asked = says_its_pace(service, redis, 5.0)
        refused = client.post(DETECT, content=jpeg(), headers=JPEG, params={"timeout": 4})
        assert refused.status_code == 503, refused.text
        with socket.create_connection(("127.0.0.1", service.port)) as early:
            early.sendall(
                f"POST {DETECT}?timeout=4 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                "Content-Type: image/jpeg\r\nContent-Length: 1000000\r\n\r\n".encode()
            )
            answer = httpx_response(early)
        assert answer.status_code == 503
        problem = answer.json()
        assert problem["type"] == "urn:damoscope:overloaded"
        assert "images are ahead" in problem["detail"]
        # 15 s and more for those ahead and its own, of which it gives 80 % of 4.
        assert int(answer.headers["retry-after"]) >= 10
        jobs.append(
            client.post(
                DETECT, content=jpeg(), params={"timeout": 600}, headers=LATER
            ).headers["location"]
        )  # fmt: skip
        assert waiting(redis) == 4
    finished(client, jobs)
    eventually_counted(client, before, asked + Counter({"rejected": 2, "ok": 4}))
    (span,) = service.spans(problem["trace_id"], 1)
    assert span["attributes"]["damoscope.outcome"] == "rejected"
    assert span["attributes"]["http.response.status_code"] == 503
    # The worker has said its own pace again, and the frontend hears of it within a second or two.
    eventually(
        lambda: client.post(DETECT, content=jpeg(), headers=JPEG).status_code == 200, "the pace"
    )


def test_who_hangs_up_before_its_turn(service: Service, redis: Redis, client: httpx.Client) -> None:
    """Forty clients that have gone when the frontend comes to them, each with a part of an image
    that was not read: each is counted once, none comes to the queue, and nothing is said of it."""

    def said() -> list[str]:  # but for alerts, which fire where a machine is slow
        return [line for line in service.output.splitlines() if " damoscope.alerts: " not in line]

    before, earlier = outcomes(client).get("cancelled", 0), said()
    (frontend,) = (each for each in service.family() if "frontend" in each.cmdline())
    frontend.suspend()
    try:
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", service.port)) as early:
                early.sendall(
                    f"POST {DETECT} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                    "Content-Type: image/jpeg\r\nContent-Length: 1000000\r\n\r\n".encode()
                    + b"x" * 100_000
                )
    finally:
        frontend.resume()
    eventually(lambda: outcomes(client).get("cancelled", 0) == before + 40, "40 more cancelled")
    assert waiting(redis) == 0
    assert said() == earlier


def test_a_short_time_is_the_clients_own(
    service: Service, redis: Redis, client: httpx.Client
) -> None:
    """Right after an image was answered nothing is ahead of the next: whoever gives it too little
    time is told so when that is over, and not that others are ahead."""
    with no_worker_takes(redis):
        jobs = put_in(client, 2)
        says_its_pace(service, redis, 5.0)  # of which the frontend is sure for a moment yet
    finished(client, jobs)
    for _ in range(10):
        eventually(lambda: redis.zcard("rq:wip:detections") == 0, "nothing in work")
        assert client.post(DETECT, content=jpeg(), headers=JPEG).status_code == 200
        short = client.post(DETECT, content=jpeg(), headers=JPEG, params={"timeout": 1e-6})
        assert short.status_code == 504, short.text


def httpx_response(opened: socket.socket) -> httpx.Response:
    """The answer on a connection that stays open."""
    opened.settimeout(60)
    data = b""
    while b"\r\n\r\n" not in data or b"}" not in data.partition(b"\r\n\r\n")[2]:
        more = opened.recv(65536)
        assert more, data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in fields)]
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)


def test_one_camera_keeps_no_other_waiting(
    service: Service, redis: Redis, client: httpx.Client
) -> None:
    """Behind thirty images of one address, the first of another is the second to be taken."""
    with no_worker_takes(redis):
        many = put_in(client, 30, **{"X-Forwarded-For": "192.0.2.1"})
        other = put_in(client, 1, **{"X-Forwarded-For": "192.0.2.2"})
        order = [job.decode() for job in redis.lrange(QUEUE_KEYS[1], 0, -1)]  # type: ignore[union-attr]
        assert order.index(other[0].rpartition("/")[2]) == 1
        for job in many:
            assert client.delete(job).status_code == 200
        assert redis.get(WAITING_BYTES) in (str(len(jpeg())).encode(), None)
    finished(client, other)


def load(service: Service, folder: Path, *options: str) -> dict[str, Any]:
    """What `damoscope load` found."""
    report = folder / f"{time.monotonic_ns()}.json"
    command = [sys.executable, "-m", "run", "load", service.url, "-o", str(report), *options]
    done = run(command, folder)
    assert report.exists(), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(report.read_text())["run"]
    return found


def test_more_clients_than_can_be_answered_in_time(service: Service, tmp_path: Path) -> None:
    """Where 128 clients each want within 40 images' time what takes 128, those that are let in are
    answered; without admission nearly all would wait in vain."""
    alone = load(service, tmp_path, "--clients", "4", "--requests", "40", "--duration", "2m")
    timeout_s = 40 / alone["ok_per_s"]
    found = load(
        service, tmp_path, "--clients", "128", "--timeout", f"{timeout_s:.3f}s",
        "--duration", f"{max(8.0, 4 * timeout_s):.0f}s",
    )  # fmt: skip
    counts = found["counts"]
    assert counts["rejected"] > 0, found
    assert counts["ok"] > counts["timeout"], found
    assert counts["failed"] == 0, found
