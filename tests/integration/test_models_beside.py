"""`model=` on a running service: two models side by side, each with workers and queues."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import pytest

from pipeline.queue.pools import DEFAULT, POOLS, Pool
from tests.integration import pictures
from tests.integration.test_model_use import LABELS, SHIPPED, install
from tests.integration.test_service_api import DETECT, JPEG, assert_problem
from tests.servers import Service, caught, damoscope, eventually

MINE = Pool("mine")
PHONE = pictures.phone(320, 320)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("beside")
    install(home, "mine", "handset")
    install(home, "idle", "handset")
    with Service(
        home, DAMOSCOPE_WORKERS="1", DAMOSCOPE_MODELS_BESIDE="mine=1",
        DAMOSCOPE_SCORE_THRESHOLD="0.01",
    ) as running:  # fmt: skip
        running.wait_until_ready()
        with running.client() as client:
            served(client)
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        served(opened)
        yield opened


def served(client: httpx.Client) -> None:
    """Wait until both models are."""

    def both() -> bool:
        answer = client.get("/readyz")
        return answer.status_code == 200 and answer.json().get("models", {}).get("mine") == 1

    eventually(both, "workers of both models")


def worker_of(service: Service, pool: Pool) -> psutil.Process:
    """The process that takes the images of a pool."""
    (found,) = (
        process
        for process in service.children("worker")
        if process.environ().get("DAMOSCOPE_SERVES", "") == pool.model
    )
    return found


@contextmanager
def standing_still(service: Service, pool: Pool) -> Iterator[None]:
    """A model's worker takes nothing meanwhile."""
    process = worker_of(service, pool)
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):  # it was killed meanwhile
            process.send_signal(signal.SIGCONT)


def send(client: httpx.Client, model: str | None = None, *, later: bool = False, key: str = "",
         image: bytes = PHONE, **params: Any) -> httpx.Response:  # fmt: skip
    headers = JPEG | ({"prefer": "respond-async"} if later else {})
    headers |= {"idempotency-key": f'"{key}"'} if key else {}
    asked = params | ({"model": model} if model else {}) | ({} if later else {"timeout": 120})
    return client.post(DETECT, content=image, headers=headers, params=asked)


def ended(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """The state of a job that was accepted, once it has ended."""
    assert answer.status_code == 202, answer.text

    def look() -> dict[str, Any] | None:
        state: dict[str, Any] = client.get(answer.headers["location"]).json()
        return state if state["status"] not in ("queued", "started") else None

    found = eventually(look, "the end of a job")
    assert found
    return found


def assert_by(result: dict[str, Any], model: str) -> None:
    assert result["model"] == model
    assert {each["label"] for each in result["detections"]} == {LABELS[model]}


@pytest.mark.parametrize("priority", ["high", "normal", "low"])
def test_the_model_that_is_asked_for_looks(
    service: Service, client: httpx.Client, priority: str
) -> None:
    """And no other: the result, the spans and the name of the queue say so. Without `model` it is
    the one of the settings."""
    for model, suffix in ((SHIPPED, ""), ("mine", ".mine")):
        answer = send(client, model if suffix else None, priority=priority)
        assert answer.status_code == 200, answer.text
        assert_by(answer.json(), model)
        spans = service.spans(answer.headers["x-trace-id"], 8)
        said = [span["attributes"] for span in spans]
        queue = {"normal": "detections"}.get(priority, f"detections-{priority}") + suffix
        assert {each.get("messaging.destination.name") for each in said} == {None, queue}
        models = {each["damoscope.model"] for each in said if "damoscope.model" in each}
        assert models == {model}


def test_who_serves_what_is_told(service: Service, client: httpx.Client) -> None:
    """By the list of models, by the metrics, and by `damoscope model list`."""
    workers = client.get("/api/v1/models").json()["workers"]
    assert sorted((each["model"], each["serves"]) for each in workers) == [
        (SHIPPED, None), ("mine", "mine"),
    ]  # fmt: skip
    ready = client.get("/readyz").json()
    assert (ready["workers"], ready["models"]) == (1, {"mine": 1})

    def told() -> bool:
        lines = client.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith("damoscope_queue_workers{")]
        counted = {
            queue: float(line.rsplit("}", 1)[1].split()[0])
            for line in found
            for queue in ("detections", "detections.mine")
            if f'queue="{queue}"' in line
        }
        return counted == {"detections": 1, "detections.mine": 1}

    eventually(told, "workers by their queues")


def test_names_that_nobody_serves(service: Service, client: httpx.Client) -> None:
    """They are refused with those that are served, and what to do; also the one that runs for all
    others, which could be another a moment later."""
    for name in ("nothing-like-it", "idle", SHIPPED, "mine.onnx"):
        answer = send(client, name)
        assert_problem(answer, 422, "invalid_parameter")
        assert "served are: mine. " in answer.json()["detail"]
        assert "damoscope worker --serves NAME" in answer.json()["detail"]
        told = "images that name no model are looked at by it" in answer.json()["detail"]
        assert told == (name == SHIPPED)
    for bad in ("a:b", "../mine", "Mine", "x" * 65, "mine\n", "*"):
        assert_problem(send(client, bad), 422, "invalid_parameter")
    with service.redis() as redis:
        redis.zadd(POOLS, {"lately": time.time()})
        eventually(lambda: send(client, "lately").status_code == 503, "a look at who serves what")
        answer = send(client, "lately")
        redis.zrem(POOLS, "lately")
    assert_problem(answer, 503, "unavailable")
    assert "no worker serves model lately at present; try again" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) >= 1


def test_what_says_who_serves_is_mended(service: Service, client: httpx.Client) -> None:
    """Where another has written over it, a worker goes on as it was, and says it anew."""
    before = worker_of(service, MINE).pid
    with service.redis() as redis:
        redis.delete(POOLS)
        redis.set(POOLS, "of another")
        eventually(lambda: redis.type(POOLS) == b"zset" and redis.zscore(POOLS, "mine"), "mended")
    served(client)
    assert_by(send(client, "mine").json(), "mine")
    assert worker_of(service, MINE).pid == before


def test_labels_are_those_of_the_model(client: httpx.Client) -> None:
    """Each knows its own."""
    assert send(client, "mine", labels="HANDSET").status_code == 200
    assert send(client, labels="phone").status_code == 200
    assert_problem(send(client, "mine", labels="phone"), 422, "invalid_parameter")
    assert_problem(send(client, labels="handset"), 422, "invalid_parameter")


def test_a_key_stands_for_one_model(client: httpx.Client) -> None:
    """The same image with the same Idempotency-Key is run once; for another model it is refused."""
    first, again = (send(client, "mine", key="one") for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["job_id"] == again.json()["job_id"]
    assert_problem(send(client, key="one"), 422, "idempotency_key_reused")


def test_images_in_tiles(client: httpx.Client) -> None:
    """By the model that is asked for, too."""
    params = {"model": "mine", "tiles": "2x2", "timeout": 120}
    answer = client.post(DETECT, content=pictures.phone(900, 900), headers=JPEG, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.json()["tiles"] == "2x2"
    assert_by(answer.json(), "mine")


@pytest.mark.parametrize(("stands", "goes"), [(DEFAULT, MINE), (MINE, DEFAULT)])
def test_one_keeps_nobody_of_the_other_waiting(
    service: Service, client: httpx.Client, stands: Pool, goes: Pool
) -> None:
    """While one model's worker stands still and images wait for it, the other's are answered; then
    those, too. One that waits can be withdrawn."""
    with standing_still(service, stands):
        waiting = [send(client, stands.model or None, later=True) for _ in range(12)]
        for _ in range(5):
            answer = send(client, goes.model or None)
            assert answer.status_code == 200, answer.text
            assert_by(answer.json(), goes.model or SHIPPED)
        withdrawn = client.delete(waiting[-1].headers["location"])
        assert (withdrawn.status_code, withdrawn.json()["status"]) == (200, "cancelled")
        with service.redis() as redis:
            assert redis.llen(stands.queue_keys[1]) >= 8
            assert redis.llen(goes.queue_keys[1]) == 0
    for answer in waiting[:-1]:
        state = ended(client, answer)
        assert state["status"] == "finished", state
        assert_by(state["result"], stands.model or SHIPPED)


@pytest.mark.parametrize("pool", [MINE, DEFAULT])
def test_a_worker_is_killed(service: Service, client: httpx.Client, pool: Pool) -> None:
    """With images of both models in the queues and in hand: each of them is answered, by the model
    that it was for."""
    takes_long = pictures.slow()  # which takes a moment to make: meanwhile, workers would be missed
    with service.redis() as redis, standing_still(service, MINE), standing_still(service, DEFAULT):
        sent = [(model, send(client, model, later=True)) for model in (None, "mine") * 4]
        # It takes seconds to decode, and no box is looked for in it.
        slow = send(client, pool.model or None, later=True, priority="high", image=takes_long)
        worker = worker_of(service, pool)
        worker.resume()
        registry = f"rq:wip:{pool.queues['high']}"
        caught(worker, lambda: redis.zcard(registry), "an image in the worker's hands")
        worker.kill()
        assert redis.zcard(registry) == 1
    assert ended(client, slow)["status"] == "finished"
    for model, answer in sent:
        state = ended(client, answer)
        assert state["status"] == "finished", state
        assert_by(state["result"], model or SHIPPED)
    served(client)


def test_switching_leaves_those_alone(service: Service, client: httpx.Client) -> None:
    """`damoscope model use` and the API switch the workers of all other images, and say so."""
    said = damoscope("model", "use", "idle", "--home", str(service.home), folder=service.home)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "1 of 1 worker runs idle" in said.stdout
    assert "Left alone: workers that serve a model of their own (mine)." in said.stdout
    assert send(client).json()["model"] == "idle"
    assert_by(send(client, "mine").json(), "mine")
    answer = client.post("/api/v1/models/use", json={"name": None})
    assert answer.status_code == 202

    def done() -> bool:
        switch = client.get("/api/v1/models").json()["switch"]
        return switch["state"] == "done" and len(switch["outcomes"]) == 1

    eventually(done, "the former model")
    assert send(client).json()["model"] == SHIPPED
    assert "from now on: mine" not in service.output
