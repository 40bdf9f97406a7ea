"""monitoring.notify.deliveries: the history of alerts says what became of each notice.

A real Redis, the real queue of notices, and a real HTTP server and one that is not there as
channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from monitoring.alerts.ledger import HISTORY_MAX, Ledger
from monitoring.alerts.notices import Announcer
from monitoring.alerts.schema import Episode
from monitoring.messages import Message
from monitoring.notify import queue
from monitoring.notify.channels import Kinds
from monitoring.notify.deliveries import KEY, Delivery
from monitoring.notify.queue import enqueue
from monitoring.notify.worker import NoticeWorker
from pipeline.settings import Settings
from tests.monitoring.receivers import SECRETS, Hook
from tests.servers import RedisProcess, free_port

EPISODE = Episode(
    id="e1", name="Deep", severity="critical", message=Message(en="x", zh="x"), pending_at=1,
    fired_at=2, resolved_at=None, value=1, worst=1, example_trace_id=None, silenced=False,
    notified=False,
)  # fmt: skip


class Story:
    """An alert that fires, whoever is there to hear of it."""

    def __init__(self, redis: Redis, file: Path) -> None:
        self.redis, self.file, self.at = redis, file, 1000.0
        self.channels()
        Ledger(redis).begin("Deep", EPISODE)

    def channels(self, *urls: str) -> None:
        self.file.write_text("\n".join(urls))

    def tick(self) -> None:
        """One evaluation by a process that knows nothing but what Redis has."""
        self.at += 5
        ledger, settings = Ledger(self.redis), Settings(notify_file=self.file)
        told = Announcer(
            ledger, 600, lambda notice: enqueue(self.redis, notice), settings, Kinds(settings)
        )
        (episode,) = ledger.open().values()
        told.firing("Deep", episode, self.at)

    def deliver(self) -> None:
        worker = NoticeWorker(self.redis)
        while worker.step(1):
            pass
        worker.register_death()

    @property
    def delivery(self) -> Delivery | None:
        (episode,) = Ledger(self.redis).history()
        return episode.delivery

    @property
    def state(self) -> str:
        assert self.delivery is not None
        return self.delivery.state


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    monkeypatch.setattr(queue, "RETRIES_S", (600,))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "channels"
    monkeypatch.setenv("DAMOSCOPE_NOTIFY_FILE", str(file))
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisProcess(folder) as running:
        yield Story(running.client, file)


def nobody_there() -> str:
    return f"json://robot:{SECRETS[0]}@127.0.0.1:{free_port()}/{SECRETS[1]}"


def test_without_a_channel_nothing_is_called_sent(story: Story, hook: Hook) -> None:
    """It says that there is no channel; the first that is added is told, though it fires since
    long, and only once."""
    assert story.delivery is None
    story.tick()
    story.deliver()
    assert story.delivery == Delivery(state="no_channel", sent=0, channels=0)
    assert Ledger(story.redis).history()[0].notified is False
    story.channels(hook.url)
    story.tick()
    assert story.state == "queued"
    story.tick()
    story.deliver()
    assert story.delivery == Delivery(state="sent", sent=1, channels=1)
    assert len(hook.titles) == 1


def test_one_of_two(story: Story, hook: Hook) -> None:
    """Which channel refused it and why is said, without its address."""
    story.channels(hook.url, nobody_there())
    story.tick()
    story.deliver()
    found = story.delivery
    assert found is not None
    assert (found.state, found.sent, found.channels) == ("partly", 1, 2)
    assert found.error.startswith("json: ")
    assert not any(secret in found.error for secret in SECRETS)


def test_none_of_them(story: Story) -> None:
    """Queued until it was tried, then failed with the cause."""
    story.channels(nobody_there())
    story.tick()
    assert story.state == "queued"
    story.deliver()
    assert story.state == "failed"
    assert story.delivery is not None
    assert story.delivery.error


def test_a_channel_that_is_added_while_it_fires(story: Story, hook: Hook) -> None:
    """It hears of it, and the others do not hear it again, however often it is evaluated."""
    story.channels(hook.url)
    story.tick()
    story.deliver()
    with Hook().running() as second:
        story.channels(hook.url, second.url)
        for _ in range(3):
            story.tick()
            story.deliver()
        assert len(hook.titles) == len(second.titles) == 1
    assert story.delivery == Delivery(state="sent", sent=2, channels=2)


def test_what_is_damaged_costs_nothing_else(story: Story) -> None:
    """Fields that are not ours read as nothing known; episodes that go take theirs along."""
    story.redis.hset(KEY, mapping={"e1:told": '["json"]', "e1:0": "{", "e1:asked": "7"})
    assert story.state == "queued"
    ledger = Ledger(story.redis)
    for number in range(HISTORY_MAX + 5):
        other = EPISODE.model_copy(
            update={"id": f"n{number}", "fired_at": 10.0 + number, "resolved_at": 11.0 + number}
        )
        ledger.deliveries.nobody(other.id)
        ledger.begin("Other", other)
        ledger.end("Other", other)
    assert story.redis.hlen(KEY) <= HISTORY_MAX + 5
