"""What KEDA is told: the query that the chart makes, evaluated by Prometheus' own promtool."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kube.chart import TRIES, find, template
from tests.paths import ROOT

pytestmark = pytest.mark.kube

#: Two workers that are busy half of their time with images of 50 ms, one of them new; two frontends
#: that see the same 20 images waiting. Every 5 s; the values of a counter after N steps.
BUSY = 'damoscope_worker_busy_seconds_total{{job="damoscope-worker",instance="{}",provider="{}"}}'
IMAGES = 'damoscope_batch_size_sum{{job="damoscope-worker",instance="{}"}}'
DEPTH = 'damoscope_queue_depth{{job="damoscope-frontend",instance="{}",queue="{}"}}'
WORKERS = 'damoscope_workers{{job="damoscope-frontend",instance="{}",state="{}"}}'
REFUSED = 'damoscope_queue_refused_total{{job="damoscope-frontend",instance="f1",queue="{}"}}'
#: Refusals for other reasons, such as a client's rate.
REJECTED = (
    'damoscope_requests_total{job="damoscope-frontend",instance="f1",route="api",'
    'outcome="rejected"}'
)
FRONTENDS = {
    WORKERS.format("f1", "busy"): "1+0x240", WORKERS.format("f1", "idle"): "1+0x240",
    WORKERS.format("f2", "busy"): "1+0x240", WORKERS.format("f2", "idle"): "1+0x240",
}  # fmt: skip
TWO_HALF_BUSY = {
    BUSY.format("w1", "cpu"): "0+2.5x240", IMAGES.format("w1"): "0+50x240",
    BUSY.format("w2", "cpu"): "0+2.5x240", IMAGES.format("w2"): "0+50x240",
}  # fmt: skip
WAITING = {
    DEPTH.format("f1", "detections"): "20+0x240", DEPTH.format("f2", "detections"): "20+0x240",
    DEPTH.format("f1", "detections-low"): "5+0x240",
    DEPTH.format("f2", "detections-low"): "5+0x240",
}  # fmt: skip
GPU = {BUSY.format("g1", "cuda"): "0+4x240", IMAGES.format("g1"): "0+800x240"}


def query(pool: str, *arguments: str) -> str:
    """The query of a pool's ScaledObject."""
    documents = template(*TRIES["gpu"], "--set", "worker.autoscaling.enabled=true", *arguments)
    trigger: dict[str, Any] = find(documents, "ScaledObject", f"exams-damoscope-{pool}")["spec"][
        "triggers"
    ][0]
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    return str(trigger["metadata"]["query"])


@pytest.mark.parametrize(
    ("pool", "series", "workers"),
    [
        ("worker", FRONTENDS, 0.0),
        ("worker", FRONTENDS | TWO_HALF_BUSY, 1.0),
        # 25 that wait, each 0.05 s, within 5 s: a quarter of a worker more.
        ("worker", FRONTENDS | TWO_HALF_BUSY | WAITING, 1.25),
        # 20 a second are refused: a worker more. None for those of a model with its own workers,
        # nor for those that no worker would have helped.
        ("worker", FRONTENDS | TWO_HALF_BUSY | {REFUSED.format("detections"): "0+100x240"}, 2.0),
        ("worker", FRONTENDS | TWO_HALF_BUSY | {REFUSED.format("detections.s"): "0+100x240"}, 1.0),
        ("worker", FRONTENDS | TWO_HALF_BUSY | {REJECTED: "0+100x240"}, 1.0),
        # Each pool knows its own work, and what an image costs it: on the GPU 5 ms.
        ("worker", FRONTENDS | TWO_HALF_BUSY | GPU, 1.0),
        ("worker-gpu", FRONTENDS | TWO_HALF_BUSY | GPU, 0.8),
        ("worker-gpu", FRONTENDS | TWO_HALF_BUSY | GPU | WAITING, 0.8 + 25 * 0.005 / 5),
        # From zero, by what the values say that an image costs.
        ("worker-gpu", FRONTENDS | TWO_HALF_BUSY | WAITING, 25 * 0.005 / 5),
        # No frontend is heard of: no answer, which takes no worker away.
        ("worker", TWO_HALF_BUSY, None),
        ("worker", {}, None),
    ],
)  # fmt: skip
def test_the_query(
    pool: str, series: dict[str, str], workers: float | None, tmp_path: Path
) -> None:
    """Says how many workers' worth of work there is."""
    evaluate(query(pool), series, workers, tmp_path)


def test_one_machine_asks_the_same() -> None:
    """What deploy/autoscale.py asks is what KEDA asks, by the values as they are."""
    asked = runpy.run_path(str(ROOT / "deploy" / "autoscale.py"))
    documents = template(*TRIES["managed"], "--set", "worker.autoscaling.enabled=true")
    scaled = find(documents, "ScaledObject", "exams-damoscope-worker")["spec"]
    metadata = scaled["triggers"][0]["metadata"]
    assert asked["QUERY"] == metadata["query"]
    assert asked["TARGET"] == float(metadata["threshold"])


def test_one_of_several_services(tmp_path: Path) -> None:
    """`keda.selector` leaves out what another service reports to the same Prometheus."""
    ours, others = (
        {name.replace("{", f'{{namespace="{space}",'): value
         for name, value in (FRONTENDS | TWO_HALF_BUSY | WAITING).items()}
        for space in ("exams", "other")
    )  # fmt: skip
    text = query("worker", "--set-string", 'keda.selector=namespace="exams"')
    evaluate(text, ours | others, 1.25, tmp_path)


def test_refusals_may_be_left_out(tmp_path: Path) -> None:
    """Where the queue's length is enough."""
    text = query("worker", "--set", "worker.autoscaling.refused=false")
    series = FRONTENDS | TWO_HALF_BUSY | {REFUSED.format("detections"): "0+100x240"}
    evaluate(text, series, 1.0, tmp_path)


def evaluate(text: str, series: dict[str, str], workers: float | None, folder: Path) -> None:
    """Let promtool say what the query gives after 20 minutes of these series."""
    promtool = shutil.which("promtool")
    assert promtool, "the Debian package prometheus has it"
    rules = {"groups": [{"name": "kube", "rules": [{"record": "work", "expr": text}]}]}
    expected = [] if workers is None else [{"labels": "{}", "value": round(workers, 6)}]
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "5s",
        "tests": [{
            "interval": "5s",
            "input_series": [{"series": name, "values": made} for name, made in series.items()],
            "promql_expr_test": [
                {"expr": "round(work, 0.000001)", "eval_time": "20m", "exp_samples": expected},
            ],
        }],
    }  # fmt: skip
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    (folder / "test.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [promtool, "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
