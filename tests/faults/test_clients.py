"""Clients that hang up, run out of time, or change their minds: no worker works for nobody, and
every request is counted once, as what it was."""

from __future__ import annotations

import secrets
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from redis import Redis

from pipeline.queue.keys import IMAGE_KEYS, QUEUE_KEYS
from tests.integration.pictures import jpeg
from tests.servers import Service, eventually
from tests.suspension import no_worker_takes

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
CANCELED = "rq:canceled:detections"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("clients") / "home") as running:
        yield running.wait_until_ready()


def waiting(redis: Redis) -> int:
    """Images in the queues."""
    return sum(redis.llen(key) for key in QUEUE_KEYS)  # type: ignore[misc]


def images(redis: Redis) -> int:
    return sum(1 for _ in redis.scan_iter(f"{IMAGE_KEYS}*"))


def outcomes(client: httpx.Client) -> dict[str, int]:
    """Requests so far, by how they ended, as the service counts them."""
    counts: dict[str, int] = client.get("/api/v1/stats", params={"window": 3600}).json()["requests"]
    return {name: count for name, count in counts.items() if count}


def eventually_counted(client: httpx.Client, before: dict[str, int], more: dict[str, int]) -> None:
    expected = {name: before.get(name, 0) + more.get(name, 0) for name in {*before, *more}}
    eventually(lambda: outcomes(client) == expected, f"{expected}, not {outcomes(client)}")


def send(service: Service, query: str = "", header: str = "") -> socket.socket:
    """A client that sends an image and does not wait yet."""
    body = jpeg(320, 240)
    opened = socket.create_connection(("127.0.0.1", service.port))
    opened.sendall(
        f"POST {DETECT}{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n{header}"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return opened


def test_forty_clients_that_hang_up(service: Service, redis: Redis, client: httpx.Client) -> None:
    """Their images leave the queue and Redis' memory, workers do nothing for them, and each counts
    as cancelled."""
    before, canceled = outcomes(client), redis.zcard(CANCELED)
    with no_worker_takes(redis):
        with ExitStack() as opened:
            for number in range(40):
                connection = opened.enter_context(send(service))
                if number % 2:  # both ways to go: the end of what is sent, and of the connection
                    opened.callback(connection.shutdown, socket.SHUT_WR)
            eventually(lambda: waiting(redis) == 40, "40 images in the queue")
        eventually(lambda: waiting(redis) == 0, "an empty queue")
        assert images(redis) == 0
        assert redis.zcard(CANCELED) == canceled + 40  # type: ignore[operator]
    assert redis.zcard("rq:finished:detections") == 0
    assert client.post(DETECT, content=jpeg(320, 240), headers=JPEG).status_code == 200
    eventually_counted(client, before, {"cancelled": 40, "ok": 1})


def test_time_that_is_over(redis: Redis, client: httpx.Client) -> None:
    """504 says that the image was withdrawn, and it was."""
    before = outcomes(client)
    with no_worker_takes(redis):
        answer = client.post(DETECT, content=jpeg(320, 240), headers=JPEG, params={"timeout": "3"})
        assert waiting(redis) == images(redis) == 0
    assert answer.status_code == 504
    assert answer.json()["detail"] == "no result within 3 s; the image was withdrawn"
    assert "location" not in answer.headers
    eventually_counted(client, before, {"timeout": 1})


def test_what_clients_saw_is_what_is_told(
    service: Service, redis: Redis, client: httpx.Client
) -> None:
    """Answered, invalid, out of time, hung up: as many of each on the page, in its API, in the
    report and among the traces, each trace with its own request's outcome. No image is left, not
    of those either whose time ended while they were stored."""
    before, sent = outcomes(client), dict[str, str]()

    def detect(content: bytes, **params: str) -> str:
        answer = client.post(DETECT, content=content, headers=JPEG, params=params)
        outcome = {200: "ok", 400: "invalid", 503: "rejected", 504: "timeout"}[answer.status_code]
        sent[answer.headers["x-trace-id"]] = outcome
        return outcome

    for seed in range(4):
        assert detect(jpeg(320, 240, seed)) == "ok"
    for _ in range(2):
        assert detect(b"no image") == "invalid"
    for _ in range(3):
        # It is rejected as long as the one before is reckoned to be ahead of it.
        eventually(
            lambda: detect(jpeg(320, 240), timeout="0.001") == "timeout", "a time that is over"
        )
    with no_worker_takes(redis), ExitStack() as opened:
        for _ in range(5):
            trace_id = secrets.token_hex(16)
            sent[trace_id] = "cancelled"
            header = f"traceparent: 00-{trace_id}-{secrets.token_hex(8)}-01\r\n"
            opened.enter_context(send(service, header=header))
        eventually(lambda: waiting(redis) == 5, "5 images in the queue")

    eventually_counted(client, before, dict(Counter(sent.values())))
    told = outcomes(client)

    def reported() -> bool:
        report = client.get("/api/v1/report", params={"days": 1}).json()
        return {name: count for name, count in report["requests"].items() if count} == told

    def traced() -> bool:
        listed = client.get("/api/v1/traces", params={"limit": 1000}).json()
        return {each["trace_id"]: each["outcome"] for each in listed}.items() >= sent.items()

    eventually(lambda: images(redis) == 0, "the images to be gone")
    eventually(reported, "the report to say the same")
    eventually(traced, "the traces to say the same")


def test_a_job_that_is_withdrawn(redis: Redis, client: httpx.Client) -> None:
    """DELETE takes a waiting image out of the queue; again, it changes nothing; of one that is done
    it says that it is too late."""
    before = outcomes(client)
    asynchronous = JPEG | {"prefer": "respond-async"}
    with no_worker_takes(redis):
        place = client.post(DETECT, content=jpeg(320, 240), headers=asynchronous).headers[
            "location"
        ]
        assert client.get(place).json()["status"] == "queued"
        for _ in range(2):
            answer = client.delete(place)
            assert answer.status_code == 200, answer.text
            assert answer.json()["status"] == "cancelled"
            assert answer.json()["error"]["code"] == "cancelled"
        assert waiting(redis) == images(redis) == 0
        assert client.get(place).json()["status"] == "cancelled"
    place = client.post(DETECT, content=jpeg(320, 240), headers=asynchronous).headers["location"]
    eventually(lambda: client.get(place).json()["status"] == "finished", "the result")
    assert client.delete(place).status_code == 409
    assert client.get(place).json()["status"] == "finished"
    assert client.delete(f"/api/v1/jobs/{'0' * 32}").status_code == 404
    eventually_counted(client, before, {"ok": 2})


def test_who_waits_is_told_of_a_withdrawal(
    service: Service, redis: Redis, client: httpx.Client
) -> None:
    """The request of an image that another withdraws ends at once, as cancelled."""
    before = outcomes(client)
    with no_worker_takes(redis), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(
            httpx.post, service.url + DETECT, content=jpeg(320, 240), headers=JPEG, timeout=120
        )
        eventually(lambda: waiting(redis) == 1, "an image in the queue")
        (job_id,) = redis.lrange("rq:queue:detections", 0, -1)  # type: ignore[misc]
        assert client.delete(f"/api/v1/jobs/{job_id.decode()}").status_code == 200
        assert answer.result().status_code == 409
    eventually_counted(client, before, {"cancelled": 1})


def test_preferences(redis: Redis, client: httpx.Client) -> None:
    """`respond-async` is answered at once, with `wait` after that time, and the job goes on; `wait`
    alone is a limit. The answer says what was heeded."""
    before = outcomes(client)

    def ask(preference: str) -> httpx.Response:
        headers = JPEG | {"prefer": preference}
        return client.post(DETECT, content=jpeg(320, 240), headers=headers)

    with no_worker_takes(redis):
        limited = ask('wait="1"')  # first: with others ahead it might be refused at once
        assert waiting(redis) == 0
        at_once, after_a_while = ask("Respond-Async"), ask("wait=1, respond-async")
        assert waiting(redis) == 2
    for answer, applied in (
        (at_once, "respond-async"), (after_a_while, "respond-async, wait=1"),
    ):  # fmt: skip
        assert answer.status_code == 202
        assert answer.headers["preference-applied"] == applied
        place = answer.headers["location"]
        eventually(lambda: client.get(place).json()["status"] == "finished", "a result")  # noqa: B023 asked right here
    assert limited.status_code == 504
    result = ask("respond-async, wait=600")
    assert (result.status_code, result.json()["status"]) == (200, "finished")
    assert result.headers["preference-applied"] == "respond-async, wait=600"
    assert "preference-applied" not in ask("respond-async=no").headers
    eventually_counted(client, before, {"ok": 4, "timeout": 1})


@pytest.mark.parametrize("seconds", [3, 8, 25])
def test_a_slow_upload(client: httpx.Client, service: Service, seconds: int) -> None:
    """One that takes seconds, within the client's time, is answered: the wait for the reply begins
    when the job exists."""
    body = jpeg(320, 240)

    def slowly() -> Iterator[bytes]:
        for part in range(10):
            time.sleep(seconds / 10)
            yield body[len(body) * part // 10 : len(body) * (part + 1) // 10]

    answer = client.post(DETECT, content=slowly(), headers=JPEG, params={"timeout": "600"})
    assert answer.status_code == 200, answer.text
    # The frontend may be late to see its begin.
    assert answer.json()["timings_ms"]["upload"] > 500 * seconds
