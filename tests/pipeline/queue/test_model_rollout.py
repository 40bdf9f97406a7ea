"""pipeline.queue.model_rollout: what Redis keeps of the last rollout, and who may begin one."""

from __future__ import annotations

import pytest
from redis import Redis

from pipeline.errors import SwitchUnderWay
from pipeline.queue import model_choice, model_rollout
from pipeline.queue.model_choice import ModelChoice, SwitchOutcome
from tests.servers import RedisProcess


@pytest.fixture
def redis(server: RedisProcess) -> Redis:
    server.client.flushall()
    return server.client


def test_one_at_a_time(redis: Redis) -> None:
    """While one is offered no other begins; both are told apart, and the first stays the last."""
    first = ModelChoice.of("mine", "1")
    assert model_rollout.last(redis) is None
    model_rollout.begin(redis, first)
    with pytest.raises(SwitchUnderWay, match="are being switched to mine at this moment"):
        model_rollout.begin(redis, ModelChoice.of("other", "2"))
    found = model_rollout.last(redis)
    assert found is not None
    assert (found.name, found.version, found.state) == ("mine", "1", "running")


def test_all_is_told(redis: Redis) -> None:
    """Its outcomes stay to be read when it has ended, and workers that there were at the end."""
    choice = ModelChoice.of("", "")
    model_rollout.begin(redis, choice)
    model_choice.tell(redis, choice, "a", SwitchOutcome())
    heard: list[str] = []
    outcomes = model_rollout.follow(
        redis, choice, lambda: {"a"}, lambda worker, _: heard.append(worker)
    )
    assert outcomes == {"a": SwitchOutcome()}
    assert heard == ["a"]
    found = model_rollout.last(redis)
    assert found is not None
    assert (found.name, found.state, found.problem) == ("", "done", "")
    assert found.outcomes == outcomes
    assert 0 < redis.ttl(model_rollout.ROLLOUT) <= model_rollout.ROLLOUT_S


def test_whoever_drove_it_was_killed(redis: Redis) -> None:
    """Once its offer has run out, it is told as interrupted, and another can begin."""
    choice = ModelChoice.of("mine", "1")
    model_rollout.begin(redis, choice)
    redis.delete(model_choice.OFFER)  # as it does by itself
    found = model_rollout.last(redis)
    assert found is not None
    assert found.state == "interrupted"
    model_rollout.begin(redis, ModelChoice.of("other", "2"))


def test_one_that_stood_still(redis: Redis) -> None:
    """A process that stood still until its offer ran out takes nothing from another that has begun
    meanwhile: neither its offer, nor what is told of it."""
    first, second = ModelChoice.of("mine", "1"), ModelChoice.of("other", "2")
    model_rollout.begin(redis, first)
    redis.delete(model_choice.OFFER)
    model_rollout.begin(redis, second)
    with pytest.raises(SwitchUnderWay, match="are being switched to other"):
        model_rollout.follow(redis, first, lambda: {"a"}, lambda *_: None)
    assert model_choice.offered(redis) == second
    found = model_rollout.last(redis)
    assert found is not None
    assert (found.name, found.state) == ("other", "running")


def test_what_goes_wrong_is_kept(redis: Redis) -> None:
    """An error of who looks for workers ends it, with its words."""

    def workers() -> set[str]:
        raise RuntimeError("no look at them")

    choice = ModelChoice.of("mine", "1")
    model_rollout.begin(redis, choice)
    with pytest.raises(RuntimeError):
        model_rollout.follow(redis, choice, workers, lambda *_: None)
    found = model_rollout.last(redis)
    assert found is not None
    assert (found.state, found.problem) == ("interrupted", "no look at them")
    assert redis.get(model_choice.OFFER) is None


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b"{}", b"\xff", b'{"id": "1", "name": "a", "version": ""}', b"[" * 5000]
)
def test_what_is_no_rollout(redis: Redis, text: bytes) -> None:
    """What others wrote there is none."""
    redis.set(model_rollout.ROLLOUT, text)
    assert model_rollout.last(redis) is None
