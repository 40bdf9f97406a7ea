"""run.models.using: what `damoscope model use` asks of workers, and what comes of their answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from models import BUNDLED
from models.store import VERSION_DIGITS, sha256_of
from pipeline.errors import Unavailable
from pipeline.queue import model_choice, model_rollout
from pipeline.queue.keys import WORKERS_KEY
from pipeline.queue.model_choice import ModelChoice, SwitchOutcome
from pipeline.queue.workers import facts
from pipeline.settings import Settings
from run.models.using import use
from tests.run.models.test_command import command
from tests.servers import RedisProcess, eventually

SHIPPED = "damoyolo-ns-phone"
VERSION = sha256_of(BUNDLED)[:VERSION_DIGITS]


@pytest.fixture
def redis(server: RedisProcess) -> Redis:
    server.client.flushall()
    return server.client


@pytest.fixture
def settings(server: RedisProcess, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, redis_url=server.url)  # type: ignore[arg-type]


def register(redis: Redis, *names: str) -> None:
    """What workers say of themselves in Redis."""
    said = facts(
        model=SHIPPED, model_version="1", provider="cpu", fallback=False, labels=("phone",),
        score_threshold=0.5, iou_threshold=0.5,
    )  # fmt: skip
    for name in names:
        redis.hset(f"rq:worker:{name}", mapping={"state": "idle"} | said)  # type: ignore[arg-type]
        redis.sadd(WORKERS_KEY, f"rq:worker:{name}")


@contextmanager
def answering(redis: Redis, answer: Callable[[ModelChoice], None]) -> Iterator[None]:
    """What a worker does once something is offered."""

    def run() -> None:
        answer(eventually(lambda: model_choice.wanted(redis), "an offer"))

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()


def test_all_take_it(redis: Redis, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Workers start with it from the first that took it on, and nothing is offered any more."""
    register(redis, "a", "b")

    def answer(choice: ModelChoice) -> None:
        assert (choice.name, choice.version) == (SHIPPED, VERSION)
        assert model_choice.chosen(redis) is None
        model_choice.tell(redis, choice, "a", SwitchOutcome())
        eventually(lambda: model_choice.chosen(redis) == choice, "the choice")
        model_choice.tell(redis, choice, "b", SwitchOutcome())

    with answering(redis, answer):
        assert use(settings, SHIPPED)
    assert redis.get(model_choice.OFFER) is None
    out = capsys.readouterr().out
    assert out.splitlines()[:3] == [
        "a: runs it", "b: runs it", f"2 of 2 workers run {SHIPPED} {VERSION}.",
    ]  # fmt: skip


def test_one_cannot(redis: Redis, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Its reason is told, and the command fails, though others run it."""
    register(redis, "a", "b")

    def answer(choice: ModelChoice) -> None:
        model_choice.tell(redis, choice, "a", SwitchOutcome("no model of that name is installed"))
        model_choice.tell(redis, choice, "b", SwitchOutcome())

    with answering(redis, answer):
        assert not use(settings, SHIPPED)
    out = capsys.readouterr().out
    assert "a: no model of that name is installed" in out
    assert f"1 of 2 workers runs {SHIPPED}" in out


def test_one_ends_over_it(
    redis: Redis, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker that ends while it loads the model ends the attempt: neither the others nor those
    that start come to it."""
    register(redis, "a", "b")

    def answer(choice: ModelChoice) -> None:
        assert model_choice.lease(redis).acquire(token="a")
        left = redis.ttl(model_choice.OFFER)
        assert 0 < left <= model_choice.OFFER_S
        eventually(lambda: holder_was_seen.is_set(), "a look at who loads")
        redis.delete("rq:worker:a")

    holder_was_seen = threading.Event()
    holder = model_choice.holder

    def seen(redis: Redis) -> str:
        found = holder(redis)
        if found == "a":
            holder_was_seen.set()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_choice, "holder", seen)
        with answering(redis, answer):
            assert not use(settings, SHIPPED)
    out = capsys.readouterr().out
    assert "a: ended while it loaded it: the others are spared" in out
    assert "Nothing has changed" in out
    assert model_choice.chosen(redis) is None
    assert redis.get(model_choice.OFFER) is None


def test_one_says_nothing(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A worker that knows nothing of offers, such as one of an older release, is waited for so
    long, and no longer."""
    register(redis, "old")
    monkeypatch.setattr(model_rollout, "NEWS_S", 0.5)
    assert not use(settings, SHIPPED)
    assert "old: did not answer within 0.5 s" in capsys.readouterr().out


def test_no_worker(redis: Redis, settings: Settings) -> None:
    """Nobody could say whether the model can be loaded."""
    with pytest.raises(Unavailable, match="no worker is ready"):
        use(settings, SHIPPED)


def test_redis_away(tmp_path: Path) -> None:
    """Is said as everywhere."""
    away = Settings(home=tmp_path, redis_url="redis://127.0.0.1:1/0")  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="Redis does not answer"):
        use(away, SHIPPED)


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b"{}", b"\xff", b'{"id": 1, "name": "a", "version": ""}', b"[" * 5000]
)
def test_what_is_no_choice(redis: Redis, text: bytes) -> None:
    """What others wrote there is nothing that a worker goes by."""
    redis.set(model_choice.CHOICE, text)
    redis.set(model_choice.OFFER, text)
    assert model_choice.wanted(redis) is None
    assert model_choice.chosen(redis) is None


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["other"], 1, "no model of that name is installed"),
        (["../mine"], 1, "is no name for a model"),
        (["damoyolo-s"], 1, "fetch it first: damoscope model pull damoyolo-s"),
        ([], 2, "give either the name of a model, or --reset"),
        (["mine", "--reset"], 2, "give either the name of a model, or --reset"),
        ([SHIPPED], 2, f"DAMOSCOPE_MODEL={SHIPPED} says what one starts with"),
    ],
)
def test_what_cannot_be_used(
    words: list[str], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Is one clear line, before anything is asked of workers."""
    monkeypatch.setenv("DAMOSCOPE_HOME", str(tmp_path))
    monkeypatch.delenv("REDIS_URL", raising=False)
    found, _, err = command("use", *words, capsys=capsys)
    assert found == code
    assert says in err
    assert len(err.splitlines()) == 1
