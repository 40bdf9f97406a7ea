"""`damoscope model use` on a running service: workers take another model, and no request fails."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest

from models import BUNDLED
from models.store import ModelFacts, Store
from pipeline.queue import model_choice
from tests.integration import pictures
from tests.servers import Service, damoscope, eventually

SHIPPED = "damoyolo-ns-phone"
PHONE = pictures.phone(320, 320)
#: What each model calls what it finds.
LABELS = {SHIPPED: "phone", "mine": "handset"}


def install(home: Path, name: str, *labels: str) -> str:
    """A copy of the bundled model with other bytes and labels. Returns its version."""
    model = onnx.load(str(BUNDLED))
    onnx.helper.set_model_props(model, {"made-for": name})
    file = home / f"{name}.onnx"
    onnx.save(model, str(file))
    facts = ModelFacts(
        source=file.name, labels=labels, input_size=(320, 320), score_threshold=0.01,
        iou_threshold=0.5,
    )  # fmt: skip
    return Store(home / "models").add(name, file, facts).version


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("use")
    install(home, "mine", "handset")
    install(home, "broken", "handset", "and one too many")
    with Service(home, DAMOSCOPE_WORKERS="2", DAMOSCOPE_SCORE_THRESHOLD="0.01") as running:
        yield running.wait_until_ready()


@dataclass
class Load:
    """Images sent one after the other by a few clients, until it is told to end."""

    service: Service
    answers: list[httpx.Response] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._send) for _ in range(3)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        while not self.ending.is_set():
            self.one()

    def one(self) -> dict[str, Any]:
        """What is answered to an image that is sent now: those of before may come in later."""
        with self.service.client() as client:
            answer = client.post(
                "/api/v1/detect", content=PHONE, headers={"Content-Type": "image/jpeg"},
                params={"timeout": 120},
            )  # fmt: skip
        self.answers.append(answer)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def seen(self) -> set[tuple[str, str]]:
        """Models by name and version, in the answers so far; none is an error."""
        found = set()
        for answer in list(self.answers):
            assert answer.status_code == 200, answer.text
            said = answer.json()
            assert said["detections"]
            assert {each["label"] for each in said["detections"]} == {LABELS[said["model"]]}
            found.add((said["model"], said["model_version"]))
        return found


def use(service: Service, *words: str) -> tuple[int, str]:
    """Exit code and what was printed."""
    answer = damoscope("model", "use", *words, "--home", str(service.home), folder=service.home)
    return answer.returncode, answer.stdout + answer.stderr


def models_of_workers(service: Service) -> list[str]:
    with service.redis() as redis:
        return sorted(
            (redis.hget(key, "damoscope_model") or b"").decode()
            for key in redis.smembers("rq:workers:detections")
        )


def counted(service: Service) -> Counter[tuple[str, str, str]]:
    """Images and boxes so far, by model and version, as the Model page has them."""
    found = Counter[tuple[str, str, str]]()
    with service.client() as client:
        for each in client.get("/api/v1/models").json()["figures"]:
            name = each["model"], each["version"]
            found[*name, "images"] = each["outcomes"]["ok"]
            found[*name, "boxes"] = each["detections"]
    return found


def answered(answers: list[httpx.Response]) -> Counter[tuple[str, str, str]]:
    """The same, as the answers have it."""
    found = Counter[tuple[str, str, str]]()
    for said in (answer.json() for answer in answers):
        name = said["model"], said["model_version"]
        found[*name, "images"] += 1
        found[*name, "boxes"] += len(said["detections"])
    return found


def test_back_and_forth_under_load(service: Service) -> None:
    """Every request is answered, by one model or the other, never by a mixture, and counted for
    it; each worker takes the new one after the one before it has; and the former is had back the
    same way."""
    version = Store(service.home / "models").get("mine")
    assert version is not None
    before = counted(service)
    with Load(service) as load:
        eventually(lambda: len(load.answers) > 5, "answers of the first model")
        ((first, first_version),) = load.seen()
        assert first == SHIPPED
        code, out = use(service, "mine")
        assert code == 0, out
        assert f"2 of 2 workers run mine {version.version}" in out
        assert "damoscope model use --reset" in out
        assert models_of_workers(service) == ["mine", "mine"]
        assert load.one()["model"] == "mine"
        assert load.seen() == {(SHIPPED, first_version), ("mine", version.version)}
        code, out = use(service, SHIPPED)
        assert code == 0, out
        assert "Back again: damoscope model use mine" in out
        assert load.one()["model"] == SHIPPED
    assert load.seen() == {(SHIPPED, first_version), ("mine", version.version)}
    sent = answered(load.answers)
    eventually(lambda: counted(service) - before == sent, "each image counted for its model")
    steps = re.findall(r"is being loaded, beside|from now on: ", service.output)
    assert steps == ["is being loaded, beside", "from now on: "] * 4
    code, out = use(service, "--reset")
    assert code == 0, out
    assert "Workers that start run that of their own settings" in out
    assert models_of_workers(service) == [SHIPPED, SHIPPED]


def test_one_that_cannot_be_loaded(service: Service) -> None:
    """Each worker says why, goes on with what it has, and starts with that, too: exit code 1."""
    before = models_of_workers(service)
    with service.redis() as redis:
        chosen = model_choice.chosen(redis)
    code, out = use(service, "broken")
    assert code == 1
    assert out.count("it scores 1 classes, but 2 labels are given") == 2
    assert "0 of 2 workers run broken" in out
    assert "Nothing has changed" in out
    assert models_of_workers(service) == before
    with service.redis() as redis:
        assert model_choice.chosen(redis) == chosen
        assert redis.get(model_choice.OFFER) is None
        assert redis.get(model_choice.LEASE) is None


def test_by_the_api(service: Service) -> None:
    """The same by HTTP: the answer comes at once, and then what became of it at each worker."""
    with service.client() as client:

        def switched(**wish: str | None) -> dict[str, Any]:
            answer = client.post("/api/v1/models/use", json=wish)
            assert answer.status_code == 202, answer.text
            assert answer.json()["switch"]["state"] in ("running", "done")

            def ended() -> Any:
                found = client.get("/api/v1/models").json()
                return found["switch"]["state"] != "running" and found

            return dict(eventually(ended, "the end of the switch"))

        found = switched(name="mine")
        assert found["switch"]["state"] == "done"
        assert [each["problem"] for each in found["switch"]["outcomes"]] == ["", ""]
        assert found["chosen"]["name"] == "mine"
        rows = {row["name"]: row for row in found["models"]}
        assert rows["mine"]["labels"] == ["handset"]
        assert models_of_workers(service) == ["mine", "mine"]
        answer = client.post("/api/v1/models/use", json={"name": None})
        assert answer.status_code == 202, answer.text
        eventually(lambda: models_of_workers(service) == [SHIPPED] * 2, "the former model")
        eventually(
            lambda: client.get("/api/v1/models").json()["switch"]["state"] == "done", "its end"
        )


def test_a_trace_says_which_model(service: Service) -> None:
    """Spans carry the name and the version of the model that ran."""
    with Load(service) as load:
        eventually(lambda: load.answers, "an answer")
    said = load.answers[0].json()
    spans = {span["name"]: span for span in service.spans(said["trace_id"], 8)}
    for name in ("process detections", "inference"):
        attributes = spans[name]["attributes"]
        assert attributes["damoscope.model"] == said["model"]
        assert attributes["damoscope.model.version"] == said["model_version"]
