"""Clients that lose their connection, and send the same image again with the same Idempotency-Key:
they get the first one's answer, and no work is done twice.

Each test ends when all that it sent is counted: the next one begins with what is counted by then.
"""

from __future__ import annotations

import gzip
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest
from redis import Redis

from tests.faults.test_clients import (
    DETECT,
    JPEG,
    eventually_counted,
    images,
    outcomes,
    send,
    waiting,
)
from tests.integration.pictures import jpeg
from tests.servers import PATIENCE_S, Service, eventually
from tests.suspension import no_worker_takes

KEYS = "damoscope:idempotency:*"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("resends") / "home"
    with Service(home) as running:
        yield running.wait_until_ready()


def keyed(key: str | None = None, **more: str) -> dict[str, str]:
    """The fields of an image with this key, or one of its own."""
    return JPEG | {"idempotency-key": f'"{key or uuid4()}"'} | more


def ask(client: httpx.Client, headers: dict[str, str], **options: Any) -> httpx.Response:
    """Send the image that `send` sends, with much time for it."""
    given = {"content": jpeg(320, 240), "params": {"timeout": "600"}} | options
    return client.post(DETECT, **given, headers=headers)


def broken(connection: socket.socket) -> None:
    """End a connection as a network does that goes away: by a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def found(answer: httpx.Response) -> dict[str, Any]:
    """A result but for how long its request took, which is each request's own."""
    result: dict[str, Any] = answer.json()
    del result["timings_ms"]["total"]
    return result


def in_queue(redis: Redis) -> str:
    """The job of the one image that waits."""
    (job_id,) = redis.lrange("rq:queue:detections", 0, -1)  # type: ignore[misc]
    return str(job_id.decode())


def in_flight(client: httpx.Client) -> int:
    """Requests that have no answer yet, by the last export."""
    return int(client.get("/api/v1/stats").json()["requests_active"] or 0)


def stored(redis: Redis, job_id: str) -> int:
    """How often a job's result was stored."""
    return int(redis.xlen(f"rq:results:{job_id}"))


def test_a_connection_that_breaks_while_the_image_waits(
    service: Service, redis: Redis, client: httpx.Client
) -> None:
    """The image stays in the queue. A resend waits for it and is answered; another one, when it is
    done, has the same answer. One job has run, and each request is counted as what it was."""
    before, headers = outcomes(client), keyed()
    field = f"Idempotency-Key: {headers['idempotency-key']}\r\n"
    with ThreadPoolExecutor(1) as pool:
        with no_worker_takes(redis):
            connection = send(service, "?timeout=600", field)
            eventually(lambda: waiting(redis) == 1, "the image in the queue")
            broken(connection)
            eventually_counted(client, before, {"cancelled": 1})
            assert waiting(redis) == images(redis) == 1
            job_id = in_queue(redis)
            resend = pool.submit(ask, client, headers)
            eventually(lambda: in_flight(client) == 1, "the resend to wait")
            assert waiting(redis) == images(redis) == 1
        answer = resend.result()
    assert answer.status_code == 200, answer.text
    assert answer.json()["job_id"] == job_id
    again = ask(client, headers)
    assert (again.status_code, found(again)) == (200, found(answer))
    assert again.headers["x-trace-id"] != answer.json()["trace_id"], "a request of its own"
    assert stored(redis, job_id) == 1
    assert waiting(redis) == images(redis) == 0
    eventually_counted(client, before, {"cancelled": 1, "ok": 2})


def test_a_connection_that_breaks_before_the_answer_is_read(
    service: Service, redis: Redis, client: httpx.Client
) -> None:
    """The answer is kept for the resend."""
    before, headers = outcomes(client), keyed()
    finished = redis.zcard("rq:finished:detections")
    connection = send(service, header=f"Idempotency-Key: {headers['idempotency-key']}\r\n")
    eventually(lambda: redis.zcard("rq:finished:detections") == finished + 1, "the result")  # type: ignore[operator]
    broken(connection)
    answer = ask(client, headers)
    assert answer.status_code == 200, answer.text
    assert stored(redis, answer.json()["job_id"]) == 1
    assert redis.zcard("rq:finished:detections") == finished + 1  # type: ignore[operator]
    # The first is one or the other: its answer may be with the kernel, or not.
    counted = sum(before.values()) + 2
    eventually(lambda: sum(outcomes(client).values()) == counted, "both to be counted")


def test_many_at_once(redis: Redis, client: httpx.Client) -> None:
    """Whichever comes first, there is one job, and all have its result."""
    before, headers = outcomes(client), keyed()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ask(client, headers), range(16)))
    assert {answer.status_code for answer in answers} == {200}
    (job_id,) = {answer.json()["job_id"] for answer in answers}
    assert stored(redis, job_id) == 1
    assert waiting(redis) == images(redis) == 0
    eventually_counted(client, before, {"ok": 16})


def test_what_makes_a_request_the_same(redis: Redis, client: httpx.Client) -> None:
    """The image and what is asked of it: not how it is packed, in which order labels are named, or
    how long the client waits. With another image, or other parameters, the key is refused."""
    before, headers, image = outcomes(client), keyed(), jpeg(320, 240)
    asked = {"score_threshold": "0.3", "labels": ["phone"]}
    first = ask(client, headers, params=asked)
    assert first.status_code == 200, first.text
    key = {"idempotency-key": headers["idempotency-key"]}
    same = (
        ask(client, headers, params=asked | {"timeout": "7"}),
        ask(client, headers, params=asked | {"labels": ["PHONE"]}),
        ask(client, headers | {"prefer": "respond-async, wait=100"}, params=asked),
        ask(client, headers | {"content-encoding": "gzip"}, content=gzip.compress(image),
            params=asked),
        client.post(DETECT, files={"image": image}, headers=key, params=asked),
    )  # fmt: skip
    for answer in same:
        assert (answer.status_code, found(answer)) == (200, found(first)), answer.text
    different = (
        ask(client, headers, params=asked | {"score_threshold": "0.4"}),
        ask(client, headers, params=asked | {"priority": "high"}),
        ask(client, headers),
        ask(client, headers, content=jpeg(320, 240, 1), params=asked),
        ask(client, headers | {"prefer": "respond-async"}),
    )
    for answer in different:
        assert answer.status_code == 422, answer.text
        assert answer.json()["type"] == "urn:damoscope:idempotency_key_reused"
    assert images(redis) == 0
    for key in redis.scan_iter(KEYS):
        assert 0 < redis.ttl(key) <= 3600  # type: ignore[operator]
    eventually_counted(client, before, {"ok": 6, "invalid": 5})


def test_a_key_that_is_none(client: httpx.Client) -> None:
    """It is refused as such, and counted."""
    before = outcomes(client)
    bare = ask(client, JPEG | {"idempotency-key": "8e03978e-40d5-43e8-bc93-6894a57f9324"})
    two = client.post(
        DETECT,
        content=jpeg(320, 240),
        headers=[*JPEG.items(), ("idempotency-key", '"a"'), ("idempotency-key", '"a"')],
    )
    for answer in (bare, two):
        assert answer.status_code == 400
        assert "in quotation marks" in answer.json()["detail"]
    eventually_counted(client, before, {"invalid": 2})


def test_another_clients_key(service: Service, client: httpx.Client) -> None:
    """The same key of another client stands for nothing of the first one's."""
    before, headers = outcomes(client), keyed()
    first = ask(client, headers)
    elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(base_url=service.url, transport=elsewhere, timeout=PATIENCE_S) as other:
        theirs = ask(other, headers)
        assert found(ask(other, headers)) == found(theirs)
    assert (first.status_code, theirs.status_code) == (200, 200)
    assert theirs.json()["job_id"] != first.json()["job_id"]
    assert found(ask(client, headers)) == found(first)
    eventually_counted(client, before, {"ok": 4})


def test_without_waiting(redis: Redis, client: httpx.Client) -> None:
    """A resend is accepted at the same address; an image that was withdrawn is begun anew."""
    before, headers = outcomes(client), keyed(prefer="respond-async")
    with no_worker_takes(redis):
        first, second = ask(client, headers), ask(client, headers)
        assert (first.status_code, second.status_code) == (202, 202)
        place = first.headers["location"]
        assert second.headers["location"] == place
        assert waiting(redis) == images(redis) == 1
        assert client.delete(place).status_code == 200
        third = ask(client, headers)
        assert third.headers["location"] != place
        assert waiting(redis) == images(redis) == 1
    answer = ask(client, keyed(headers["idempotency-key"].strip('"')))
    assert answer.status_code == 200, answer.text
    assert third.headers["location"].endswith(answer.json()["job_id"])
    assert client.get(place).json()["status"] == "cancelled"
    eventually_counted(client, before, {"ok": 4})


def test_time_that_is_over(redis: Redis, client: httpx.Client) -> None:
    """After 504 a resend begins anew. One whose own time is over before that of the first leaves
    the first one's image where it is."""
    before, headers = outcomes(client), keyed()
    with ThreadPoolExecutor(1) as pool:
        with no_worker_takes(redis):
            late = ask(client, headers, params={"timeout": "0.5"})
            assert late.status_code == 504
            eventually(lambda: waiting(redis) == images(redis) == 0, "it to be withdrawn")
            patient = pool.submit(ask, client, headers)
            eventually(lambda: waiting(redis) == 1, "the image in the queue")
            hasty = ask(client, headers, params={"timeout": "5"})
            assert hasty.status_code == 504
            assert "goes on" in hasty.json()["detail"]
            assert waiting(redis) == images(redis) == 1
        assert patient.result().status_code == 200
    eventually_counted(client, before, {"timeout": 2, "ok": 1})


def test_an_image_that_is_refused_by_its_worker(redis: Redis, client: httpx.Client) -> None:
    """The resend of an image with which something is wrong gets the same answer, without work."""
    before, headers, damaged = outcomes(client), keyed(), bytearray(jpeg(320, 240))
    middle = len(damaged) // 2
    damaged[middle : middle + 600] = bytes(600)
    failed = redis.zcard("rq:failed:detections")
    answers = [ask(client, headers, content=bytes(damaged)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [400, 400], answers[0].text
    assert answers[0].json()["detail"] == answers[1].json()["detail"]
    assert redis.zcard("rq:failed:detections") == failed + 1  # type: ignore[operator]
    eventually_counted(client, before, {"invalid": 2})


@pytest.mark.timeout(600)
def test_a_frontend_that_dies(service: Service, redis: Redis, client: httpx.Client) -> None:
    """Killed after it has enqueued an image: the next one answers the resend with that image's
    result."""
    headers = keyed()
    with ThreadPoolExecutor(1) as pool:
        with no_worker_takes(redis):
            lost = pool.submit(ask, client, headers)
            eventually(lambda: waiting(redis) == 1, "the image in the queue")
            job_id = in_queue(redis)
            (frontend,) = service.children("frontend")
            frontend.kill()
            with pytest.raises(httpx.TransportError):
                lost.result()
            resend = pool.submit(eventually, lambda: accepted(client, headers), "an answer")
        answer = resend.result()
    assert answer.json()["job_id"] == job_id
    assert stored(redis, job_id) == 1


def accepted(client: httpx.Client, headers: dict[str, str]) -> httpx.Response | None:
    """The answer with a result; None while the frontend is not there, or knows of no worker yet."""
    try:
        answer = ask(client, headers)
    except httpx.TransportError:
        return None
    assert answer.status_code in (200, 503), answer.text
    return answer if answer.status_code == 200 else None
