"""What docs/kubernetes.md says of the chart's pods: where they run, whom they reach, how they are
probed, replaced and counted."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.kube.chart import Document, find, pods

pytestmark = pytest.mark.kube

HEARTBEAT = "DAMOSCOPE_HEARTBEAT_FILE"
COMPONENT = "app.kubernetes.io/component"
#: Ports that workers may reach: of names, of Redis, of who takes telemetry. Those with a name are
#: the chart's own, of the part that follows; where others are is not known.
REACHED: tuple[dict[int | str, str], ...] = (
    {53: ""},
    {6379: "", 26379: "", "redis": "valkey"},
    {4317: "", 4318: "", "otlp-grpc": "collector", "otlp-http": "collector", "http": "frontend"},
)


def component(document: Document) -> str:
    """Which part of the service an object is of."""
    return str(document["metadata"]["labels"][COMPONENT])


def of_kind(documents: list[Document], kind: str) -> dict[str, Any]:
    """The specs of a kind's objects, by the part that they are of."""
    return {component(each): each["spec"] for each in documents if each["kind"] == kind}


def workers(documents: list[Document]) -> dict[str, Any]:
    """The Deployments of all pools of workers."""
    found = of_kind(documents, "Deployment")
    return {part: spec for part, spec in found.items() if part.startswith("worker")}


def is_gpu(deployment: dict[str, Any]) -> bool:
    limits = deployment["template"]["spec"]["containers"][0]["resources"]["limits"]
    return "nvidia.com/gpu" in limits


def test_workers_reach_redis_and_the_receiver_of_telemetry(documents: list[Document]) -> None:
    """And names of hosts, and nothing else; nobody reaches them, but who scrapes their metrics."""
    policies = of_kind(documents, "NetworkPolicy")
    for part in workers(documents):
        policy = policies[part]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert policy["ingress"] in ([], [{"ports": [{"port": "metrics", "protocol": "TCP"}]}])
        for reached, rule in zip(REACHED, policy["egress"], strict=True):
            found = {port["port"] for port in rule["ports"]}
            assert found <= reached.keys(), part
            peers = [peer["podSelector"]["matchLabels"] for peer in rule.get("to", [])]
            assert {labels[COMPONENT] for labels in peers} == {
                reached[port] for port in found if isinstance(port, str)
            }


def test_parts_are_spread_and_leave_one_by_one(documents: list[Document]) -> None:
    """Over zones and hosts, among their own kind. A node that is drained takes one at a time, and
    no budget keeps it from taking a lone one."""
    budgets = of_kind(documents, "PodDisruptionBudget")
    spread = {"frontend": of_kind(documents, "Deployment")["frontend"]} | workers(documents)
    for part, deployment in spread.items():
        template = deployment["template"]
        constraints = template["spec"]["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in constraints] == [
            "topology.kubernetes.io/zone", "kubernetes.io/hostname",
        ]  # fmt: skip
        for each in constraints:
            chosen = each["labelSelector"]["matchLabels"].items()
            assert chosen <= template["metadata"]["labels"].items()
            assert each["whenUnsatisfiable"] == "ScheduleAnyway"
        if part in budgets:
            assert budgets[part]["maxUnavailable"] == 1
            assert "minAvailable" not in budgets[part]
    off = {"worker-damoyolo-s"}  # everything.yaml says so
    assert set(spread) - set(budgets) <= off


def test_what_an_upgrade_replaces_first(documents: list[Document]) -> None:
    """Frontends and workers on processors only once a new one is there; GPU workers in place, since
    a new one may find no GPU; the frontend that keeps telemetry ends before the next begins."""
    found = of_kind(documents, "Deployment")
    frontend = found["frontend"]["strategy"]
    if frontend["type"] == "Recreate":
        assert found["frontend"]["replicas"] == 1
    else:
        assert frontend["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    for part, deployment in workers(documents).items():
        update = deployment["strategy"]["rollingUpdate"]
        expected = {"maxSurge": 0, "maxUnavailable": 1} if is_gpu(deployment) else {
            "maxSurge": "25%", "maxUnavailable": 0
        }  # fmt: skip
        assert update == expected, part


def test_a_frontend_leaves_the_service_first(documents: list[Document]) -> None:
    """For 5 s, in which proxies hear of it, before it is told to stop; and it is ready by /healthz,
    not by what all of them have in common."""
    container = of_kind(documents, "Deployment")["frontend"]["template"]["spec"]["containers"][0]
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "http"}


def test_probes_tell_a_young_heartbeat_from_an_old_one(
    documents: list[Document], tmp_path: Path
) -> None:
    """The commands themselves: without a file a worker has not started, with an old one it stands
    still. Any shell with `find` runs them."""
    file = tmp_path / "heartbeat"
    commands: dict[tuple[str, ...], str] = {}
    for name, pod in pods(documents).items():
        for container in pod["spec"]["containers"]:
            if container["name"] not in ("worker", "watcher"):
                continue
            given = {each["name"] for each in container["env"]}
            assert HEARTBEAT in given, name
            for probe in ("startupProbe", "livenessProbe"):
                commands[tuple(container[probe]["exec"]["command"])] = f"{name} {probe}"
            starting = container["startupProbe"]
            assert starting["periodSeconds"] * starting["failureThreshold"] >= 120
    for command, whose in commands.items():

        def healthy() -> bool:
            env = {**os.environ, HEARTBEAT: str(file)}
            return subprocess.run(command, env=env, check=False).returncode == 0  # noqa: B023 now

        file.unlink(missing_ok=True)
        assert not healthy(), whose
        file.touch()
        assert healthy(), whose
        os.utime(file, (time.time() - 60,) * 2)
        assert not healthy(), whose


def test_scaling_is_quick_up_and_slow_down(rendered: dict[str, list[Document]]) -> None:
    """As shipped: doubled, or four more, every 15 s; halved each minute, once less was enough for
    five."""
    scaled = find(rendered["managed"], "ScaledObject", "exams-damoscope-worker")["spec"]
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    up, down = behavior["scaleUp"], behavior["scaleDown"]
    assert (up["stabilizationWindowSeconds"], up["selectPolicy"]) == (0, "Max")
    assert up["policies"] == [
        {"type": "Percent", "value": 100, "periodSeconds": 15},
        {"type": "Pods", "value": 4, "periodSeconds": 15},
    ]
    assert down["stabilizationWindowSeconds"] == 300
    assert down["policies"] == [{"type": "Percent", "value": 50, "periodSeconds": 60}]
    assert scaled["minReplicaCount"] >= 1
