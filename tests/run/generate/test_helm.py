"""What is made of the chart's values: its schema and README."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
import yaml

from pipeline.settings import Settings, variable
from run.generate import helm
from tests.paths import ROOT

VALUES = [
    *(ROOT / "deploy" / "helm" / "values").glob("*.yaml"), ROOT / helm.CHART / "values.yaml",
    ROOT / "tests" / "kube" / "everything.yaml",
]  # fmt: skip
WRONG = [
    {"workers": {"replicas": 2}}, {"worker": {"replica": 2}}, {"worker": {"replicas": "two"}},
    {"settings": {"DAMOSCOPE_QUEUEMAX": 2}}, {"settings": {"DAMOSCOPE_REDIS_URL": "redis://x"}},
    {"settings": {"DAMOSCOPE_LOG_LEVEL": "loud"}}, {"workerGpu": {"provider": "cpu"}},
    {"worker": {"settings": {"DAMOSCOPE_HOME": "/x"}}}, {"frontend": {"service": {"type": "X"}}},
]  # fmt: skip
RIGHT = [
    {"settings": {"DAMOSCOPE_QUEUE_MAX": 5, "DAMOSCOPE_DRAIN_S": "30", "DAMOSCOPE_PAGES": False}},
    {"settings": {"DAMOSCOPE_LOG_LEVEL": None, "OTEL_TRACES_SAMPLER_ARG": 0.5}},
    {"frontend": {"persistence": {"storageClass": "fast"}}}, {"global": {"anything": 1}},
    {"workerGpu": {"autoscaling": {"secondsPerImage": 1, "target": 0.5}}},
]  # fmt: skip


@pytest.fixture(scope="module")
def schema() -> Any:
    """The chart's schema."""
    return jsonschema_rs.validator_for(json.loads(helm.schema()))


@pytest.mark.parametrize("path", VALUES, ids=lambda path: path.stem)
def test_the_values_that_are_shipped(path: Any, schema: Any) -> None:
    """Are valid by the schema that is made from them."""
    assert [error.message for error in schema.iter_errors(yaml.safe_load(path.read_text()))] == []


@pytest.mark.parametrize("values", WRONG, ids=str)
def test_values_that_there_are_not(values: Any, schema: Any) -> None:
    """A misspelt one, one of another type, and a setting that the chart decides itself."""
    assert not schema.is_valid(values)


@pytest.mark.parametrize("values", RIGHT, ids=str)
def test_values_that_there_are(values: Any, schema: Any) -> None:
    """Numbers may be quoted, null leaves a setting as it is."""
    assert schema.is_valid(values)


def test_every_value_is_described() -> None:
    """README has a row for each, with its default."""
    rows = [line for line in helm.readme().splitlines() if line.startswith("| `")]
    assert any(line.startswith("| `worker.replicas` | `2` | How many") for line in rows)
    assert any('| `image.pullPolicy` | `"IfNotPresent"` | `Always` or' in line for line in rows)
    assert not [line for line in rows if line.rstrip(" |").endswith("`")]


def test_a_value_without_a_comment(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is an error that names it."""
    folder = tmp_path / helm.CHART
    folder.mkdir(parents=True)
    (folder / "values.yaml").write_text("# -- Known.\none: 1\ntwo: 2\n")
    monkeypatch.setattr(helm, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="no comment describes two"):
        helm.values()


def test_each_process_may_be_given_what_it_reads() -> None:
    """But what the chart decides, and secrets, which are no values."""
    known = yaml.safe_load(helm.known())
    for process in ("frontend", "watcher", "worker"):
        left_out = {variable(each) for each in Settings.read_by(process)} - set(known[process])
        named = {variable(each) for each in helm.DECIDED}
        assert left_out <= named | set(known["secret"]), process
    assert known["defaults"] == {"DAMOSCOPE_DRAIN_S": 25.0, "DAMOSCOPE_STAGE_LIMIT_S": 20.0}
