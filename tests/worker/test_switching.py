"""worker.switching: a worker follows what is offered and chosen, and starts with it."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
from redis import Redis

from models.store import ModelFacts, Store
from pipeline.errors import ModelError
from pipeline.queue import model_choice
from pipeline.queue.model_choice import ModelChoice, SwitchOutcome
from pipeline.settings import Settings
from tests.servers import RedisProcess, eventually
from tests.worker.onnx_models import SIZE, Export
from worker import switching
from worker.model.session import Detector
from worker.switching import ModelSwitch, first_detector, served_detector


@pytest.fixture
def redis(server: RedisProcess) -> Redis:
    server.client.flushall()
    return server.client


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a worker with a small model of its own, and `mine` and `broken` installed."""
    for name, classes in (("mine", 3), ("broken", 5)):
        file = Export(classes=classes).save(tmp_path / f"{name}.onnx")
        facts = ModelFacts(
            source=file.name, labels=("a", "b", "c"), input_size=(SIZE, SIZE),
            score_threshold=0.2, iou_threshold=0.6,
        )  # fmt: skip
        Store(tmp_path / "var" / "models").add(name, file, facts)
    own = Export(classes=2).save(tmp_path / "own.onnx")
    return Settings(model=own, home=tmp_path / "var", provider="cpu", threads=1)


class Following:
    """A worker's heartbeats, as far as models go."""

    def __init__(self, settings: Settings, redis: Redis, name: str = "w") -> None:
        self.redis, self.name = redis, name
        self.adopted: list[Detector] = []
        self.switch = ModelSwitch(settings, redis, name, Detector(settings), self.adopted.append)

    def until_told(self, choice: ModelChoice) -> SwitchOutcome:
        def look() -> SwitchOutcome | None:
            self.switch.follow()
            return model_choice.outcomes(self.redis, choice).get(self.name)

        return eventually(look, "an outcome") or SwitchOutcome("none")


def choice(settings: Settings, name: str) -> ModelChoice:
    found = Store(settings.models_folder).get(name)
    return ModelChoice.of(name, found.version if found else "0" * 12)


def test_an_offer_is_taken(redis: Redis, settings: Settings) -> None:
    """The model is loaded with its labels and thresholds, the lease is given back, and what is
    offered is tried once."""
    worker, offered = Following(settings, redis), choice(settings, "mine")
    model_choice.offer(redis, offered)
    assert worker.until_told(offered) == SwitchOutcome()
    (detector,) = worker.adopted
    assert detector.spec.name == "mine"
    assert detector.spec.version == offered.version
    assert detector.spec.labels == ("a", "b", "c")
    assert (detector.score_threshold, detector.iou_threshold) == (0.2, 0.6)
    assert model_choice.holder(redis) == ""
    worker.switch.follow()
    assert len(worker.adopted) == 1
    # Another offer of what runs needs no loading, and no lease.
    again = choice(settings, "mine")
    model_choice.offer(redis, again)
    assert worker.until_told(again) == SwitchOutcome()
    assert len(worker.adopted) == 1
    # Back to the model of the settings.
    own = ModelChoice.of("", "")
    model_choice.offer(redis, own)
    assert worker.until_told(own) == SwitchOutcome()
    assert worker.adopted[-1].spec.name == "own"


@pytest.mark.parametrize(
    ("name", "version", "says"),
    [
        ("broken", "", "it scores 5 classes, but 3 labels are given"),
        ("missing", "", "no model of that name is installed"),
        ("mine", "000000000000", "install the same file on this host"),
        ("../mine", "", "is no name for a model"),
    ],
)
def test_what_cannot_be_taken(
    redis: Redis, settings: Settings, name: str, version: str, says: str
) -> None:
    """The old model stays, the reason is told, the lease is free, and it is not tried anew."""
    worker = Following(settings, redis)
    found = Store(settings.models_folder).get(name) if name in ("mine", "broken") else None
    offered = ModelChoice.of(name, version or (found.version if found else ""))
    model_choice.offer(redis, offered)
    assert says in worker.until_told(offered).problem
    assert worker.adopted == []
    assert model_choice.holder(redis) == ""
    worker.switch.follow()
    assert model_choice.holder(redis) == ""


def test_one_at_a_time(redis: Redis, settings: Settings) -> None:
    """While another worker loads a model nothing is begun; then it is."""
    worker, offered = Following(settings, redis), choice(settings, "mine")
    other = model_choice.lease(redis)
    assert other.acquire(token="other")
    model_choice.offer(redis, offered)
    for _ in range(3):
        worker.switch.follow()
    assert model_choice.outcomes(redis, offered) == {}
    other.release()
    assert worker.until_told(offered) == SwitchOutcome()


def test_a_load_that_takes_too_long(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is given up, and the next worker may try."""
    ends = threading.Event()
    monkeypatch.setattr(switching, "LOAD_S", 0.05)
    monkeypatch.setattr(switching, "chosen_detector", lambda *_: ends.wait())
    worker, offered = Following(settings, redis), choice(settings, "mine")
    model_choice.offer(redis, offered)
    assert "it took longer than 0.05 s to load" in worker.until_told(offered).problem
    assert worker.adopted == []
    assert model_choice.holder(redis) == ""
    ends.set()


def test_a_choice_is_followed_without_an_offer(redis: Redis, settings: Settings) -> None:
    """So that a worker that began while Redis was away comes to it."""
    worker, chosen = Following(settings, redis), choice(settings, "mine")
    model_choice.choose(redis, chosen)
    assert worker.until_told(chosen) == SwitchOutcome()
    assert worker.adopted[0].spec.name == "mine"


def test_the_first_model(
    redis: Redis, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker starts with what was chosen, and says so; without a choice with that of its
    settings."""
    assert first_detector(settings, redis, 60).spec.name == "own"
    model_choice.choose(redis, choice(settings, "mine"))
    with caplog.at_level(logging.WARNING):
        detector = first_detector(settings, redis, 60)
    assert detector.spec.name == "mine"
    assert "in place of DAMOSCOPE_MODEL=" in caplog.text
    model_choice.choose(redis, ModelChoice.of("", ""))
    assert first_detector(settings, redis, 60).spec.name == "own"


@pytest.mark.parametrize("name", ["broken", "missing"])
def test_a_choice_that_cannot_be_had_here(
    redis: Redis, settings: Settings, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker starts all the same, with the model of its settings, and says why."""
    model_choice.choose(redis, choice(settings, name))
    with caplog.at_level(logging.ERROR):
        assert first_detector(settings, redis, 60).spec.name == "own"
    assert f"model {name}" in caplog.text
    assert "cannot be used here" in caplog.text


def test_redis_away_at_the_start(settings: Settings) -> None:
    """It is not waited for."""
    with Redis.from_url("redis://127.0.0.1:1/0") as away:
        assert first_detector(settings, away, 60).spec.name == "own"


def test_one_that_serves_a_model(settings: Settings, redis: Redis) -> None:
    """It runs that model, whatever was chosen, and the settings say of others; where it is not
    there, it says which, and what to do."""
    model_choice.choose(redis, choice(settings, "broken"))
    serving = settings.model_copy(update={"serves": "mine"})
    detector = first_detector(serving, redis, 10.0)
    assert (detector.spec.name, detector.spec.labels) == ("mine", ("a", "b", "c"))
    assert served_detector(settings).spec.name == "own"
    nowhere = settings.model_copy(update={"serves": "nowhere"})
    with pytest.raises(ModelError, match="DAMOSCOPE_SERVES=nowhere: no file, and no model of that"):
        first_detector(nowhere, redis, 10.0)
