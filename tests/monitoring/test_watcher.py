"""`damoscope watcher` as a process, with a real Redis and real receivers."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from rq.cron import CronScheduler
from rq.worker import BaseWorker

from monitoring.alerts.ledger import Ledger
from monitoring.messages import Message
from monitoring.notify.notice import Notice
from monitoring.notify.queue import QUEUE, REPORT, enqueue, notices
from monitoring.notify.schedule import report_job, scheduler
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from tests.monitoring.receivers import SECRETS, Hook, Mailbox
from tests.servers import Process, RedisProcess, damoscope, eventually, left_running, run


class Watch(Process):
    """`damoscope watcher` in its own folder."""

    def __init__(self, server: RedisProcess, folder: Path, **env: str) -> None:
        given = {"REDIS_URL": server.url, "DAMOSCOPE_HOME": str(folder / "home")}
        super().__init__([sys.executable, "-m", "run", "watcher"], folder, given | env)

    def wait_until_ready(self) -> Watch:
        self.wait_for("watching; notifications go to")
        return self


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path / "redis") as server:
        yield server


def notice(title: str = "Latency is high") -> Notice:
    text = Message(en=title, zh=title)
    return Notice(kind="firing", severity="critical", title=text, body=text)


def test_notices_are_sent_and_the_rules_evaluated(
    redis: RedisProcess, hook: Hook, mailbox: Mailbox, tmp_path: Path
) -> None:
    """What is queued goes to every channel; the evaluation says when it was done last."""
    env = {"DAMOSCOPE_NOTIFY": f"{hook.url} {mailbox.url}", "DAMOSCOPE_LOG_LEVEL": "debug"}
    with Watch(redis, tmp_path / "watcher", **env) as watch:
        watch.wait_until_ready()
        enqueue(redis.client, notice())
        eventually(lambda: hook.titles == mailbox.subjects == ["Latency is high"], "the notice")
        eventually(lambda: Ledger(redis.client).evaluated()[0], "an evaluation")
        watch.send(signal.SIGTERM)
        assert watch.wait() == 0
        assert [secret for secret in SECRETS if secret in watch.output] == []
    assert redis.client.smembers("rq:workers") == set()
    assert left_running(tmp_path / "watcher") == []


def test_a_slow_receiver_keeps_no_alert_waiting(
    redis: RedisProcess, hook: Hook, mailbox: Mailbox, tmp_path: Path
) -> None:
    """While a mail server hangs, rules are evaluated; a stop signal is heeded all the same."""
    over = threading.Event()
    mailbox.before = lambda: over.wait(600)  # longer than this test has patience below
    with Watch(redis, tmp_path / "watcher", DAMOSCOPE_NOTIFY=mailbox.url) as watch:
        watch.wait_until_ready()
        started = time.time()
        enqueue(redis.client, notice())
        ledger = Ledger(redis.client)
        eventually(lambda: (ledger.evaluated()[0] or 0) > started, "an evaluation")
        assert mailbox.mails == []
        watch.send(signal.SIGTERM)
        assert watch.wait() == 0
    over.set()
    assert notices(redis.client).scheduled_job_registry.count == 1  # to be tried again


def test_a_killed_watcher_loses_no_notice(
    redis: RedisProcess, hook: Hook, mailbox: Mailbox, tmp_path: Path
) -> None:
    """What it held is sent by the next one; what it had sent is not sent again."""
    hook.delay_s = 60
    env = {"DAMOSCOPE_NOTIFY": f"{mailbox.url} {hook.url}?rto=60"}
    with Watch(redis, tmp_path / "first", **env) as first:
        first.wait_until_ready()
        for number in range(3):
            enqueue(redis.client, notice(f"alert {number}"))
        eventually(lambda: hook.posts == 1, "the first post")
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    before = len(mailbox.mails)
    assert 1 <= before < 4
    hook.delay_s = 0
    with Watch(redis, tmp_path / "second", **env) as second:
        second.wait_until_ready()
        titles = ["alert 0", "alert 1", "alert 2"]
        eventually(lambda: sorted(hook.titles) == titles, "all posts")
        eventually(lambda: sorted(mailbox.subjects) == titles, "all mails")


def test_two_watchers_send_each_notice_once(
    redis: RedisProcess, hook: Hook, tmp_path: Path
) -> None:
    """Any number of them may run."""
    env = {"DAMOSCOPE_NOTIFY": hook.url}
    with (
        Watch(redis, tmp_path / "first", **env) as first,
        Watch(redis, tmp_path / "second", **env) as second,
    ):
        first.wait_until_ready()
        second.wait_until_ready()
        titles = [f"alert {number}" for number in range(20)]
        for title in titles:
            enqueue(redis.client, notice(title))
        eventually(lambda: len(hook.titles) >= 20, "all posts")
        eventually(lambda: not notices(redis.client).count, "an empty queue")
        assert sorted(hook.titles) == sorted(titles)


def test_redis_may_be_away(redis: RedisProcess, hook: Hook, tmp_path: Path) -> None:
    """Without Redis it waits and says so once; it goes on where it was when Redis is back."""
    redis.stop()
    with Watch(redis, tmp_path / "watcher", DAMOSCOPE_NOTIFY=hook.url) as watch:
        watch.wait_until_ready()
        watch.wait_for("Redis does not answer")
        time.sleep(2.5)
        redis.start()
        enqueue(redis.client, notice("one"))
        eventually(lambda: hook.titles == ["one"], "the notice after the start")
        redis.stop()
        time.sleep(1.5)
        redis.start()
        enqueue(redis.client, notice("two"))
        eventually(lambda: hook.titles == ["one", "two"], "the notice after an outage")
        said = [line for line in watch.output.splitlines() if "damoscope.watcher: Redis" in line]
        assert len(said) == 1, watch.output
        assert "Traceback" not in watch.output


def test_it_is_lean_and_no_detection_worker(redis: RedisProcess, tmp_path: Path) -> None:
    """Neither the pages' nor the model's libraries are loaded; it takes no images."""
    code = (
        "import sys, monitoring.watcher\n"
        "heavy = {'gradio', 'onnxruntime', 'fastapi', 'cv2', 'pandas'} & set(sys.modules)\n"
        "raise SystemExit(str(heavy) if heavy else 0)"
    )
    answer = run([sys.executable, "-c", code], Path.cwd())
    assert answer.returncode == 0, answer.stderr
    with Watch(redis, tmp_path / "watcher") as watch:
        watch.wait_until_ready()
        (worker,) = eventually(lambda: BaseWorker.all(connection=redis.client), "its registration")
        assert worker.queue_names() == [QUEUE]
        assert psutil.Process(watch.pid).memory_info().rss < 150 * 2**20


@pytest.mark.parametrize("field", ["created_at", "data", "meta", "enqueued_at", "retry_intervals"])
def test_a_damaged_job_ends_nothing(
    redis: RedisProcess, hook: Hook, tmp_path: Path, field: str
) -> None:
    """A job that cannot be read costs no other notice anything."""
    job_id = enqueue(redis.client, notice("damaged"))
    redis.client.hset(f"rq:job:{job_id}", field, b"\xff{")
    enqueue(redis.client, notice("whole"))
    with Watch(redis, tmp_path / "watcher", DAMOSCOPE_NOTIFY=hook.url) as watch:
        eventually(lambda: "whole" in hook.titles, "the other notice")
        assert watch.running
        watch.send(signal.SIGTERM)
        assert watch.wait() == 0


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DAMOSCOPE_NOTIFY", "slack://hunter2secret", "DAMOSCOPE_NOTIFY: address 1 is no usable"),
        ("DAMOSCOPE_NOTIFY_FILE", "none", "DAMOSCOPE_NOTIFY_FILE=none: cannot be read"),
        ("DAMOSCOPE_REPORT_SCHEDULE", "0 8 * *", "DAMOSCOPE_REPORT_SCHEDULE=0 8 * *: five fields"),
        ("DAMOSCOPE_REPORT_SCHEDULE", "0 25 * * 1", "DAMOSCOPE_REPORT_SCHEDULE=0 25 * * 1: "),
        ("DAMOSCOPE_REPORT_SCHEDULE", "0 0 31 2 *", "DAMOSCOPE_REPORT_SCHEDULE=0 0 31 2 *: "),
        ("DAMOSCOPE_ALERTS", "none.yaml", "none.yaml"),
    ],
)
def test_a_setting_that_cannot_be(
    redis: RedisProcess, tmp_path: Path, name: str, value: str, said: str
) -> None:
    """Exit code 2 and one line that names the setting, without secrets."""
    answer = damoscope("watcher", folder=tmp_path, REDIS_URL=redis.url, **{name: value})
    assert answer.returncode == 2, answer.stderr
    assert said in answer.stderr
    assert "hunter2" not in answer.stderr
    assert "Traceback" not in answer.stderr


# -- the scheduled report -----------------------------------------------------------------


def due(settings: Settings, redis: RedisProcess) -> CronScheduler:
    """A scheduler whose report was due a moment ago."""
    found = scheduler(redis.client, report_job(settings))
    (job,) = found.get_jobs()
    job.next_enqueue_time = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    return found


def test_the_report_is_queued_once(redis: RedisProcess) -> None:
    """At its time, one JSON job for all watchers, with days and language of the settings."""
    settings = Settings(report_days=3, notify_language="zh")
    first, second = due(settings, redis), due(settings, redis)
    second.get_jobs()[0].next_enqueue_time = first.get_jobs()[0].next_enqueue_time
    for one in (first, second, first):
        one.enqueue_jobs()
    (job,) = notices(redis.client).jobs
    assert (job.func_name, job.args) == (REPORT, [3, "zh"])
    assert job.id.startswith("damoscope-report-2")
    assert notices(redis.client).count == 1


def test_the_schedule_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mondays at 8:00 UTC by default."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    when = report_job(Settings()).next_enqueue_time
    assert when is not None
    assert (when.weekday(), when.hour, when.minute) == (0, 8, 0)
    monkeypatch.undo()
    time.tzset()


def test_a_schedule_that_cannot_be() -> None:
    """Seconds and words are no fields of ours."""
    for schedule in ("0 0 8 * * 1", "@weekly", "a b c d e"):
        with pytest.raises(ConfigurationError, match="DAMOSCOPE_REPORT_SCHEDULE"):
            report_job(Settings(report_schedule=schedule))


def test_the_report_is_made_and_sent(redis: RedisProcess, mailbox: Mailbox, tmp_path: Path) -> None:
    """The watcher makes the report that is due, and the mail brings it as an HTML file."""
    with Watch(redis, tmp_path / "watcher", DAMOSCOPE_NOTIFY=mailbox.url) as watch:
        watch.wait_until_ready()
        due(Settings(notify_language="zh", report_days=1), redis).enqueue_jobs()
        eventually(lambda: mailbox.mails, "the mail")
        (file,) = mailbox.mails[0].iter_attachments()
        assert file.get_content_type() == "text/html"
        assert (file.get_filename() or "").endswith(".html")
        page = file.get_payload(decode=True)
        assert isinstance(page, bytes)
        assert b"</html>" in page
        assert "Traceback" not in watch.output
