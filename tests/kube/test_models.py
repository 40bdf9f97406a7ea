"""The chart's workers for models that images ask for by name: a pool each, beside the others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.names import NAME_MAX
from tests.kube.chart import TRIES, Document, environment, find, pods, refused, template
from tests.kube.test_query import (
    BUSY,
    DEPTH,
    FRONTENDS,
    GPU,
    IMAGES,
    REFUSED,
    TWO_HALF_BUSY,
    evaluate,
)

pytestmark = pytest.mark.kube

BESIDE = "exams-damoscope-worker-damoyolo-s"
#: A name that is none in Kubernetes: a part of its hash tells it from others that look like it.
HASHED = "exams-damoscope-worker-exam-s-2-"


@pytest.fixture
def everything(rendered: dict[str, list[Document]]) -> list[Document]:
    """With three models beside the pools on processors and GPUs."""
    return rendered["everything"]


def names(documents: list[Document], kind: str) -> list[str]:
    """The names of all objects of a kind."""
    return [each["metadata"]["name"] for each in documents if each["kind"] == kind]


def hashed(documents: list[Document]) -> str:
    """The Deployment of exam_s.2."""
    (found,) = (name for name in names(documents, "Deployment") if name.startswith(HASHED))
    return found


def models(*given: Any) -> list[str]:
    """Arguments that give the chart these models, over managed.yaml."""
    return [*TRIES["managed"], "--set-json", f"models={json.dumps(given)}"]


def test_each_model_has_workers(everything: list[Document]) -> None:
    """Of the pool's kind, which serve it and nothing else, whatever the others run."""
    found = pods(everything)
    beside = found[BESIDE]["spec"]["containers"][0]
    gpu = found[hashed(everything)]["spec"]
    assert environment(beside)["DAMOSCOPE_SERVES"] == "damoyolo-s"
    assert "DAMOSCOPE_MODEL" not in environment(beside)
    assert beside["image"].endswith("damoscope-worker:1.2.3")
    given = environment(gpu["containers"][0])
    assert given["DAMOSCOPE_SERVES"] == "exam_s.2"
    assert given["DAMOSCOPE_PROVIDER"] == "tensorrt"
    assert gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert gpu["tolerations"][0]["key"] == "nvidia.com/gpu"
    for name in ("exams-damoscope-worker", "exams-damoscope-worker-gpu"):
        assert "DAMOSCOPE_SERVES" not in environment(found[name]["spec"]["containers"][0])


def test_what_a_model_says_stands(everything: list[Document]) -> None:
    """0 and false among it; and what it does not say is as in the pool of its kind."""
    given = environment(pods(everything)[BESIDE]["spec"]["containers"][0])
    assert (given["DAMOSCOPE_BATCH_MAX"], given["OTEL_TRACES_SAMPLER_ARG"]) == ("0", "0")
    assert given["DAMOSCOPE_STAGE_LIMIT_S"] == "30"
    budgets = names(everything, "PodDisruptionBudget")
    assert BESIDE not in budgets
    assert hashed(everything) in budgets
    scaled = find(everything, "ScaledObject", BESIDE)["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (1, 3)
    still = "exams-damoscope-worker-still"
    assert find(everything, "Deployment", still)["spec"]["replicas"] == 3
    assert still not in names(everything, "ScaledObject")


def test_pods_of_a_model_spread_among_themselves(everything: list[Document]) -> None:
    """By the labels of its own workers, which may send and be scraped as the others may."""
    for name in (BESIDE, hashed(everything)):
        pod = pods(everything)[name]
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        assert name == f"exams-damoscope-{component}"
        for spread in pod["spec"]["topologySpreadConstraints"]:
            assert spread["labelSelector"]["matchLabels"].items() <= (
                pod["metadata"]["labels"].items()
            )
        assert name in names(everything, "NetworkPolicy")
        assert component in json.dumps(find(everything, "PodMonitor", "exams-damoscope"))
        valkey = find(everything, "NetworkPolicy", "exams-damoscope-valkey")
        assert f'"{component}"' in json.dumps(valkey["spec"]["ingress"])


def test_a_worker_finds_its_model(everything: list[Document]) -> None:
    """In its data folder, into which it may write beside it."""
    container = pods(everything)[hashed(everything)]["spec"]["containers"][0]
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    home = environment(container)["DAMOSCOPE_HOME"]
    assert mounts[home]["name"] == "home"
    assert mounts[f"{home}/models"] == {
        "name": "models", "mountPath": f"{home}/models", "readOnly": True,
    }  # fmt: skip


def test_redis_is_asked_for_the_queues_of_the_model(everything: list[Document]) -> None:
    """And of no other."""
    lists = {
        name: [each["metadata"]["listName"] for each in find(everything, "ScaledObject", name)[
            "spec"]["triggers"]]
        for name in (BESIDE, "exams-damoscope-worker")
    }  # fmt: skip
    ours = ["rq:queue:detections-high", "rq:queue:detections", "rq:queue:detections-low"]
    assert lists["exams-damoscope-worker"] == ours
    assert lists[BESIDE] == [f"{each}.damoyolo-s" for each in ours]


@pytest.mark.parametrize(
    ("series", "workers"),
    [
        # Work of others is none of its own, nor what waits for models of names that look alike.
        (FRONTENDS | TWO_HALF_BUSY | GPU, 0.0),
        (FRONTENDS | {DEPTH.format("f1", "detections.a-b"): "100+0x240"}, 0.0),
        # 40 that wait, told by two frontends, each 0.1 s, within 5 s.
        (FRONTENDS | {
            DEPTH.format("f1", "detections.a.b"): "30+0x240",
            DEPTH.format("f2", "detections.a.b"): "30+0x240",
            DEPTH.format("f1", "detections-low.a.b"): "10+0x240",
        }, 0.8),
        # Half a worker is busy, with images of 50 ms: 40 that wait take 0.4 workers more.
        (FRONTENDS | {
            BUSY.format("w1", "cpu").replace("}", ',queue="detections.a.b"}'): "0+2.5x240",
            IMAGES.format("w1"): "0+50x240",
            DEPTH.format("f1", "detections.a.b"): "40+0x240",
        }, 0.9),
        # Five a second of its own are refused, each 0.1 s.
        (FRONTENDS | {
            REFUSED.format("detections.a.b"): "0+25x240", REFUSED.format("detections"): "0+50x240",
        }, 0.5),
        ({}, None),
    ],
)  # fmt: skip
def test_the_query_of_a_model(series: dict[str, str], workers: float | None, tmp_path: Any) -> None:
    """Knows its own work alone."""
    documents = template(*models({"name": "a.b", "autoscaling": {"secondsPerImage": 0.1}}))
    (name,) = (each for each in names(documents, "ScaledObject") if "worker-a-b-" in each)
    triggers = find(documents, "ScaledObject", name)["spec"]["triggers"]
    evaluate(triggers[0]["metadata"]["query"], series, workers, tmp_path)


def test_workers_of_a_model_are_none_of_the_others(tmp_path: Any) -> None:
    """What they do is no work for workers of images that name no model."""
    documents = template(*models({"name": "a.b"}))
    scaled = find(documents, "ScaledObject", "exams-damoscope-worker")["spec"]
    busy = BUSY.format("w3", "cpu").replace("}", ',queue="detections.a.b"}')
    series = FRONTENDS | TWO_HALF_BUSY | {busy: "0+5x240", IMAGES.format("w3"): "0+1x240"}
    evaluate(scaled["triggers"][0]["metadata"]["query"], series, 1.0, tmp_path)


def test_names_stay_apart_and_short() -> None:
    """Whatever models are called, and however long the release's name is."""
    given = ["a.b", "a_b", "a-b", "gpu", "x" * NAME_MAX, "x" * (NAME_MAX - 1) + "y"]
    documents = template(*models(*({"name": each} for each in given)), name="r" * 53)
    found = names(documents, "Deployment")
    assert (
        len(found) == len(set(found)) == len(given) + 4
    )  # with frontends, watcher, Collector, workers
    for pod in pods(documents).values():
        assert all(len(value) <= 63 for value in pod["metadata"]["labels"].values())
    assert max(map(len, found)) <= 63


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([{"name": "a"}, {"name": "a"}], "models: a is there twice"),
        ([{"name": "a", "autoscaling": {"min": 0}}], "autoscaling.min of a"),
        ([{"name": "a", "gpu": True, "autoscaling": {"enabled": True}}], "autoscaling.min of a"),
        ([{"name": "A.onnx"}], "models"),
        ([{"replicas": 1}], "models"),
        ([{"name": "a", "provider": "cuda"}], "models"),
        ([{"name": "a", "enabled": True}], "models"),
    ],
)  # fmt: skip
def test_models_that_cannot_be_right(given: list[Any], said: str) -> None:
    """Are refused before anything is installed."""
    assert said in refused(*models(*given))
