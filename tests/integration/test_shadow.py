"""`--shadow` on a running service: another model looks at a share of the images after they are
answered; no answer waits for it or differs by it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models import BUNDLED
from models.store import ModelFacts, Store
from pipeline.queue.pools import DEFAULT, Pool
from pipeline.queue.shadow import LATE_S, WAITING_MAX
from telemetry import catalogue
from telemetry.definitions import Histogram, Metric
from tests.integration import pictures
from tests.integration.test_model_use import SHIPPED
from tests.integration.test_models_beside import send, standing_still, worker_of
from tests.integration.test_service_telemetry import TYPES
from tests.paths import ROOT
from tests.servers import Service, eventually

POOL = Pool("weaker")


def install_weaker(home: Path) -> None:
    """The bundled model, degraded: its scores are halved, so that at its threshold it misses what
    the other finds."""
    model = onnx.load(str(BUNDLED))
    scores = next(
        output for output in model.graph.output
        if output.type.tensor_type.shape.dim[2].dim_value != 4
    )  # fmt: skip
    whole = f"{scores.name}_whole"
    for node in model.graph.node:
        node.output[:] = [whole if name == scores.name else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "half"))
    model.graph.node.append(onnx.helper.make_node("Mul", [whole, "half"], [scores.name]))
    file = home / "weaker.onnx"
    onnx.save(model, str(file))
    facts = ModelFacts(
        source=file.name, labels=("phone",), input_size=(320, 320), score_threshold=0.5,
        iou_threshold=0.5,
    )  # fmt: skip
    Store(home / "models").add("weaker", file, facts)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("shadow")
    install_weaker(home)
    with Service(
        home, DAMOSCOPE_WORKERS="1", DAMOSCOPE_SHADOW="weaker", DAMOSCOPE_SHADOW_SHARE="1"
    ) as running:
        running.wait_until_ready()
        with running.client() as client:
            eventually(
                lambda: client.get("/readyz").json().get("models") == {"weaker": 1}, "both models"
            )
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


def shadow(client: httpx.Client) -> dict[str, Any]:
    """What is told of it; nothing before the first image."""
    (told,) = client.get("/api/v1/models").json()["shadows"] or [{"images": 0, "dropped": 0}]
    return dict(told)


def compared(client: httpx.Client, images: int) -> dict[str, Any]:
    """The same, once so many images have been looked at."""

    def look() -> dict[str, Any] | None:
        told = shadow(client)
        return told if told["images"] >= images else None

    found = eventually(look, f"{images} images compared")
    assert found
    return found


def seen(result: dict[str, Any]) -> dict[str, Any]:
    """Of an answer what no clock and no id is in."""
    varies = ("job_id", "trace_id", "timings_ms", "worker")
    return {name: value for name, value in result.items() if name not in varies}


def exported(client: httpx.Client, metric: Metric, **labels: str) -> float:
    """All that was counted by now, of some of its values."""
    name, total = metric.exported, 0.0
    name += "_count" if isinstance(metric, Histogram) else ""
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f"{name}{{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
            total += float(line.rsplit("}", 1)[1].split()[0])
    return total


@contextmanager
def left_running(service: Service) -> Iterator[None]:
    """The shadow's worker is killed; another one comes."""
    worker_of(service, POOL).send_signal(signal.SIGKILL)
    yield


def test_it_is_compared_and_told(service: Service, client: httpx.Client) -> None:
    """By a span in the image's trace, by metrics, and with the differences by the API: which boxes
    only one of the two has."""
    before = shadow(client)["images"]
    picture = (ROOT / "examples" / "photo-desk.jpg").read_bytes()
    sent = [send(client, image=picture, score_threshold=0.36), send(client, image=picture)]
    sent.append(send(client, image=pictures.jpeg(320, 240, seed=3)))  # nothing is in it
    assert [len(each.json()["detections"]) for each in sent] == [1, 1, 0]
    told = compared(client, before + 3)
    assert (told["name"], told["answered_by"]) == ("weaker", SHIPPED)
    assert told["images"] - told["agreed"] >= 1
    assert told["failed"] == 0
    assert told["both"] >= 1
    assert told["only_answer"] >= 1
    assert 0.1 < told["score_difference"] < 0.6
    by_trace = {row["trace_id"]: row for row in told["recent"]}
    differs = by_trace[sent[1].headers["x-trace-id"]]
    assert (differs["both"], differs["only_answer"], differs["only_shadow"]) == (0, 1, 0)
    assert sent[0].headers["x-trace-id"] not in by_trace
    spans = service.spans(sent[0].headers["x-trace-id"], 9)
    (span,) = (each for each in spans if each["name"] == "shadow")
    assert span["attributes"]["damoscope.shadow.model"] == "weaker"
    assert span["attributes"]["damoscope.shadow.both"] == 1
    (process,) = (each for each in spans if each["name"] == "process detections")
    assert span["parent_span_id"] == process["parent_span_id"]
    assert span["start_unix_ns"] >= process["start_unix_ns"]
    assert span["kind"] == "INTERNAL"
    for name, value in span["attributes"].items():
        attribute = catalogue.ATTRIBUTES[name]
        assert "shadow" in attribute.spans, name
        assert type(value) in TYPES[attribute.type], (name, value)
    eventually(lambda: exported(client, catalogue.SHADOW_IMAGES, outcome="differed"), "a count")
    of_model = {"version": told["version"], "found_by": "answer"}
    eventually(lambda: exported(client, catalogue.SHADOW_BOXES, **of_model), "boxes")


def test_no_answer_differs_and_nothing_is_counted(service: Service, client: httpx.Client) -> None:
    """While its worker stands still, answers are what they are with it; what is too much for it is
    left out, and counted; no queue and no other image knows of it."""
    picture = pictures.phone(320, 320)
    first = seen(send(client, image=picture).json())
    dropped = shadow(client)["dropped"]
    with service.redis() as redis, standing_still(service, POOL):
        for _ in range(WAITING_MAX + 6):
            answer = send(client, image=picture)
            assert answer.status_code == 200, answer.text
            assert seen(answer.json()) == first
        eventually(lambda: redis.llen(POOL.shadow_waiting) == WAITING_MAX, "a full list")
        eventually(lambda: shadow(client)["dropped"] > dropped, "what was left out")
        assert redis.llen(POOL.shadow_waiting) == WAITING_MAX
        assert 0 < redis.ttl(POOL.shadow_waiting) <= LATE_S
        for pool in (POOL, DEFAULT):
            assert not any(redis.llen(key) for key in pool.queue_keys)
        assert redis.get("damoscope:waiting:bytes") in (None, b"0")


def test_answers_are_those_without_it(client: httpx.Client, tmp_path: Path) -> None:
    """Byte by byte, but for times and ids; and each image counts once in whatever counts images."""
    photos = [path.read_bytes() for path in sorted((ROOT / "examples").glob("*.jpg"))[:3]]
    known = shadow(client)["images"]
    told = [send(client, image=photo).json() for photo in photos]
    with Service(tmp_path / "plain", DAMOSCOPE_WORKERS="1") as plain:
        plain.wait_until_ready()
        with plain.client() as other:
            without = [send(other, image=photo).json() for photo in photos]
    assert [json.dumps(seen(each)) for each in told] == [json.dumps(seen(each)) for each in without]
    looked = compared(client, known + len(photos))["images"]
    eventually(lambda: exported(client, catalogue.SHADOW_IMAGES) >= looked, "its next export")
    # What its worker counts else has come with that.
    eventually(
        lambda: (
            exported(client, catalogue.REQUESTS)
            == exported(client, catalogue.STAGE_DURATION, stage="nms")
        ),
        "as many images as requests",
    )


def test_whose_model_it_is_comes_first(service: Service, client: httpx.Client) -> None:
    """Images that ask for the model by its name are answered by it as if there were no shadow."""
    answer = send(client, "weaker", image=pictures.phone(320, 320))
    assert (answer.status_code, answer.json()["model"]) == (200, "weaker")


def test_images_in_tiles_are_left_alone(service: Service, client: httpx.Client) -> None:
    """Such a one is the work of dozens."""
    known = shadow(client)
    answer = send(client, image=pictures.phone(900, 900), tiles="2x2")
    assert answer.status_code == 200
    send(client, image=pictures.phone(320, 320))
    told = compared(client, known["images"] + 1)
    assert answer.json()["trace_id"] not in {row["trace_id"] for row in told["recent"]}


def test_what_others_have_written_there(service: Service, client: httpx.Client) -> None:
    """What is none of ours is refused or removed, and the worker goes on."""
    before = worker_of(service, POOL).pid
    with service.redis() as redis:
        redis.rpush(POOL.shadow_waiting, b"x", b"{}\nimage", b'{"job_id":"a"}\n')
        eventually(lambda: not redis.exists(POOL.shadow_waiting), "those are gone")
        for key in (POOL.shadow_waiting, POOL.shadow_totals, POOL.shadow_recent):
            redis.delete(key)
            redis.set(key, "of another")
        assert client.get("/api/v1/models").status_code == 200
        eventually(lambda: redis.type(POOL.shadow_totals) != b"string", "mended")
        eventually(lambda: redis.type(POOL.shadow_waiting) != b"string", "mended")
    send(client, image=pictures.phone(320, 320))
    compared(client, 1)
    assert worker_of(service, POOL).pid == before


def test_without_its_worker(service: Service, client: httpx.Client) -> None:
    """A killed worker loses what it had in hand; images are answered meanwhile, and another worker
    goes on."""
    with left_running(service):
        assert send(client, image=pictures.phone(320, 320)).status_code == 200

    def again() -> bool:
        known = shadow(client)["images"]
        send(client, image=pictures.phone(320, 320))
        return bool(shadow(client)["images"] > known)

    eventually(again, "images compared by the next worker")
