"""What somebody with Redis' password, or a mistake, puts under our names costs that entry alone.

Each entry is put in front of a running service; then a good image is sent behind it. The same
worker, the same frontend and the same watcher must answer and go on.
"""

from __future__ import annotations

import json
import pickle
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from redis import Redis
from rq.serializers import JSONSerializer

from monitoring.notify.queue import QUEUE as NOTICES
from monitoring.stores.contract import Window
from monitoring.stores.selection import open_readers
from pipeline.queue.keys import DOORBELL, IMAGE_KEYS, QUEUES, TASK, WORKERS_KEY
from pipeline.queue.mend import REGISTRIES
from pipeline.settings import Settings
from telemetry import catalogue
from tests.integration import pictures
from tests.servers import Service, eventually

QUEUE = "rq:queue:detections"
GOOD = {
    "options": {},
    "image": {"width": 320, "height": 240, "format": "JPEG", "bytes": 3},
    "upload_ms": 1.0,
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("entries")
    with Service(folder / "home", DAMOSCOPE_NOTIFY="json://127.0.0.1:1") as running:
        running.wait_until_ready()
        running.wait_for("watching; notifications go to json")
        yield running


@pytest.fixture(autouse=True)
def undisturbed(service: Service) -> Iterator[None]:
    """No process of the service ends for what a test does."""
    before = pids(service)
    yield
    assert pids(service) == before, service.output
    assert " ended with " not in service.output


def pids(service: Service) -> list[int]:
    names = ("worker", "frontend", "watcher")
    return [process.pid for name in names for process in service.children(name)]


def detect(service: Service) -> httpx.Response:
    with service.client() as client:
        return client.post(
            "/api/v1/detect", content=pictures.jpeg(), headers={"content-type": "image/jpeg"}
        )


def answered(service: Service) -> None:
    """A good image that is sent now is answered by a worker."""
    answer = detect(service)
    assert answer.status_code == 200, f"{answer.text}\n{service.output}"


def payload(function: str = TASK, args: Any = (GOOD,)) -> bytes:
    return orjson.dumps([function, None, list(args), {}])


def put(redis: Redis, data: bytes | None, job_id: str | None = None, **fields: Any) -> str:
    """Put a job in front of the queue, as `rq` would but for what is wrong with it."""
    job_id = job_id or uuid4().hex
    made = {
        "created_at": "2026-01-01T00:00:00.000000Z",
        "enqueued_at": "2026-01-01T00:00:00.000000Z",
        "status": "queued",
        "origin": "detections",
        "timeout": 60,
        **({} if data is None else {"data": data}),
        **fields,
    }
    redis.hset(f"rq:job:{job_id}", mapping=made)
    redis.lpush(QUEUE, job_id)
    redis.rpush(DOORBELL, "")
    return job_id


class Evil:
    """Unpickled, it would leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


JOBS: dict[str, bytes | None] = {
    "a foreign function": payload("os.system", ["touch /tmp/never"]),
    "a function of ours that is none of a job's": payload("pipeline.settings.load", []),
    "no arguments": payload(args=[]),
    "an argument of the wrong type": payload(args=["text"]),
    "a field of the wrong type": payload(args=[GOOD | {"image": "none"}]),
    "a missing field": payload(args=[{"options": {}}]),
    "a number beyond all": payload(args=[GOOD | {"upload_ms": 1e308}]),
    "sizes beyond all": payload(args=[GOOD | {"image": GOOD["image"] | {"bytes": 2**63}}]),  # type: ignore[operator]
    "a threshold that is none": payload(args=[GOOD | {"options": {"score_threshold": 7}}]),
    "no list": b'{"a": 1}',
    "a number": b"7",
    "no JSON": b"\xff\xfe\x00 nothing",
    "nothing": b"",
    "no payload at all": None,
    "deep JSON": deep(100_000),
    "a little less deep JSON": payload(args=[json.loads(deep(200))]),
    "a packed bomb": zlib.compress(b"[" * 300_000_000, 1),
    "2 MB": payload(args=[GOOD | {"upload_ms": "x" * 2_000_000}]),
}


@pytest.mark.parametrize("data", JOBS.values(), ids=JOBS.keys())
def test_jobs_that_are_none(service: Service, redis: Redis, data: bytes | None) -> None:
    """They are refused, each by itself; the image behind is answered."""
    job_id = put(redis, data)
    answered(service)
    assert redis.lpos(QUEUE, job_id) is None
    with service.client() as client:
        state = client.get(f"/api/v1/jobs/{job_id}")
    assert state.status_code in (200, 404)
    if state.status_code == 200:
        assert state.json()["status"] == "failed", state.text
        assert len(state.json()["error"]["message"]) < 400


def test_pickle_is_never_read(service: Service, redis: Redis, tmp_path: Path) -> None:
    """Neither as the payload nor in a field: a file that it would leave is not there."""
    mark = tmp_path / "unpickled"
    evil = pickle.dumps(Evil(mark))
    for data in (evil, zlib.compress(evil), pickle.dumps((TASK, None, (GOOD,), {}))):
        put(redis, data, meta=evil, success_callback_name=evil)
    answered(service)
    assert not mark.exists()


FIELDS: dict[str, dict[str, Any]] = {
    "times": {"damoscope_enqueued": "-" + "9" * 300, "enqueued_at": "x", "damoscope_deadline": "x"},
    "clocks": {"damoscope_clock": "9" * 300, "damoscope_enqueued": "1e5"},
    "a clock before all": {"damoscope_clock": "-" + "9" * 18},
    "tries": {"damoscope_taken": "nan", "retries_left": "many"},
    "endless tries": {"damoscope_taken": "1e308"},
    "a reply to a channel of RQ": {"damoscope_reply": "rq:pubsub:worker"},
    "a reply to nowhere": {"damoscope_reply": b"\xff\xfe"},
    "a trace of another type": {"meta": orjson.dumps({"traceparent": 7, "trace_id": ["a"]})},
    "a trace that is none": {"meta": orjson.dumps({"traceparent": "\n\n" * 1000})},
    "no trace": {"meta": b"\x80\x04"},
}  # fmt: skip


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS.keys())
def test_fields_that_make_no_sense(service: Service, redis: Redis, fields: dict[str, Any]) -> None:
    """A job of ours whose other fields are somebody's: it is run, or it fails, alone."""
    job_id = uuid4().hex
    redis.set(f"{IMAGE_KEYS}{job_id}", pictures.jpeg(), ex=60)
    put(redis, payload(), job_id, **fields)
    answered(service)

    def ended() -> bool:
        return redis.hget(f"rq:job:{job_id}", "status") in (b"finished", b"failed")

    eventually(ended, f"an end of job {job_id}")
    with service.client() as client:
        assert client.get(f"/api/v1/jobs/{job_id}").status_code == 200


@pytest.mark.parametrize(
    "name", [b"", b"\xff\xfe", b"a b", b"*", b"../x", b"x" * 1_000_000, b"a:b", b"\x00"]
)
def test_ids_that_are_none(service: Service, redis: Redis, name: bytes) -> None:
    """What stands in the queue and can be no id is removed."""
    redis.lpush(QUEUE, name)
    redis.rpush(DOORBELL, "")
    answered(service)
    assert redis.lpos(QUEUE, name) is None  # type: ignore[arg-type]


def test_many_ids_that_are_none(service: Service, redis: Redis) -> None:
    """Some thousands keep a good image waiting for seconds at most, and Redis for no moment."""
    for _ in range(50):
        redis.lpush(QUEUE, *(f"no job {n}" for n in range(100)))
    redis.rpush(DOORBELL, "")

    def is_answered() -> bool:
        status = detect(service).status_code
        assert status in (200, 503)  # they are ahead for as long as they are there
        return status == 200

    eventually(is_answered, "a good image to be answered")
    assert redis.llen(QUEUE) == 0


WRONG: dict[str, Callable[[Redis, str], Any]] = {
    "text": lambda redis, key: redis.set(key, "text"),
    "list": lambda redis, key: redis.rpush(key, b"\xff", "two"),
    "set": lambda redis, key: redis.sadd(key, b"\xff", "two"),
    "hash": lambda redis, key: redis.hset(key, "field", "value"),
    "zset": lambda redis, key: redis.zadd(key, {"member": 1}),
    "stream": lambda redis, key: redis.xadd(key, {"field": "value"}),
}


@pytest.mark.parametrize("kind", ["text", "hash", "stream"])
def test_keys_of_another_type(service: Service, redis: Redis, kind: str) -> None:
    """Every key that workers share, made something else at once: all are ours again in seconds."""
    names = QUEUES.values()
    keys = [
        DOORBELL,
        "rq:queues",
        "rq:workers",
        *(f"rq:queue:{name}" for name in names),
        *(f"rq:workers:{name}" for name in names),
        *(f"rq:{registry}:{name}" for name in names for registry in REGISTRIES),
    ]
    with redis.pipeline() as pipe:
        for key in keys:
            pipe.delete(key)
            WRONG[kind](pipe, key)
        pipe.execute()
    eventually(lambda: detect(service).status_code == 200, "an image to be answered")

    def mended() -> bool:
        return not any(redis.type(key).decode() == WRONG_TYPES[kind] for key in keys)

    eventually(mended, "every key to be of its type")
    eventually(lambda: detect(service).status_code == 200, "the worker to be known again")


WRONG_TYPES = {"text": "string", "hash": "hash", "stream": "stream"}


@pytest.mark.parametrize("kind", ["text", "list"])
def test_jobs_and_workers_of_another_type(service: Service, redis: Redis, kind: str) -> None:
    """Keys of one job, and the worker's own registration, made something else."""
    for template in ("rq:job:{}", "rq:executions:{}", "rq:results:{}"):
        job_id = uuid4().hex
        redis.set(f"{IMAGE_KEYS}{job_id}", pictures.jpeg(), ex=60)
        key = template.format(job_id)
        if template == "rq:job:{}":
            WRONG[kind](redis, key)
            redis.lpush(QUEUE, job_id)
            redis.rpush(DOORBELL, "")
        else:  # before the job: a worker would make them otherwise
            WRONG[kind](redis, key)
            put(redis, payload(), job_id)
        with service.client() as client:
            assert client.get(f"/api/v1/jobs/{job_id}").status_code in (200, 404)
    answered(service)
    members = redis.smembers(WORKERS_KEY)
    assert len(members) == 1
    (worker,) = members
    with redis.pipeline() as pipe:  # at once: a worker would make them meanwhile
        for key in (worker, worker + b":executions"):
            pipe.delete(key)
            WRONG[kind](pipe, key.decode())
        pipe.execute()
    eventually(lambda: redis.type(worker) == b"hash", "the worker to register again")
    eventually(lambda: detect(service).status_code == 200, "an image to be answered")


@pytest.mark.parametrize("registry", REGISTRIES)
def test_members_of_registries(service: Service, redis: Redis, registry: str) -> None:
    """Members of every registry, also the watcher's, that name no job; leases that never end."""
    members = ["", "none", "a:b:c", b"\xff\xfe", "x" * 100_000, ":", "no-job:no-execution"]
    for name in (*QUEUES.values(), NOTICES):
        for score in ("-inf", 0, 1, "+inf"):
            found = {f"{member!r}{score}" if member else "": score for member in members}
            redis.zadd(f"rq:{registry}:{name}", {b"\xff" + str(score).encode(): score} | found)  # type: ignore[dict-item]
        redis.lpush(f"rq:queue:{name}:intermediate", "", b"\xff\xfe", "x" * 100_000)
    job_id = uuid4().hex
    redis.set(f"{IMAGE_KEYS}{job_id}", pictures.jpeg(), ex=60)
    fields = {"status": "started", "retries_left": "1.5", "number_of_retries": "x"}
    redis.hset(
        f"rq:job:{job_id}",
        mapping={"data": payload(), "enqueued_at": "2026-01-01T00:00:00Z"} | fields,
    )
    redis.zadd("rq:wip:detections", {f"{job_id}:{uuid4().hex}": "+inf"})
    answered(service)

    def recovered() -> bool:
        return redis.hget(f"rq:job:{job_id}", "status") in (b"failed", b"finished")

    eventually(recovered, "a job under an endless lease to be put back, and run")

    def swept() -> bool:
        return redis.zcard("rq:wip:detections") == 0 and not redis.exists(
            f"rq:queue:{NOTICES}:intermediate"
        )

    eventually(swept, "the registries to be swept")
    redis.delete(*(f"rq:{registry}:{name}" for name in (*QUEUES.values(), NOTICES)))


REGISTRATIONS: dict[str, dict[str, Any]] = {
    "nothing of ours": {"field": "value"},
    "thresholds": {"state": "idle", "damoscope_score_threshold": "high"},
    "endless thresholds": {"state": "idle", "damoscope_iou_threshold": "1e999"},
    "no text": {"state": "idle", "damoscope_model": b"\xff\xfe", "damoscope_labels": b"\xff"},
    "2 MB of labels": {"state": "idle", "damoscope_labels": "x" * 2_000_000},
}


def malformed_workers(client: httpx.Client) -> float:
    """Registrations that were found to be none, as exported so far."""
    name = f"{catalogue.MALFORMED.exported}{{"
    return sum(
        float(line.rpartition(" ")[2])
        for line in client.get("/metrics").text.splitlines()
        if line.startswith(name) and 'kind="worker"' in line and "damoscope-frontend" in line
    )


def test_registrations_that_are_none(service: Service, redis: Redis) -> None:
    """Workers that never were: they are not counted, and the real one stays known."""
    with service.client() as client:
        counted = malformed_workers(client)
    for number, fields in enumerate(REGISTRATIONS.values()):
        redis.hset(f"rq:worker:forged-{number}", mapping=fields)
        redis.expire(f"rq:worker:forged-{number}", 60)
        redis.sadd(WORKERS_KEY, f"rq:worker:forged-{number}")
    redis.set("rq:worker:text", "text", ex=60)
    for member in (b"\xff\xfe", b"", b"rq:worker:text", b"damoscope:alerts:states", b"x" * 100_000):
        redis.sadd(WORKERS_KEY, member)
        redis.sadd("rq:workers", member)
    with service.client() as client:
        eventually(lambda: malformed_workers(client) > counted, "the frontend to have seen them")
        assert client.get("/readyz").status_code == 200
        assert client.get("/api/v1/stats").status_code == 200
    answered(service)
    eventually(
        lambda: not redis.sismember(WORKERS_KEY, b"\xff\xfe"), "what names no worker to be removed"
    )
    redis.srem(WORKERS_KEY, *(f"rq:worker:forged-{n}" for n in range(len(REGISTRATIONS))))


def test_replies_that_are_none(service: Service, redis: Redis) -> None:
    """On every reply channel, also for a job that is waited for: the real answer is given."""
    (channel,) = redis.pubsub_channels("damoscope:replies:*")
    texts: list[bytes] = [
        b"", b" ", b"x", b"\xff\xfe \xff", b"id null", b"id []", b"id {}", b'id {"error": 7}',
        b'id {"result": {}}', b'id {"result": {"detections": 7, "timings_ms": {}}}',
        b'id {"result": {"detections":[}],"timings_ms":{}}}', b"id " + deep(100_000),
    ]  # fmt: skip
    for text in texts:
        assert redis.publish(channel, text) == 1
        assert redis.publish(channel, text.replace(b"id", uuid4().hex.encode())) == 1
    answered(service)


def test_the_state_of_alerts(service: Service, redis: Redis) -> None:
    """States, episodes, silences and the leader's lock that are none: rules are evaluated on."""
    prefix = "damoscope:alerts"
    redis.hset(f"{prefix}:states", "QueueGrows", "no JSON")
    redis.hset(f"{prefix}:states", b"\xff", b"\xff\xfe")
    redis.hset(f"{prefix}:silences", "one", "{}")
    redis.hset(f"{prefix}:episodes", "one", "[" * 1000)
    redis.zadd(f"{prefix}:history", {"one": 1e10, b"\xff": 1e10})  # type: ignore[dict-item]
    redis.hset(f"{prefix}:meta", mapping={"evaluated_at": "never"})
    redis.hset(f"{prefix}:heard", mapping={"one": "nan"})
    redis.hset(f"{prefix}:open", mapping={"one": "one"})
    with service.client() as client:
        assert client.get("/api/v1/alerts").status_code == 200
        evaluated_again(redis)
        assert client.get("/api/v1/alerts").status_code == 200
        assert client.get("/api/v1/report", params={"days": 1}).status_code == 200
    for name in ("states", "meta", "episodes", "history", "open", "silences", "leader"):
        redis.delete(f"{prefix}:{name}")
        WRONG["stream"](redis, f"{prefix}:{name}")
    evaluated_again(redis)
    redis.set(f"{prefix}:leader", "somebody else, for ever")
    redis.hdel(f"{prefix}:meta", "evaluated_at")
    evaluated_again(redis)
    redis.delete(f"{prefix}:history")


def evaluated_again(redis: Redis) -> None:
    began = time.time()

    def evaluated() -> bool:
        if redis.type("damoscope:alerts:meta") != b"hash":
            return False
        try:
            return float(redis.hget("damoscope:alerts:meta", "evaluated_at") or 0) > began
        except ValueError:
            return False

    eventually(evaluated, "the rules to be evaluated")


def test_notices_that_are_none(service: Service, redis: Redis) -> None:
    """Jobs of the watcher's queue that cannot be read, or name what is none of its: the notice
    behind them is tried."""
    for data in (pickle.dumps(1), b"7", payload("os.system", ["true"]), b""):
        job_id = uuid4().hex
        fields = {"created_at": "never", "timeout": "x", "data": data, "origin": NOTICES}
        redis.hset(f"rq:job:{job_id}", mapping=fields)
        redis.rpush(f"rq:queue:{NOTICES}", job_id)
        job_id = uuid4().hex
        good = {"created_at": "2026-01-01T00:00:00Z", "data": data, "status": "queued"}
        redis.hset(f"rq:job:{job_id}", mapping=good)
        redis.rpush(f"rq:queue:{NOTICES}", job_id)
    redis.rpush(f"rq:queue:{NOTICES}", "", b"\xff\xfe", "x" * 1000)
    redis.set("rq:job:of-another-type", "text", ex=600)
    redis.rpush(f"rq:queue:{NOTICES}", "of-another-type")
    from monitoring.notify.message import test_notice
    from monitoring.notify.queue import enqueue

    job_id = enqueue(redis, test_notice())
    eventually(
        lambda: redis.exists(f"damoscope:notify:fanned-out:{job_id}"),
        "the notice behind them",
    )
    # RQ gives up what is not of its making; nothing of it ran, and the queue is empty.
    eventually(lambda: redis.llen(f"rq:queue:{NOTICES}") == 0, "an empty queue")
    assert JSONSerializer  # the watcher reads no other


def test_they_are_counted(service: Service) -> None:
    """All of the above, in `damoscope.redis.malformed`, by kind."""
    stores = open_readers(Settings(home=service.home))
    try:

        def kinds() -> set[str]:
            window = Window(time.time() - 7200, time.time() + 10)
            found = stores.metrics.increase(catalogue.MALFORMED, window, by=("kind",))
            return {kind for (kind,), count in found.items() if count > 0}

        eventually(lambda: kinds() >= {"job", "key", "worker", "reply", "alert"}, "all kinds")
    finally:
        stores.close()
