"""frontend.api.models and frontend.rollouts: what runs, and switching, over a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis import Redis

from frontend.api import models, problems
from frontend.model_history import ModelHistory
from frontend.rollouts import Rollouts
from frontend.status import Snapshot
from models import BUNDLED
from models.listing import version_of
from monitoring.stores.prometheus import PrometheusMetrics
from monitoring.stores.selection import open_readers
from pipeline.queue import model_choice, model_rollout
from pipeline.queue.model_choice import SwitchOutcome
from pipeline.queue.workers import WorkerState
from pipeline.settings import Settings
from tests.run.models.test_command import install
from tests.servers import RedisProcess, eventually

SHIPPED = "damoyolo-ns-phone"


class Seen:
    """Stands for frontend.status.Status: what was seen of the workers."""

    def __init__(self) -> None:
        self.snapshot = Snapshot()

    def workers(self, *names: str) -> None:
        self.snapshot = Snapshot(
            problem="",
            workers=tuple(
                WorkerState(
                    name=name, busy=False, provider="cpu", model=SHIPPED, labels=("phone",),
                    score_threshold=0.55, iou_threshold=0.5, fallback=False,
                    model_version=version_of(BUNDLED),
                )
                for name in names
            ),
        )  # fmt: skip


class Front:
    """The routes, asked in this process."""

    def __init__(self, settings: Settings) -> None:
        self.app = FastAPI(telemetry={"tracing": False}, exception_handlers=problems.HANDLERS)
        self.app.include_router(models.router)
        self.seen = self.app.state.status = Seen()
        self.rollouts = self.app.state.rollouts = Rollouts(settings, lambda: self.seen.snapshot)
        self.app.state.model_history = ModelHistory(open_readers(settings).metrics)

    def ask(self, method: str, address: str = "", **options: Any) -> httpx.Response:
        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
                return await client.request(method, f"/api/v1/models{address}", **options)

        return asyncio.run(answer())

    def use(self, name: object) -> httpx.Response:
        return self.ask("POST", "/use", json={"name": name})

    def switch(self) -> Any:
        return self.ask("GET").json()["switch"]


@pytest.fixture
def redis(server: RedisProcess) -> Redis:
    server.client.flushall()
    return server.client


@pytest.fixture
def front(redis: Redis, server: RedisProcess, tmp_path: Path) -> Iterator[Front]:
    install(tmp_path)
    found = Front(Settings(home=tmp_path, redis_url=server.url))  # type: ignore[arg-type]
    yield found
    found.rollouts.close()


def test_what_there_is(front: Front, tmp_path: Path) -> None:
    """Models that ship, are installed or can be fetched, and which worker runs which."""
    front.seen.workers("b", "a")
    install(tmp_path, "worn")
    (tmp_path / "models" / "worn" / "model.json").write_text("{}")
    found = front.ask("GET").json()
    rows = {row["name"]: row for row in found["models"]}
    shipped = rows[SHIPPED]
    assert (shipped["state"], shipped["workers"], shipped["labels"]) == ("bundled", 2, ["phone"])
    assert shipped["card"]["judged"][0]["figures"][0]["metric"] == "ap50"
    mine = rows["mine"]
    assert (mine["state"], mine["workers"], mine["score_threshold"]) == ("installed", 0, 0.37)
    assert rows["worn"]["state"] == "damaged"
    assert rows["damoyolo-s"]["state"] == "available"
    assert rows["damoyolo-s"]["figures"]["coco_map"] == 0.468
    assert [each["worker"] for each in found["workers"]] == ["a", "b"]
    assert (found["chosen"], found["switch"], found["problem"]) == (None, None, "")
    assert found["figures"] == []  # nothing was measured


def test_figures_that_cannot_be_read(front: Front) -> None:
    """What runs is told all the same."""
    front.seen.workers("a")
    away = PrometheusMetrics("http://127.0.0.1:1")
    front.app.state.model_history = ModelHistory(away)
    found = front.ask("GET").json()
    assert (len(found["workers"]), found["figures"]) == (1, None)
    away.close()


def test_what_is_not_known(front: Front) -> None:
    """Before the first look at Redis nothing is said of what runs."""
    found = front.ask("GET").json()
    assert found["problem"]
    assert {row["workers"] for row in found["models"]} == {None}


def test_a_switch(front: Front, redis: Redis) -> None:
    """It goes on behind the answer; what became of it is told by worker, and no other begins
    meanwhile. It is the choice once one worker runs it."""
    front.seen.workers("a", "b")
    answer = front.use("mine")
    assert answer.status_code == 202, answer.text
    said = answer.json()["switch"]
    assert (said["name"], said["state"], said["waiting"]) == ("mine", "running", 2)
    refused = front.use(None)
    assert refused.status_code == 409
    assert "are being switched to mine at this moment" in refused.json()["detail"]
    choice = model_choice.wanted(redis)
    assert choice is not None
    model_choice.tell(redis, choice, "a", SwitchOutcome())
    eventually(lambda: front.ask("GET").json()["chosen"], "the choice")
    assert front.switch()["waiting"] == 1
    model_choice.tell(redis, choice, "b", SwitchOutcome("no model of that name is installed"))
    eventually(lambda: front.switch()["state"] == "done", "its end")
    assert front.switch()["outcomes"] == [
        {"worker": "a", "problem": ""},
        {"worker": "b", "problem": "no model of that name is installed"},
    ]
    assert front.ask("GET").json()["chosen"]["name"] == "mine"
    assert redis.get(model_choice.OFFER) is None


def test_the_end_of_the_frontend(front: Front, redis: Redis) -> None:
    """A switch ends with the frontend that drives it, and is told as interrupted; another frontend
    can begin one at once."""
    front.seen.workers("a")
    assert front.use("mine").status_code == 202
    eventually(lambda: model_choice.wanted(redis), "an offer")
    front.rollouts.close()
    found = model_rollout.last(redis)
    assert found is not None
    assert (found.state, found.problem) == ("interrupted", "the process that drove it was stopped")
    assert redis.get(model_choice.OFFER) is None


def test_workers_that_cannot_be_seen(front: Front, redis: Redis) -> None:
    """A switch during which Redis goes away is told as interrupted, with why."""
    front.seen.workers("a")
    assert front.use("mine").status_code == 202
    front.seen.snapshot = Snapshot(problem="Redis does not answer")
    eventually(lambda: redis.get(model_choice.OFFER) is None, "the end of the offer")
    front.seen.workers("a")
    eventually(lambda: front.switch()["state"] == "interrupted", "its end")
    assert front.switch()["problem"] == "Redis does not answer"


@pytest.mark.parametrize(
    ("wish", "status", "says"),
    [
        ({"name": "other"}, 422, "no model of that name is installed"),
        ({"name": "damoyolo-s"}, 422, "fetch it first: damoscope model pull damoyolo-s"),
        ({"name": "../mine"}, 422, "is no name for a model"),
        ({"name": "a" * 65}, 422, "at most 64 characters"),
        ({"name": ""}, 422, "at least 1 character"),
        ({}, 422, "field required"),
        ({"name": 3}, 422, "valid string"),
    ],
)
def test_what_is_refused(
    front: Front, redis: Redis, wish: dict[str, Any], status: int, says: str
) -> None:
    """A model that there is not, or that is no name: nothing is offered to anybody."""
    front.seen.workers("a")
    answer = front.ask("POST", "/use", json=wish)
    assert answer.status_code == status
    assert says in answer.json()["detail"]
    assert redis.keys("damoscope:model:*") == []


def test_a_changed_file(front: Front, tmp_path: Path) -> None:
    """A file with other bytes than were installed is offered to nobody."""
    front.seen.workers("a")
    file = tmp_path / "models" / "mine" / "model.onnx"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    answer = front.use("mine")
    assert answer.status_code == 422
    assert "is not the file that was installed" in answer.json()["detail"]


def test_who_cannot_be_asked(front: Front, tmp_path: Path) -> None:
    """Forms are not taken; without workers, or without Redis, it is 503."""
    assert front.ask("POST", "/use", content=b"name=mine").status_code == 415
    front.seen.workers()
    answer = front.use("mine")
    assert (answer.status_code, answer.json()["detail"]) == (503, "no worker is ready")
    away = Front(Settings(home=tmp_path, redis_url="redis://127.0.0.1:1/0"))  # type: ignore[arg-type]
    away.seen.workers("a")
    assert away.use("mine").status_code == 503
    assert away.ask("GET").status_code == 503
    away.rollouts.close()
