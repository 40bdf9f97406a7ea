"""The chart's objects are taken by a real API server, and their pods by its admission."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import yaml

from tests.kube import tools
from tests.kube.chart import TRIES, Document, pods
from tests.kube.cluster import Cluster, running
from tests.servers import eventually

pytestmark = [pytest.mark.kube, pytest.mark.timeout(600)]

#: What a namespace of the strictest kind is labelled with: pods that do not fit are refused, and of
#: what would make such pods is warned.
RESTRICTED = {
    f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server that knows the kinds of KEDA, of Prometheus' operator and of gateways."""
    with running(tmp_path_factory.mktemp("cluster")) as started:
        for kind in tools.CRDS:
            definition = yaml.safe_load(tools.crd(kind).read_text())
            taken(started.apply(definition, ""))
            spec = definition["spec"]
            path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
            eventually(lambda: started.http.get(path).status_code == 200, path)  # noqa: B023
        # What a cluster with GPUs has, and our values name.
        runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "nvidia"}
        taken(started.apply({**runtime, "metadata": {"name": "nvidia"}}, ""))
        started.warnings.clear()  # of others' definitions
        yield started


@pytest.fixture(params=list(TRIES))
def namespace(request: pytest.FixtureRequest, cluster: Cluster) -> str:
    """A restricted namespace for each set of values, with the account that a cluster puts there."""
    name = f"vision-{request.param}"
    about = {"name": name, "labels": RESTRICTED}
    taken(cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": about}, ""))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    taken(cluster.apply(account, name))
    return name


def test_it_takes_all_of_it(
    cluster: Cluster, namespace: str, rendered: dict[str, list[Document]]
) -> None:
    """Each object as it is rendered, unknown fields refused; it warns of nothing. Then each pod
    that a controller would make of it, in a namespace that is enforced to be restricted."""
    documents = rendered[namespace.removeprefix("vision-")]
    cluster.warnings.clear()
    for one in documents:
        taken(cluster.apply(one, namespace))
    made = pods(documents)
    assert made
    for name, template in made.items():
        taken(cluster.admit(pod(name, template), namespace))
    assert cluster.warnings == []
    # And once more, as an upgrade would: what is immutable stays the same.
    for one in documents:
        taken(cluster.apply(one, namespace))


def test_it_would_refuse(cluster: Cluster, rendered: dict[str, list[Document]]) -> None:
    """A field that there is not, in ours and in KEDA's kinds; a pod that may be root: what the test
    above counts on."""
    name = "vision-refused"
    about = {"name": name, "labels": RESTRICTED}
    taken(cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": about}, ""))
    taken(cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount",
                         "metadata": {"name": "default"}}, name))  # fmt: skip
    for kind in ("Deployment", "ScaledObject"):
        (wrong, *_) = (deepcopy(one) for one in rendered["everything"] if one["kind"] == kind)
        wrong["spec"]["minReplicas"] = 1
        answer = cluster.apply(wrong, name)
        assert answer.status_code >= 400, kind
        assert "minReplicas" in answer.text
    container = {"name": "root", "image": "x", "securityContext": {"privileged": True}}
    root = pod("root", {"spec": {"containers": [container]}})
    answer = cluster.admit(root, name)
    assert answer.status_code == 403
    assert "violates PodSecurity" in answer.text


def pod(name: str, template: Document) -> dict[str, Any]:
    """As a controller makes it of its template; a StatefulSet's claims are volumes then."""
    made = {"apiVersion": "v1", "kind": "Pod", **deepcopy(template)}
    made["metadata"] = {**made.get("metadata", {}), "name": name}
    volumes = made["spec"].setdefault("volumes", [])
    known = {volume["name"] for volume in volumes}
    for container in made["spec"]["containers"]:
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in known:
                known.add(mount["name"])
                claim = {"claimName": f"{mount['name']}-{name}-0"}
                volumes.append({"name": mount["name"], "persistentVolumeClaim": claim})
    return made


def taken(answer: Any) -> None:
    """Fails with what the server says against it."""
    assert answer.status_code in (200, 201), answer.text
