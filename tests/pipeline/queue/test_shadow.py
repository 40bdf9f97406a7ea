"""pipeline.queue.shadow on a real Redis: images that were answered, and what came of them."""

from __future__ import annotations

import pytest
from redis import Redis

from pipeline.job import Detections, DetectJob, DetectOptions, ImageInfo
from pipeline.queue.pools import Pool
from pipeline.queue.shadow import (
    RECENT_MAX,
    WAITING_MAX,
    Comparison,
    ShadowImage,
    ShadowNotes,
    ShadowSender,
    boxes_of,
    read_entry,
    report,
)
from tests.servers import RedisProcess

MINE = Pool("mine")
FOUND = Detections(["phone", "cup"], [0.9, 0.5], [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
TRACE, WORKER = "a" * 32, "rq:worker:w"
SAME, OTHER = Comparison(2, 0, 0, 0.25), Comparison(1, 2, 3)


@pytest.fixture
def redis(server: RedisProcess) -> Redis:
    server.client.flushall()
    return server.client


def answered(**more: object) -> ShadowImage:
    given: dict[str, object] = {
        "job_id": "b" * 32, "meta": {"traceparent": "x"}, "model": "phone", "version": "1a",
        "boxes": boxes_of(FOUND), "sent_ns": 10**18, "frontend_ahead_ns": -5,
        "job": DetectJob(
            options=DetectOptions(), upload_ms=1.0,
            image=ImageInfo(width=9, height=9, format="JPEG", bytes=9),
        ),
    }  # fmt: skip
    return ShadowImage.model_validate(given | more)


def note(redis: Redis, comparison: Comparison | None, version: str = "2b", second: int = 7) -> None:
    notes = ShadowNotes(redis, MINE)
    notes.compared(answered(), ("mine", version), comparison, trace_id=TRACE, now_ns=second * 10**9)


def test_what_is_sent_is_what_comes(redis: Redis) -> None:
    """With the file as it is, whatever bytes it has; to who is there, so many and no more."""
    sender, image = ShadowSender(redis, "mine"), b"\xff\n\x00{}\n"
    assert not sender.send(answered(), image)  # nobody is there
    redis.sadd(MINE.workers_key, WORKER)
    assert not sender.send(answered(), image)  # nor is who has left a name
    redis.hset(WORKER, "state", "idle")
    assert [sender.send(answered(), image) for _ in range(WAITING_MAX + 2)].count(True) == (
        WAITING_MAX
    )
    assert redis.llen(MINE.shadow_waiting) == WAITING_MAX
    got, file = read_entry(redis.lpop(MINE.shadow_waiting))  # type: ignore[arg-type]
    assert (got, file) == (answered(), image)
    assert got.found == FOUND
    assert answered(boxes=[]).found == Detections()


@pytest.mark.parametrize(
    "entry", [b"", b"x", b"\n", b"{}\nx", b"[1]\nx", b"\xff\nx", b"{\nx", b"[" * 9000 + b"\nx"]
)
def test_what_is_none_of_ours(entry: bytes) -> None:
    """It is refused."""
    with pytest.raises(ValueError, match="no image"):
        read_entry(entry)
    head = answered().model_dump_json().replace("0.9", "1e999").encode()
    with pytest.raises(ValueError, match="no image"):
        read_entry(head + b"\nx")


def test_what_came_of_them(redis: Redis) -> None:
    """Counts, the mean difference of scores, and the latest with other boxes, last one first."""
    assert report(redis, MINE) is None
    note(redis, SAME)
    note(redis, None)
    ShadowSender(redis, "mine").dropped(3)
    for second in range(RECENT_MAX + 3):
        note(redis, OTHER, second=second)
    told = report(redis, MINE)
    assert told
    assert (told.name, told.version) == ("mine", "2b")
    assert (told.answered_by, told.answered_by_version) == ("phone", "1a")
    assert (told.images, told.agreed, told.failed, told.dropped) == (RECENT_MAX + 5, 1, 1, 3)
    others = RECENT_MAX + 3
    assert (told.both, told.only_answer, told.only_shadow) == (2 + others, 2 * others, 3 * others)
    assert told.score_difference == pytest.approx(0.25 / (2 + others))
    assert told.since.timestamp() == 7
    assert len(told.recent) == RECENT_MAX
    assert told.recent[0].unix_s == RECENT_MAX + 2
    assert told.recent[0].trace_id == TRACE


def test_another_version_begins_anew(redis: Redis) -> None:
    """Two versions are compared, and no third."""
    note(redis, OTHER)
    note(redis, SAME, version="3c")
    told = report(redis, MINE)
    assert told
    assert (told.version, told.images, told.agreed, told.recent) == ("3c", 1, 1, [])


def test_what_others_have_written(redis: Redis) -> None:
    """It counts as nothing."""
    note(redis, OTHER)
    redis.lpush(MINE.shadow_recent, "x", '{"trace_id":"<b>"}')
    told = report(redis, MINE)
    assert told
    assert len(told.recent) == 1
    redis.hset(MINE.shadow_totals, "both", "many")
    assert report(redis, MINE) is None
    redis.hset(MINE.shadow_totals, mapping={"both": 1, "since": 10**30})
    assert report(redis, MINE) is None
    redis.delete(MINE.shadow_totals)
    redis.set(MINE.shadow_totals, "x")
    assert report(redis, MINE) is None
