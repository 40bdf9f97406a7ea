"""The Helm chart, rendered by Helm itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from tests.kube import tools
from tests.paths import ROOT

CHART: Final = ROOT / "deploy" / "helm" / "damoscope"
_VALUES: Final = ROOT / "deploy" / "helm" / "values"
#: Built from its module, Helm does not know of which Kubernetes it is: that of a cluster is given.
KUBERNETES: Final = ("--kube-version", "1.30.0")
PASSWORD: Final = "valkey.password=0123456789abcdef"
#: What each try of the chart is given: the files of deploy/helm/values, and what they leave off.
TRIES: Final[dict[str, list[str]]] = {
    "small": ["--values", str(_VALUES / "small.yaml"), "--set", PASSWORD],
    "managed": ["--values", str(_VALUES / "managed.yaml")],
    "gpu": ["--values", str(_VALUES / "managed.yaml"), "--values", str(_VALUES / "gpu.yaml")],
    "everything": ["--values", str(Path(__file__).parent / "everything.yaml")],
}

Document = dict[str, Any]


def helm(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Helm, without what the user has set up for it."""
    home = tools.CACHE / "helm"
    given = {f"HELM_{name}_HOME": str(home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    return subprocess.run(
        [str(tools.helm()), *arguments], env={**os.environ, **given, **environment},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def template(*arguments: str, name: str = "exams") -> list[Document]:
    """The objects that the chart makes of these values."""
    done = helm("template", name, str(CHART), *KUBERNETES, "--namespace", "vision", *arguments)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def refused(*arguments: str) -> str:
    """What Helm says of values that the chart does not take."""
    done = helm("template", "exams", str(CHART), *KUBERNETES, *arguments)
    assert done.returncode != 0, "these values were taken"
    return done.stderr


def find(documents: list[Document], kind: str, name: str) -> Document:
    """The one object of a kind and name."""
    (found,) = (
        each for each in documents if each["kind"] == kind and each["metadata"]["name"] == name
    )
    return found


def pods(documents: list[Document]) -> dict[str, Document]:
    """The pod templates of all Deployments and StatefulSets, by their names."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]
        for each in documents
        if each["kind"] in ("Deployment", "StatefulSet")
    }


def environment(container: Document) -> dict[str, str]:
    """A container's variables that have a value, by name; no name may come twice."""
    names = [each["name"] for each in container["env"]]
    assert len(names) == len(set(names)), names
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}
