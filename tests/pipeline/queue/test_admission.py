"""pipeline.queue.admission and enqueue.lua: what is let into the queue, and in which order.

Against a real Redis; clients are names, workers are consumers that a test has take.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ResponseError
from rq.queue import Queue
from rq.serializers import JSONSerializer

from pipeline import errors
from pipeline.job import DetectJob, DetectOptions, ImageInfo, Priority
from pipeline.queue.admission import RETRY_MAX_S, Admission, Admissions, Throughput
from pipeline.queue.consumer import Consumer
from pipeline.queue.keys import QUEUES, ROUNDS, TILED, TURNS, WAITING_BYTES
from pipeline.queue.pools import DEFAULT, Pool
from pipeline.queue.producer import MB, Producer
from pipeline.queue.workers import look
from tests.servers import RedisProcess


class Door:
    """What enqueues, with its settings."""

    def __init__(self, server: RedisProcess) -> None:
        self.url, self.redis = server.url, server.client
        self.settings: dict[str, Any] = {"queue_max": 100, "queue_mb": 512}
        self.throughput: Throughput | None = None

    def put(self, *ids: str, client: str = "", priority: Priority = "normal",
            size: int = 1000, ttl_s: float | None = None,
            tiles: str | None = None) -> None:  # fmt: skip
        """Enqueue these jobs of a client. Raises what the first that is refused is told."""

        async def put() -> None:
            redis = AsyncRedis.from_url(self.url)
            producer = Producer(
                redis, job_ttl_s=600, result_ttl_s=3600, attempts_max=3,
                admissions=Admissions(lambda _: self.throughput), **self.settings,
            )  # fmt: skip
            side = 4000 if tiles else 1
            info = ImageInfo(width=side, height=side, format="JPEG", bytes=size)
            job = DetectJob(options=DetectOptions(tiles=tiles), image=info, upload_ms=1.0)
            try:
                for job_id in ids:
                    await producer.enqueue(
                        job_id, job, priority=priority, meta={}, reply_to="", ttl_s=ttl_s,
                        client=client,
                    )  # fmt: skip
            finally:
                await redis.aclose()

        asyncio.run(put())

    def withdraw(self, job_id: str) -> None:
        async def withdraw() -> None:
            async with AsyncRedis.from_url(self.url) as redis:
                producer = Producer(
                    redis, job_ttl_s=600, result_ttl_s=3600, attempts_max=3, **self.settings
                )
                await producer.withdraw(job_id)

        asyncio.run(withdraw())

    def flood(self, client: str, count: int) -> list[str]:
        ids = [f"{client}{number}" for number in range(count)]
        self.put(*ids, client=client)
        return ids

    def waiting(self, priority: Priority = "normal") -> list[str]:
        queue = Queue(QUEUES[priority], connection=self.redis, serializer=JSONSerializer)
        return list(queue.job_ids)

    def take(self, most: int = 1) -> list[str]:
        consumer = Consumer(self.redis, "w", result_ttl_s=60)
        return [job.job_id for job in consumer.take(most)]

    def bytes(self) -> int | None:
        found = self.redis.get(WAITING_BYTES)
        return None if found is None else int(found)  # type: ignore[arg-type]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with RedisProcess(tmp_path) as server:
        yield Door(server)


# -- turns -------------------------------------------------------------------------------


def test_clients_take_turns(door: Door) -> None:
    """Whoever has sent fifty images keeps nobody waiting: others stand behind its first one."""
    door.flood("a", 50)
    door.put("b0", "b1", client="b")
    door.put("c0", client="c")
    assert door.waiting()[:6] == ["a0", "b0", "c0", "a1", "b1", "a2"]
    assert door.take(4) == ["a0", "b0", "c0", "a1"]
    door.put("c1", client="c")  # has had its turn in the first round, and is in time for the second
    door.put("d0", client="d")
    assert door.waiting()[:5] == ["b1", "c1", "d0", "a2", "a3"]


def test_one_client_alone_is_served_in_order(door: Door) -> None:
    """Images of one client come in the order in which they were sent, however many wait."""
    sent = door.flood("a", 20)
    got = door.take(10)
    door.put("last", client="a")
    while more := door.take(10):
        got += more
    assert got == [*sent, "last"]


def test_who_has_had_nothing_goes_first(door: Door) -> None:
    """A client that comes anew waits for no image of one that has had its turn, also where nothing
    else waits; each of its further images, for one."""
    sent = door.flood("a", 30)
    assert door.take(3) == sent[:3]
    door.put("b0", "b1", client="b")
    door.put("c0", client="c")
    assert door.waiting()[:6] == ["b0", "c0", "a3", "b1", "a4", "a5"]
    while door.take(30):
        pass
    door.put("a-more", client="a")
    door.put("d0", client="d")
    assert door.waiting() == ["d0", "a-more"]


def test_what_others_removed_is_no_turn(door: Door) -> None:
    """A client whose images were taken out of the queue by RQ's tools is behind nobody for it."""
    door.flood("a", 30)
    door.take()
    Queue("detections", connection=door.redis, serializer=JSONSerializer).empty()
    door.put("b0", "b1", client="b")
    door.put("a-again", client="a")
    assert door.waiting() == ["b0", "a-again", "b1"]


def test_workers_of_before_say_no_turns(door: Door) -> None:
    """Where nobody says what was taken last, a client begins in the round of what waits first."""
    door.flood("a", 5)
    door.take(2)
    door.redis.delete(TURNS)
    door.put("b0", client="b")
    assert door.waiting() == ["a2", "b0", "a3", "a4"]


def test_a_client_that_was_done_begins_with_the_others(door: Door) -> None:
    """What a client has sent before is not held against it once nothing is worked on."""
    door.flood("a", 30)
    assert len(door.take(30)) == 30
    door.redis.delete("rq:wip:detections")  # all are answered
    door.flood("b", 10)
    door.put("a-again", client="a")
    assert door.waiting().index("a-again") == 1


def test_priorities_stand_above_turns(door: Door) -> None:
    """Turns are taken among images of one priority."""
    door.flood("a", 3)
    door.put("h0", "h1", client="a", priority="high")
    door.put("b0", client="b")
    assert door.take(6) == ["h0", "h1", "a0", "b0", "a1", "a2"]


def test_turns_go_on_after_an_image_came_back(door: Door) -> None:
    """An image that a dead worker held goes to the front; the others keep their places."""
    door.flood("a", 4)
    door.put("b0", client="b")
    held = Consumer(door.redis, "w", result_ttl_s=60).take(1)
    door.redis.zadd("rq:wip:detections", {f"a0:{held[0].execution_id}": 1.0}, xx=True)
    assert Consumer(door.redis, "v", result_ttl_s=60).recover() == (1, 0)
    door.put("c0", client="c")
    assert door.waiting()[0] == "a0"
    assert door.waiting().index("c0") < door.waiting().index("a1")


@pytest.mark.parametrize("kind", ["no job", "no number", "another type"])
def test_what_is_none_of_ours_stops_no_image(door: Door, kind: str) -> None:
    """Entries, rounds and counts that somebody else wrote cost no client its place in the queue."""
    door.flood("a", 3)
    if kind == "no job":
        door.redis.lpush("rq:queue:detections", "\x00\xff not an id")
    elif kind == "no number":
        door.redis.hset("rq:job:a0", "damoscope_round", "many")
        door.redis.set(WAITING_BYTES, "many")
    else:
        for key in (WAITING_BYTES, ROUNDS.format("detections"), TURNS):
            door.redis.delete(key)
            door.redis.lpush(key, "x")
    door.put("b0", client="b")
    assert sorted(door.take(8)) == ["a0", "a1", "a2", "b0"]


# -- bytes --------------------------------------------------------------------------------


def test_the_queue_is_bounded_by_bytes(door: Door) -> None:
    """Images that would take more memory than the queue may have are refused, until some went."""
    door.settings["queue_mb"] = 1
    door.put("a", "b", size=400_000)
    with pytest.raises(errors.Overloaded, match="1 MB of images"):
        door.put("c", size=400_000)
    door.put("d", size=100_000)
    assert door.bytes() == 900_000
    assert door.take(1) == ["a"]
    assert door.bytes() == 500_000
    door.put("c", size=400_000)


def test_an_image_larger_than_the_queue_is_taken_when_it_is_empty(door: Door) -> None:
    """A bound below the largest upload makes images wait; none is refused for ever."""
    door.settings["queue_mb"] = 1
    door.put("a", size=3 * MB)
    with pytest.raises(errors.Overloaded):
        door.put("b", size=1)


def test_bytes_are_counted_anew(door: Door) -> None:
    """What others removed from the queue, or put in, is counted right a little later."""
    door.put("a", "b", "c", size=1000)
    assert 0 < door.redis.ttl(WAITING_BYTES) <= 5  # type: ignore[operator]
    Queue("detections", connection=door.redis, serializer=JSONSerializer).remove("a")
    door.redis.delete("rq:job:b")
    assert door.bytes() == 3000
    door.redis.delete(WAITING_BYTES)  # as it expires
    door.put("d", size=10)
    assert door.bytes() == 1010


# -- shares --------------------------------------------------------------------------------


def test_a_nearly_full_queue_is_for_who_has_less(door: Door) -> None:
    """Of the last tenth of the queue, a client with more than an equal part gets nothing while
    others wait; alone it may have all."""
    door.settings["queue_max"] = 20
    door.flood("a", 17)
    door.put("b0", client="b")
    with pytest.raises(errors.Overloaded, match="17 images waiting, its share"):
        door.put("a-more", client="a")
    door.put("b1", "c0", client="b")
    with pytest.raises(errors.Overloaded, match="full"):
        door.put("d0", client="d")
    door.redis.flushall()
    assert len(door.flood("a", 20)) == 20


# -- time ---------------------------------------------------------------------------------


def test_what_cannot_be_answered_in_time_is_refused(door: Door) -> None:
    """At 10 images a second, 2 s have room for 14 images ahead (of 80 % of the time, less that of
    the image itself); the answer says so, and when to come again."""
    door.throughput = Throughput(images_per_s=10.0, workers=2)
    door.flood("a", 15)
    with pytest.raises(errors.Overloaded, match=r"15 images are ahead.* 10 a second") as caught:
        door.put("late", client="a", ttl_s=2.0)
    assert 1 <= caught.value.retry_after_s <= RETRY_MAX_S
    assert "late" not in door.waiting()
    door.put("patient", client="a", ttl_s=3.0)
    door.put("other", client="b", ttl_s=2.0)  # has one image ahead: clients take turns
    door.take(3)  # in work, they are ahead still
    with pytest.raises(errors.Overloaded, match="17 images are ahead"):
        door.put("late", client="a", ttl_s=2.0)


def test_a_slow_worker_is_given_one_image(door: Door) -> None:
    """With nothing ahead, an image is taken however slow the workers say they are: or else nobody
    would see that they are no longer."""
    door.throughput = Throughput(images_per_s=0.01, workers=1)
    door.put("a", ttl_s=1.0)
    with pytest.raises(errors.Overloaded):
        door.put("b", ttl_s=1.0)


def test_without_a_pace_only_the_size_counts(door: Door) -> None:
    """As long as no worker has said how long an image takes it, nothing is refused for its time."""
    door.flood("a", 100)
    assert len(door.waiting()) == 100


# -- what a frontend keeps in mind ---------------------------------------------------------


def early(
    admission: Admission, client: str, left_s: float, priority: Priority = "normal"
) -> errors.Overloaded | None:
    """Why an image is refused before its upload; None where it is let through."""
    try:
        admission.early(client, priority, left_s)
    except errors.Overloaded as error:
        return error
    return None


def test_refused_before_the_upload() -> None:
    """Once the queue has said how many are ahead, as many are let through as the workers do, and
    the others are refused without asking again."""
    admission = Admission(lambda: Throughput(images_per_s=100.0, workers=1))
    assert early(admission, "a", 1.0) is None  # nothing is known
    admission.told("a", "normal", ahead=1000, held=1000, full=False)
    refused = early(admission, "a", 1.0)
    assert refused is not None
    assert refused.retry_after_s >= 9  # 1000 ahead, and 79 may be
    assert early(admission, "a", 1.0, "high") is None
    assert early(admission, "b", 1.0) is None  # whose turn comes before
    admission.told("c", "normal", ahead=1000, held=0, full=False)
    assert early(admission, "b", 1.0) is not None  # as a newcomer's does not


def test_who_is_kept_out_reckons_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten clients that were refused, one whose image is taken has nine of the others' before its
    next; a client that was refused nothing, or long ago, has its own."""
    now_s = 1000.0
    monkeypatch.setattr("pipeline.queue.admission.time.monotonic", lambda: now_s)
    admission = Admission(lambda: Throughput(images_per_s=20.0, workers=0))  # 16 may be ahead
    clients = [f"c{number}" for number in range(10)]
    for client in clients:
        admission.told(client, "normal", ahead=16, held=16, full=False)
        assert early(admission, client, 1.0) is not None
    for client in ("c0", "other"):
        admission.told(client, "normal", ahead=14, held=3, full=False)
    assert early(admission, "c0", 1.0) is not None
    assert early(admission, "other", 1.0) is None
    now_s += 7.9 / 20.0
    assert early(admission, "c0", 1.0) is not None
    now_s += 0.2 / 20.0
    assert early(admission, "c0", 1.0) is None
    now_s += 1.0
    admission.told("c0", "normal", ahead=14, held=3, full=False)
    assert early(admission, "c0", 1.0) is None


def test_what_was_let_through_is_reckoned_with() -> None:
    """Of a burst at a nearly full queue, only so many are uploaded as there is room for."""
    admission = Admission(lambda: Throughput(images_per_s=0.001, workers=0))
    admission.told("a", "normal", ahead=6, held=6, full=False)
    passed = [early(admission, "a", 12_500.0) is None for _ in range(20)]
    assert passed == [True] * 4 + [False] * 16


def test_what_never_came_to_the_queue_is_ahead_of_nobody() -> None:
    """An upload that ends before its image is enqueued gives its place back; where the queue has
    spoken since, it has told of all that is there."""
    admission = Admission(lambda: Throughput(images_per_s=1e-9, workers=0))
    admission.told("a", "normal", ahead=0, held=0, full=False)  # one is ahead of the next
    left_s = 2.5e9 / 0.8  # two may be ahead
    first, second = (admission.early("a", "normal", left_s) for _ in range(2))
    assert early(admission, "a", left_s) is not None
    first.ended(done=False)
    third = admission.early("a", "normal", left_s)
    assert early(admission, "a", left_s) is not None
    admission.told("a", "normal", ahead=1, held=1, full=False)
    second.ended(done=False)
    third.ended(done=False)
    admission.early("a", "normal", left_s)
    assert early(admission, "a", left_s) is not None


def test_what_is_done_is_ahead_of_nobody() -> None:
    """Where the queue was empty when an image came, it is empty again once that is done: the next
    is let through, however short its time, and so is another client's. What was let through
    meanwhile counts, and an image that had others ahead of it says nothing of them."""
    admission = Admission(lambda: Throughput(images_per_s=1e-9, workers=0))
    for _ in range(2):
        lone = admission.early("a", "normal", 1.0)
        admission.told("a", "normal", ahead=0, held=0, full=False)
        assert early(admission, "a", 1.0) is not None
        assert early(admission, "b", 1.0) is not None
        lone.ended(done=True)
        assert admission._known["a", "normal"].ahead == 0
    assert early(admission, "b", 1.0) is None
    assert early(admission, "a", 1.0) is not None  # that of b, which is on its way
    behind = admission.early("c", "normal", 2.5e9 / 0.8)
    admission.told("c", "normal", ahead=1, held=0, full=False)
    behind.ended(done=True)
    assert early(admission, "c", 1.0) is not None


def test_a_full_queue_is_not_asked_for_a_moment() -> None:
    """A queue that said it is full refuses early what comes right after; soon it is asked again."""
    admission = Admission(lambda: None)
    admission.told("a", "normal", ahead=5, held=5, full=True)
    assert early(admission, "a", 30.0) is not None
    deadline = time.monotonic() + 60
    while early(admission, "a", 30.0) is not None:
        assert time.monotonic() < deadline


def test_retry_after_spreads_those_who_come_back() -> None:
    """The more were refused within the last second, the later each is asked to come again."""
    admission = Admission(lambda: Throughput(images_per_s=10.0, workers=1))
    admission.told("a", "normal", ahead=50, held=50, full=False)
    told = [early(admission, "a", 2.0) for _ in range(400)]
    seconds = [error.retry_after_s for error in told if error is not None]
    assert len(seconds) == 400
    assert seconds[0] < seconds[100] < seconds[399] <= RETRY_MAX_S


def test_a_queue_that_was_emptied_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images may leave it undone, withdrawn by thousands: what was told before holds no longer once
    nothing is seen to wait, and before that, or where something does, it does."""
    now_s = 1000.0
    monkeypatch.setattr("pipeline.queue.admission.time.monotonic", lambda: now_s)
    seen: dict[str, Any] = {}
    admission = Admission(lambda: Throughput(images_per_s=1.0, workers=2, **seen))
    admission.told("a", "normal", ahead=5000, held=0, full=False)
    for seen in (
        {},
        {"nothing_waits_s": now_s - 1, "busy": 0},  # a look from before
        {"nothing_waits_s": now_s + 1, "busy": 30},  # that much is in work
    ):
        assert early(admission, "a", 30.0), seen
        assert early(admission, "b", 30.0), seen
    seen = {"nothing_waits_s": now_s + 1, "busy": 1}
    # Until the next look those count that are let through, one after the other.
    let_through = [early(admission, "b", 30.0) for _ in range(40)]
    assert let_through.count(None) == 22
    assert let_through[22:].count(None) == 0


def test_a_refusal_says_whose_workers_are_too_few() -> None:
    """The queue of the model that the image is for."""
    admissions = Admissions(lambda _: Throughput(images_per_s=10.0, workers=1))
    for pool, queue in ((DEFAULT, "detections"), (Pool("other"), "detections.other")):
        admission = admissions.of(pool)
        admission.told("a", "normal", ahead=50, held=50, full=False)
        error = early(admission, "a", 2.0)
        assert error is not None
        assert error.queue == queue
        assert admission.full("full").queue == queue


def test_many_clients_are_not_kept_for_ever() -> None:
    """Whoever sends under many names fills no memory."""
    admission = Admission(lambda: None)
    for number in range(10_000):
        admission.told(f"c{number}", "normal", ahead=1, held=1, full=False)
    assert len(admission._known) <= 4096


# -- what workers say -----------------------------------------------------------------------


def census(redis: Redis, url: str) -> Any:
    async def ask() -> Any:
        async with AsyncRedis.from_url(url) as opened:
            return await look(opened)

    return asyncio.run(ask())


def test_workers_say_their_pace(door: Door) -> None:
    """With each batch that it takes, a worker says how long an image takes it; those that have
    not said yet count as the mean of the others."""
    for name in ("v", "w"):
        door.redis.sadd("rq:workers:detections", f"rq:worker:{name}")
        door.redis.hset(f"rq:worker:{name}", "state", "idle")
    assert census(door.redis, door.url).images_per_s() is None
    consumer = Consumer(door.redis, "w", result_ttl_s=60)
    consumer.pace_s = 0.25
    door.put("a")
    assert consumer.take(1)
    assert census(door.redis, door.url).images_per_s() == pytest.approx(8.0)


@pytest.mark.parametrize("pace", ["0", "-1", "nan", "1e9", "soon"])
def test_a_pace_that_is_none(door: Door, pace: str) -> None:
    """A registration whose pace cannot be is none of a worker's."""
    door.redis.sadd("rq:workers:detections", "rq:worker:w")
    door.redis.hset("rq:worker:w", mapping={"state": "idle", "damoscope_pace_s": pace})
    assert census(door.redis, door.url).workers == ()


# -- what leaves the queue ------------------------------------------------------------------


def test_what_is_withdrawn_waits_no_longer(door: Door) -> None:
    """An image that is taken back gives its bytes and its client's turn back; a second time, or
    where somebody else has written, nothing."""
    door.flood("a", 3)
    door.put("b0", client="b")
    for _ in range(2):
        door.withdraw("a2")
        assert door.bytes() == 3000
    door.put("a3", client="a")
    assert door.redis.zscore(ROUNDS.format("detections"), "a") == 3
    door.redis.set(WAITING_BYTES, "many")
    door.redis.hset("rq:job:a3", "damoscope_bytes", "none")
    door.withdraw("a3")
    assert door.waiting() == ["a0", "b0", "a1"]


def test_a_job_stays_until_it_is_taken_wholly(door: Door) -> None:
    """Where Redis refuses a part of the taking, the job waits as before."""
    door.put("a")
    door.redis.execute_command("ACL", "SETUSER", "default", "-zadd")
    try:
        with pytest.raises(ResponseError, match="can't run"):
            door.take()
    finally:
        door.redis.execute_command("ACL", "SETUSER", "default", "+zadd")
    assert door.waiting() == ["a"]
    assert door.take() == ["a"]


# -- images in tiles ------------------------------------------------------------------------


def test_tiles_are_so_many_images_ahead(door: Door) -> None:
    """Those of an image that waits, wholly; of one in work, one for each image that is ahead, since
    others have their turn between them; of one that is done, none."""
    door.throughput = Throughput(images_per_s=10.0, workers=1)
    door.put("t", client="t", tiles="5x4")  # it has no deadline
    with pytest.raises(errors.Overloaded, match="21 images are ahead"):
        door.put("late", ttl_s=2.0)
    door.put("in-time", client="a", ttl_s=3.0)
    assert door.take() == ["t"]
    door.put("b", client="b", ttl_s=0.8)  # behind it, one of its tiles, and `in-time`
    door.withdraw("in-time")
    door.redis.hset("rq:job:t", "status", "finished")
    door.redis.delete("rq:wip:detections")
    door.put("c", client="c", ttl_s=0.3)
    assert door.redis.hlen(TILED) == 0


def test_tiles_need_the_time_of_so_many_images(door: Door) -> None:
    """An image in tiles is refused where its own work would take too long behind the others."""
    door.throughput = Throughput(images_per_s=10.0, workers=2)
    door.flood("a", 3)
    with pytest.raises(errors.Overloaded, match=r"an answer would take about 4\.3 s"):
        door.put("t", client="t", tiles="5x4", ttl_s=4.0)
    door.put("t", client="t", tiles="5x4", ttl_s=6.0)


def test_tiles_take_so_many_turns(door: Door) -> None:
    """Who has an image in four tiles has its next one behind five of each other client; withdrawn,
    it gives its turns back."""
    door.put("a0", client="a", tiles="2x2")
    door.put("a1", client="a")
    door.flood("b", 7)
    assert door.waiting() == ["a0", "b0", "b1", "b2", "b3", "b4", "a1", "b5", "b6"]
    door.withdraw("a1")
    door.withdraw("a0")
    door.put("a2", client="a")
    assert door.waiting().index("a2") == 1


def test_what_is_noted_of_tiles_is_read_without_trust(door: Door) -> None:
    """What none of ours wrote there counts as nothing, and costs no image anything."""
    door.throughput = Throughput(images_per_s=10.0, workers=1)
    door.put("a", client="a")
    door.redis.hset(TILED, mapping={"a": "0 1 many", "gone": "1 1 99", "x": "-1 1 1e9"})
    door.put("b", client="b", ttl_s=1.0)
    assert set(door.redis.hkeys(TILED)) == {b"a"}  # type: ignore[arg-type]
    door.redis.delete(TILED)
    door.redis.set(TILED, "of another type")
    door.put("c", client="c", ttl_s=1.0, tiles="2x2")
    assert door.redis.hlen(TILED) == 1
