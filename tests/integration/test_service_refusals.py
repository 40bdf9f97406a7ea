"""A frontend alone, with no worker but the ones that a test pretends: what it says then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from redis import Redis
from rq.worker import BaseWorker

from pipeline.queue.consumer import Consumer, Stored
from pipeline.queue.keys import QUEUES
from pipeline.queue.pools import POOLS
from telemetry.catalogue import QUEUE_REFUSED, REQUESTS_LIMITED
from tests.integration import pictures
from tests.integration.test_service_api import assert_problem
from tests.servers import Process, RedisProcess, eventually, free_port

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
QUEUE_MAX = 3
RATE = 40


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("refusals")) as server:
        yield server


@pytest.fixture(scope="module")
def url(redis: RedisProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `damoscope frontend`."""
    folder = tmp_path_factory.mktemp("frontend")
    port = free_port()
    env = {
        "REDIS_URL": redis.url, "DAMOSCOPE_PORT": str(port), "DAMOSCOPE_HOME": str(folder),
        "DAMOSCOPE_QUEUE_MAX": str(QUEUE_MAX), "DAMOSCOPE_RATE_LIMIT": f"{RATE}/hour",
    }  # fmt: skip
    command = [sys.executable, "-m", "run", "frontend"]
    with Process(command, Path(folder), env) as process:
        address = f"http://127.0.0.1:{port}"
        eventually(lambda: _is_up(address) or not process.running, "the frontend")
        assert process.running, process.output
        yield address


def _is_up(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def client(url: str, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client with an address of its own, so that each test has the whole rate limit."""
    tests = request.session.items
    address = f"127.0.1.{tests.index(request.node) % 250 + 1}"
    transport = httpx.HTTPTransport(local_address=address)
    with httpx.Client(base_url=url, transport=transport, timeout=60) as opened:
        yield opened


@pytest.fixture
def consumer(url: str, redis: RedisProcess, client: httpx.Client) -> Iterator[Consumer]:
    """A worker as far as Redis knows, which does only what a test does in its name."""
    redis.client.flushall()
    worker = BaseWorker(
        list(QUEUES.values()), name="pretended", connection=redis.client, serializer="json"
    )
    worker.register_birth()
    redis.client.hset(worker.key, "state", "idle")
    eventually(lambda: client.get("/readyz").status_code == 200, "the worker to be seen")
    yield Consumer(redis.client, worker.name, result_ttl_s=60)
    redis.client.flushall()


RESULT = (
    b'{"job_id": "%s", "trace_id": "", "model": "m", "provider": "cpu", "detections": [],'
    b'"image": {"width": 1, "height": 1, "format": "PNG", "bytes": 1}, "batch_size": 1,'
    b'"worker": "w1", "timings_ms": {"upload": 1, "queue_wait": 1, "preprocess": 1,'
    b'"inference": 1, "nms": 1, "total": 5}}'
)


def post(client: httpx.Client, **params: float) -> httpx.Response:
    return client.post(DETECT, content=pictures.jpeg(), headers=JPEG, params=params)


def images(redis: Redis) -> int:
    return len(list(redis.scan_iter("damoscope:image:*")))


def counted(client: httpx.Client, name: str) -> dict[str, float]:
    """A counter of the frontend by its labels, as Prometheus would scrape it."""
    found = httpx.get(f"{client.base_url}/metrics", trust_env=False, timeout=60).text
    lines = [line.rpartition(" ") for line in found.splitlines() if line.startswith(name)]
    return {labels: float(value) for labels, _, value in lines}


def test_no_worker(url: str, client: httpx.Client, redis: RedisProcess) -> None:
    """Without a worker the service is up but not ready, and says when to try again."""
    redis.client.flushall()
    eventually(lambda: client.get("/readyz").status_code == 503, "the workers to be gone")
    ready = client.get("/readyz")
    assert ready.headers["content-type"] == "application/problem+json"
    assert "no worker" in ready.json()["detail"]
    assert int(ready.headers["retry-after"]) > 0
    assert client.get("/healthz").status_code == 200
    answer = post(client)
    assert_problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert images(redis.client) == 0


def test_a_full_queue(client: httpx.Client, redis: RedisProcess, consumer: Consumer) -> None:
    """When the queue is full an image is refused and not kept; once there is room it is taken."""
    background = JPEG | {"prefer": "respond-async"}
    for _ in range(QUEUE_MAX):
        answer = client.post(DETECT, content=pictures.jpeg(), headers=background)
        assert answer.status_code == 202
    answer = client.post(DETECT, content=pictures.jpeg(), headers=background)
    assert_problem(answer, 503, "overloaded")
    assert "full" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) > 0
    assert images(redis.client) == QUEUE_MAX
    assert len(consumer.take(1)) == 1
    assert client.post(DETECT, content=pictures.jpeg(), headers=background).status_code == 202


def test_what_workers_are_missed_for_is_counted_by_queue(
    client: httpx.Client, redis: RedisProcess, consumer: Consumer
) -> None:
    """Images for which there is no room, and those of a model that nobody serves any more."""

    def refused(queue: str) -> float:
        found = counted(client, QUEUE_REFUSED.exported)
        return sum(value for labels, value in found.items() if f'queue="{queue}"' in labels)

    redis.client.zadd(POOLS, {"other": time.time()})
    before = refused("detections")
    background = JPEG | {"prefer": "respond-async"}
    for _ in range(QUEUE_MAX):
        assert client.post(DETECT, content=pictures.jpeg(), headers=background).status_code == 202
    answer = client.post(DETECT, content=pictures.jpeg(), headers=background)
    assert_problem(answer, 503, "overloaded")

    def asked() -> httpx.Response | None:  # once the frontend has heard of the model
        answer = client.post(f"{DETECT}?model=other", content=pictures.jpeg(), headers=background)
        return None if answer.status_code == 422 else answer

    assert_problem(eventually(asked, "the model"), 503, "unavailable")
    eventually(lambda: refused("detections") > before, "the refusal of an image that names none")
    eventually(lambda: refused("detections.other") == 1, "the refusal of the model's image")


def test_a_timeout(client: httpx.Client, redis: RedisProcess, consumer: Consumer) -> None:
    """After `timeout` the answer is 504, and the image is withdrawn; what comes of one that a
    worker has begun is dropped."""
    answer = post(client, timeout=3)
    assert_problem(answer, 504, "timeout")
    assert "location" not in answer.headers
    assert consumer.take(1) == []
    assert images(redis.client) == 0
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(post, client, timeout=10)
        eventually(lambda: redis.client.llen("rq:queue:detections") == 1, "an image in the queue")
        (taken,) = consumer.take(1)
        assert_problem(late.result(), 504, "timeout")
    assert "dropped" in late.result().json()["detail"]
    assert client.get(f"/api/v1/jobs/{taken.job_id}").json()["status"] == "cancelled"
    assert consumer.finish([(taken, RESULT % taken.job_id.encode())], 0.1) == [Stored.WITHDRAWN]


def test_a_lost_reply(url: str, redis: RedisProcess, consumer: Consumer) -> None:
    """A reply that Redis could not deliver is found by looking the job up."""
    import threading

    answers: list[httpx.Response] = []

    def ask() -> None:
        transport = httpx.HTTPTransport(local_address="127.0.2.1")
        with httpx.Client(base_url=url, transport=transport, timeout=60) as client:
            answers.append(post(client))

    thread = threading.Thread(target=ask)
    thread.start()
    (taken,) = eventually(lambda: consumer.take(1), "the job")
    taken.reply_to = "damoscope:replies:nobody"
    consumer.finish([(taken, RESULT % taken.job_id.encode())], 0.1)
    thread.join()
    assert answers[0].status_code == 200
    assert answers[0].json()["job_id"] == taken.job_id


def test_the_rate_limit(client: httpx.Client, consumer: Consumer) -> None:
    """A client that sends more than allowed gets 429 and when to try again; others go on."""
    statuses = []
    for _ in range(RATE + 3):
        answer = client.post(DETECT, content=b"junk", headers=JPEG)
        statuses.append(answer.status_code)
    assert statuses == [400] * RATE + [429] * 3
    assert_problem(answer, 429, "rate_limited")
    assert int(answer.headers["retry-after"]) > 0
    transport = httpx.HTTPTransport(local_address="127.0.2.2")
    with httpx.Client(base_url=client.base_url, transport=transport, timeout=60) as other:
        assert other.post(DETECT, content=b"junk", headers=JPEG).status_code == 400


def test_what_is_over_a_rate_is_counted_apart(client: httpx.Client, consumer: Consumer) -> None:
    """It is the client's doing, and no fault of the service's: objectives leave it out."""

    def limited() -> float:
        return sum(counted(client, REQUESTS_LIMITED.exported).values())

    before = limited()
    statuses = [client.post(DETECT, content=b"junk", headers=JPEG).status_code]
    while statuses.count(429) < 2 and len(statuses) < 10 * RATE:
        statuses.append(client.post(DETECT, content=b"junk", headers=JPEG).status_code)
    assert statuses.count(429) == 2, statuses
    eventually(lambda: limited() >= before + 2, "what was over the rate to be counted")


def test_redis_goes_and_comes(
    client: httpx.Client, redis: RedisProcess, consumer: Consumer
) -> None:
    """While Redis is away images are refused with 503; when it is back they are taken again."""
    redis.stop()
    try:
        _while_away(client)
    finally:
        redis.start()
    eventually(lambda: client.get("/readyz").status_code == 200, "the frontend to recover")

    def taken_again() -> bool:  # once it has found that its connections of before are gone
        headers = JPEG | {"prefer": "respond-async"}
        return client.post(DETECT, content=pictures.jpeg(), headers=headers).status_code == 202

    eventually(taken_again, "an image to be taken")
    (taken,) = consumer.take(1)
    assert taken.job is not None
    assert not taken.expired


def _while_away(client: httpx.Client) -> None:
    answer = post(client, timeout=10)
    assert_problem(answer, 503, "unavailable")
    assert "Redis" in answer.json()["detail"]
    assert client.get("/api/v1/jobs/" + "0" * 32).status_code == 503
    eventually(lambda: "Redis" in client.get("/readyz").text, "the frontend to notice")
