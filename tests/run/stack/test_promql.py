"""What rules, alerts and the Grafana dashboard ask Prometheus for is in the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
import yaml

from telemetry.catalogue import METRICS
from tests.paths import ROOT
from tests.run.stack.board import board

#: Of Prometheus, the Collector and its connector: not ours.
FOREIGN = re.compile(r"(up|ALERTS|target_info|(otelcol|traces_span_metrics)_\w+)")
#: What a series of ours has besides the attributes of its metric.
COMMON = {"job", "instance", "le", "host_id"}
NAME = r"[a-zA-Z_:][\w:]*"
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right",
         "offset", "bool"}  # fmt: skip

#: Names of series -> their labels.
EXPORTED = {
    metric.exported + part: set(metric.attributes) | COMMON
    for metric in METRICS.values()
    for part in metric.parts
}


def rules() -> Iterator[dict[str, Any]]:
    for path in sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


def panels() -> Iterator[dict[str, Any]]:
    for panel in board()["panels"]:
        yield from panel.get("targets", [])


def asked(expression: str) -> tuple[dict[str, set[str]], set[str]]:
    """Names of series with the labels that they are selected by, and labels of groupings."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expression)
    grouping = r"\b(?:by|without|on|ignoring|group_left)\s*\(([^)]*)\)"
    grouped = {name for found in re.findall(grouping, bare) for name in re.findall(r"\w+", found)}
    bare = re.sub(r"\[[^\]]*\]|\boffset \w+|\$\w+", "", re.sub(grouping, "", bare))
    series: dict[str, set[str]] = {}
    for name, matchers in re.findall(rf"(?<![\w.])({NAME})\b(?!\s*\()(\{{[^}}]*\}})?", bare):
        if name not in WORDS and not matchers.startswith("("):
            series.setdefault(name, set()).update(re.findall(r"(\w+)\s*[=!]", matchers))
    return series, grouped


@cache
def recorded() -> dict[str, set[str]]:
    """Names of recorded series -> labels of what they are made from."""
    found: dict[str, set[str]] = {}
    for rule in rules():
        if "record" in rule:
            series, _ = asked(rule["expr"])
            known = EXPORTED | found
            labels = set().union(*(known.get(name, set()) for name in series))
            found[rule["record"]] = labels | set(rule.get("labels", ()))
    return found


EXPRESSIONS = [
    *((rule.get("record") or rule["alert"], rule["expr"]) for rule in rules()),
    *((f"panel {target['expr'][:40]}", target["expr"]) for target in panels()),
]


@pytest.mark.parametrize(
    "expression", [each for _, each in EXPRESSIONS], ids=[name for name, _ in EXPRESSIONS]
)
def test_series_and_labels_exist(expression: str) -> None:
    """Each series is a metric's or a rule's, and has the labels that it is selected by."""
    check(expression, EXPORTED | recorded())


@pytest.mark.parametrize(
    "expression",
    [
        "rate(damoscope_requests[1m])", "sum by (outcom) (damoscope_requests_total)",
        'damoscope_workers{stat="idle"}', "damoscope_batch_size", "service:damoscope_nothing:max",
    ],
)  # fmt: skip
def test_what_does_not_exist_is_found(expression: str) -> None:
    """A name or a label that no metric has fails the test above."""
    with pytest.raises(AssertionError):
        check(expression, EXPORTED | recorded())


def test_nothing_is_overlooked() -> None:
    """The test reads what there is to read."""
    ours = [name for _, each in EXPRESSIONS for name in asked(each)[0] if name in EXPORTED]
    assert len(EXPRESSIONS) > 100
    assert len(set(ours)) > 30


def test_legends_are_labels() -> None:
    """A panel's legend shows labels that its series have."""
    known = EXPORTED | recorded()
    for target in panels():
        series, _ = asked(target["expr"])
        if any(name in known for name in series):
            labels = set().union(*(known.get(name, set()) for name in series))
            legend = re.findall(r"\{\{\s*(\w+)\s*\}\}", target.get("legendFormat", ""))
            assert set(legend) <= labels, target["expr"]


def check(expression: str, known: Mapping[str, set[str]]) -> None:
    series, grouped = asked(expression)
    ours = {name: labels for name, labels in series.items() if not FOREIGN.fullmatch(name)}
    for name, labels in ours.items():
        assert name in known, f"{name} is no metric; there are {', '.join(sorted(known))}"
        assert labels <= known[name], f"{name} has no {labels - known[name]}"
    if len(ours) == len(series) and ours:
        assert grouped <= set().union(*(known[name] for name in ours)), expression
