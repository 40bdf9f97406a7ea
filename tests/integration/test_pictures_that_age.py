"""Thousands of pictures whose time is over at the same moment, in a service that is at work."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
from redis import Redis

from pipeline.queue.kept import MB, PictureKeeper, kept_key, room_of
from pipeline.queue.keys import KEPT_INDEX, KEPT_KEYS, KEPT_TOTAL
from tests.integration import pictures
from tests.servers import Service, eventually

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
TRACE = "ab" * 16
OLD, MOST_MB = 3000, 32


def test_thousands_age_at_once(tmp_path: Path) -> None:
    """While images arrive: each is answered, none of the old pictures is seen any more, all of them
    together never take more than they may, and what is left at the end is what came last."""
    settings = {
        "DAMOSCOPE_KEEP_IMAGES": "thumbnails", "DAMOSCOPE_KEEP_IMAGES_MB": str(MOST_MB),
        "DAMOSCOPE_WORKERS": "2",
    }  # fmt: skip
    with (
        Service(tmp_path / "home", **settings).wait_until_ready() as running,
        running.client() as client,
        running.redis() as redis,
    ):
        fill(redis)
        done = Event()
        with ThreadPoolExecutor(2) as callers:
            sent = [callers.submit(send_until, done, running) for _ in range(2)]
            try:
                over_s = end_together(redis)
                eventually(lambda: now(redis) > over_s, "their time to be over")
                for number in range(0, OLD, 100):
                    assert client.get(path(TRACE, job(number))).status_code == 404
                eventually(lambda: not old_ones(redis), "the index to be without them")
                assert taken(redis) <= MOST_MB * MB
            finally:
                done.set()
            answers = [answer for each in sent for answer in each.result()]
        assert answers
        last = client.post(DETECT, content=pictures.phone(), headers=JPEG).json()
        new = path(last["trace_id"], last["job_id"])
        eventually(lambda: client.get(new).status_code == 200, "the last picture")
        eventually(lambda: counted(redis) == taken(redis), "their bytes to be what is counted")


def fill(redis: Redis) -> None:
    """As a worker would have, in the hours before: nearly all the room is taken."""
    keeper = PictureKeeper(redis, hours=24, most_mb=MOST_MB)
    picture = b"\xff\xd8\xff" + secrets.token_bytes(10_200)
    for number in range(OLD):
        assert keeper.keep(TRACE, job(number), picture)


def end_together(redis: Redis) -> int:
    """Have the time of all of them be over in the same second, soon; that second."""
    over_s = now(redis) + 2
    pipe = redis.pipeline()
    for entry in old_ones(redis):
        trace_id, job_id, *_ = entry.decode().split(":")
        pipe.expireat(kept_key(trace_id, job_id), over_s)
        pipe.zadd(KEPT_INDEX, {entry: over_s})
    pipe.execute()
    return over_s


def send_until(done: Event, service: Service) -> list[httpx.Response]:
    """Answers to one image after another."""
    answers = []
    with service.client() as client:
        while not done.is_set():
            answer = client.post(DETECT, content=pictures.phone(), headers=JPEG)
            assert answer.status_code == 200, answer.text
            answers.append(answer)
    return answers


def old_ones(redis: Redis) -> list[bytes]:
    return [entry for entry in redis.zrange(KEPT_INDEX, 0, -1) if entry.startswith(TRACE.encode())]


def taken(redis: Redis) -> int:
    """Bytes of all pictures that are there, with what each takes beside."""
    keys = list(redis.scan_iter(match=f"{KEPT_KEYS}*", count=1000))
    pipe = redis.pipeline(transaction=False)
    for key in keys:
        pipe.hstrlen(key, "picture")
    return sum(room_of(size) for size in pipe.execute() if size)


def counted(redis: Redis) -> int:
    return int(redis.hget(KEPT_TOTAL, "bytes") or 0)


def now(redis: Redis) -> int:
    return int(redis.time()[0])


def job(number: int) -> str:
    return f"{number:032x}"


def path(trace_id: str, job_id: str) -> str:
    return f"/api/v1/traces/{trace_id}/images/{job_id}"
