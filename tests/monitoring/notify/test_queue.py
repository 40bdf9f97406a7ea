"""The queue of notices with a real Redis and real receivers: retries, rates, crashes."""

from __future__ import annotations

import base64
import contextlib
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis
from rq.job import Callback, Job
from rq.queue import Queue
from rq.registry import FailedJobRegistry, ScheduledJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

from monitoring.messages import Message
from monitoring.notify import queue, task
from monitoring.notify.notice import Kind, Notice
from monitoring.notify.queue import QUEUE, enqueue, notices
from monitoring.notify.worker import NoticeWorker
from tests.monitoring.receivers import SECRETS, Hook, Mailbox
from tests.servers import RedisProcess, free_port, run


class Line:
    """The queue, the worker that empties it, and the settings that it reads."""

    def __init__(self, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        self.redis = redis
        self._monkeypatch = monkeypatch
        self.worker = NoticeWorker(redis)

    def set(self, **settings: str) -> None:
        for name, value in settings.items():
            self._monkeypatch.setenv(f"DAMOSCOPE_{name.upper()}", value)

    def work(self, until: Callable[[], bool] = lambda: False) -> None:
        """Work until nothing waits, neither now nor later, or until `until`."""
        deadline = time.monotonic() + 30
        scheduled = ScheduledJobRegistry(queue=notices(self.redis))
        while not until() and (self.worker.step(1) or scheduled.count or self.queue.count):
            assert time.monotonic() < deadline, "the queue does not become empty"

    @property
    def queue(self) -> Queue:
        return notices(self.redis)

    def failed(self) -> list[str]:
        found: list[str] = FailedJobRegistry(queue=self.queue).get_job_ids()
        return found

    def everything(self) -> bytes:
        """All values that Redis holds, unpacked where RQ packs them."""
        read: dict[bytes, Callable[[bytes], Any]] = {
            b"string": lambda key: [self.redis.get(key)],
            b"hash": lambda key: cast(dict[bytes, bytes], self.redis.hgetall(key)).values(),
            b"list": lambda key: self.redis.lrange(key, 0, -1),
            b"set": self.redis.smembers,
            b"zset": lambda key: self.redis.zrange(key, 0, -1),
            b"stream": lambda key: [
                value for _, entry in cast(Any, self.redis.xrange(key)) for value in entry.values()
            ],
        }
        values = [v for key in self.redis.scan_iter() for v in read[self.redis.type(key)](key)]
        return b"\n".join(_unpacked(value) for value in values)


def _unpacked(value: bytes) -> bytes:
    """Jobs are compressed, the reasons of failures in base64 on top of it."""
    with contextlib.suppress(ValueError, zlib.error):
        return zlib.decompress(base64.b64decode(value, validate=True))
    with contextlib.suppress(zlib.error):
        return zlib.decompress(value)
    return value


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path) as running:
        yield running


@pytest.fixture
def line(server: RedisProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.setattr(queue, "RETRIES_S", (1, 1, 1))
    monkeypatch.chdir(tmp_path)
    return Line(server.client, monkeypatch)


def notice(
    title: str = "Latency is high", kind: Kind = "firing", severity: str = "warning"
) -> Notice:
    text = Message(en=title, zh=title)
    return Notice.model_validate({"kind": kind, "severity": severity, "title": text, "body": text})


def test_a_notice_reaches_every_channel_once(line: Line, hook: Hook, mailbox: Mailbox) -> None:
    """One notice becomes one delivery for each channel, and nothing is left behind."""
    line.set(notify=f"{hook.url} {mailbox.url}")
    job_id = enqueue(line.redis, notice())
    assert line.queue.job_ids == [job_id]
    line.work()
    assert hook.titles == mailbox.subjects == ["Latency is high"]
    assert line.queue.count == 0
    assert line.failed() == StartedJobRegistry(queue=line.queue).get_job_ids() == []


def test_a_failed_channel_is_tried_again_alone(line: Line, hook: Hook, mailbox: Mailbox) -> None:
    """A receiver that answers 500 twice gets the notice once in the end; others get it once."""
    hook.answers = [500, 500]
    line.set(notify=f"{hook.url} {mailbox.url}")
    enqueue(line.redis, notice())
    line.work()
    assert (hook.posts, hook.titles) == (3, ["Latency is high"])
    assert mailbox.subjects == ["Latency is high"]


def test_a_channel_that_stays_dead_is_given_up(
    line: Line, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    """After the last try it is said in one line and kept as a failed job; no secret anywhere."""
    dead = f"json://robot:hunter2secret@127.0.0.1:{free_port()}/t0kent0kent0ken"
    line.set(notify=f"{dead} {hook.url}")
    enqueue(line.redis, notice())
    line.work()
    said = [record.getMessage() for record in caplog.records if record.name.startswith("damos")]
    assert [text.partition(": ")[0] for text in said] == ["json (channel 1)"] * 4
    assert said[0].endswith("; next try in 1 s")
    assert said[3].endswith("; given up")
    (failed,) = line.failed()
    job = Job.fetch(failed, connection=line.redis, serializer=JSONSerializer)
    result = job.latest_result()
    assert result is not None
    assert hook.titles == ["Latency is high"]
    seen = "".join(said) + str(result.exc_string) + str(job.description)
    assert [part for part in SECRETS if part in seen] == []
    everything = line.everything()
    assert b"NotDelivered" in everything  # what was packed can be read
    assert b"Latency is high" in everything
    assert [part for part in SECRETS if part.encode() in everything] == []


def test_a_notice_that_was_given_up_can_be_requeued(
    line: Line, hook: Hook, tmp_path: Path, server: RedisProcess
) -> None:
    """RQ's own command sends it after all."""
    hook.answers = [500] * 4
    line.set(notify=hook.url)
    enqueue(line.redis, notice())
    line.work()
    answer = run(
        [sys.executable, "-m", "rq.cli", "requeue", "--all", "--queue", QUEUE,
         "--serializer", "json", "--url", server.url],
        tmp_path,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    line.work()
    assert hook.titles == ["Latency is high"]
    assert line.failed() == []


def test_more_than_the_rate_is_summed_up(line: Line, hook: Hook) -> None:
    """What is over the rate comes as one message when the rate allows one again."""
    line.set(notify=hook.url, notify_rate="2/3second")
    for number in range(5):
        enqueue(line.redis, notice(f"alert {number}"))
    line.work()
    assert hook.titles == ["alert 0", "alert 1", "damoscope: 3 notification(s) were held back"]
    for number in (2, 3, 4):
        assert f"alert {number}" in hook.accepted[-1]["message"]
    assert not line.redis.exists("damoscope:notify:held-back:0")


def test_a_summary_that_was_given_up(line: Line, hook: Hook) -> None:
    """What it would have said comes with the next one."""
    line.set(notify=hook.url, notify_rate="1/2second")
    for number in range(2):
        enqueue(line.redis, notice(f"alert {number}"))
    line.work(until=lambda: line.redis.exists("rq:job:damoscope-held-back-0") == 1)
    hook.answers = [500] * 4
    line.work()
    assert line.failed() == ["damoscope-held-back-0"]
    for number in (2, 3):
        enqueue(line.redis, notice(f"alert {number}"))
    line.work()
    assert hook.titles == ["alert 0", "alert 2", "damoscope: 2 notification(s) were held back"]
    assert line.failed() == []


@pytest.mark.parametrize(
    ("kind", "severity"),
    [("firing", "critical"), ("resolved", "critical"), ("report", "info"), ("test", "info")],
)
def test_what_always_passes(line: Line, hook: Hook, kind: Kind, severity: str) -> None:
    """Critical alerts, reports and tests are sent whatever the rate is."""
    line.set(notify=hook.url, notify_rate="1/hour")
    for number in range(3):
        enqueue(line.redis, notice(f"{kind} {number}", kind, severity))
    line.work()
    assert len(hook.titles) == 3


def test_each_channel_has_its_own_rate(line: Line, hook: Hook, mailbox: Mailbox) -> None:
    """What one channel got does not count for another; a failed try does not count at all."""
    hook.answers = [500]
    line.set(notify=f"{hook.url} {mailbox.url}", notify_rate="1/hour")
    enqueue(line.redis, notice())
    line.work()
    assert hook.titles == mailbox.subjects == ["Latency is high"]


def test_a_channel_that_is_gone(line: Line, hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    """A delivery for a channel that the settings have no more is dropped, and said so."""
    hook.answers = [500]
    line.set(notify=hook.url)
    enqueue(line.redis, notice())
    line.work(until=lambda: hook.posts == 1)
    line.set(notify="slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")
    line.work()
    assert "a notice is dropped: json is not channel 1 any more" in caplog.text
    assert hook.posts == 1


def test_without_channels_nothing_is_kept(line: Line) -> None:
    """Notices go nowhere, and nowhere do they pile up."""
    enqueue(line.redis, notice())
    line.work()
    assert line.queue.count == 0
    assert line.failed() == []


def test_a_watcher_killed_while_fanning_out(line: Line, hook: Hook) -> None:
    """The deliveries are queued once, even when the job that queued them runs again."""
    line.set(notify=hook.url)
    for _ in range(2):
        queue.enqueue_deliveries(line.redis, "n1", notice(), ["json"])
    line.work()
    assert hook.titles == ["Latency is high"]


def test_an_abandoned_job_is_taken_up_again(line: Line, hook: Hook) -> None:
    """What a killed watcher held is tried again when its lease has ended."""
    line.set(notify=hook.url)
    enqueue(line.redis, notice())
    job_id = line.redis.lpop(line.queue.key)
    assert isinstance(job_id, bytes)
    job = queue.NoticeJob.fetch(job_id.decode(), line.redis, JSONSerializer)
    dead = NoticeWorker(line.redis)
    dead.register_birth()
    execution = dead.prepare_execution(job)
    dead.prepare_job_execution(job)
    key = StartedJobRegistry(queue=line.queue).key
    line.redis.zadd(key, {execution.composite_key: 1.0}, xx=True)
    line.work()
    assert hook.titles == ["Latency is high"]


def test_two_workers_share_what_is_due(line: Line, hook: Hook) -> None:
    """A scheduled retry is run by one of two watchers."""
    hook.answers = [500]
    line.set(notify=hook.url)
    enqueue(line.redis, notice())
    line.work(until=lambda: hook.posts == 1)
    time.sleep(1.1)
    other = NoticeWorker(line.redis)
    for worker in (line.worker, other) * 2:
        worker.step(1)
    assert hook.posts == 2


def ours(*_: object) -> None:
    """A function that the queue must not run."""
    Path("ran").touch()


@pytest.mark.parametrize("place", ["function", "callback"])
def test_functions_of_others_are_not_run(line: Line, tmp_path: Path, place: str) -> None:
    """A job that names another function, by itself or as its callback, runs none."""
    name = f"{__name__}.ours"
    if place == "function":
        line.queue.enqueue(name)
    else:
        other = Callback(name)
        line.queue.enqueue(queue.FAN_OUT, args=("no notice",), on_failure=other, on_success=other)
    line.work()
    assert not (tmp_path / "ran").exists()
    assert len(line.failed()) == 1


def test_a_pickle_is_never_opened(line: Line) -> None:
    """RQ's default serializer is refused: reading a pickle can run code."""
    Queue(QUEUE, connection=line.redis).enqueue("monitoring.notify.task.fan_out", {})
    line.work()
    assert len(line.failed()) == 1


def test_the_names_of_the_functions() -> None:
    """The queue's names are those of the jobs' functions."""
    for name in (queue.FAN_OUT, queue.DELIVER, queue.SUM_UP):
        assert callable(getattr(task, name.rpartition(".")[2]))
        assert name.startswith(task.__name__)


def test_the_worker_is_none_of_the_detection_workers(line: Line) -> None:
    """RQ knows the watcher by its own queue only, and not at all when it has left."""
    line.worker.step(1)
    assert line.redis.scard("rq:workers:detections") == 0
    assert line.redis.scard(f"rq:workers:{QUEUE}") == 1
    line.worker.register_death()
    assert line.redis.scard("rq:workers") == 0


def test_a_registration_that_redis_lost(line: Line) -> None:
    """The worker registers anew."""
    line.worker.step(1)
    line.redis.flushall()
    line.worker.step(1)
    assert line.redis.scard(f"rq:workers:{QUEUE}") == 1
    assert line.redis.hexists(line.worker.key, "birth")
