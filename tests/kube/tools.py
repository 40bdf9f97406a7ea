"""What the tests of the Helm chart need from Go's module proxy: Helm, and the CRDs of others.

Helm is built once and kept in `.cache/kube`, which git ignores. `python -m tests.kube.tools` does
it alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Final

from tests.paths import ROOT

CACHE: Final = ROOT / ".cache" / "kube"
HELM: Final = "3.22.0"
#: CRDs: the module that holds each, and where in it.
CRDS: Final = {
    "ScaledObject": (
        "github.com/kedacore/keda/v2@v2.21.0", "config/crd/bases/keda.sh_scaledobjects.yaml",
    ),
    "TriggerAuthentication": (
        "github.com/kedacore/keda/v2@v2.21.0",
        "config/crd/bases/keda.sh_triggerauthentications.yaml",
    ),
    "HTTPRoute": (
        "sigs.k8s.io/gateway-api@v1.5.0",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    ),
    **{
        kind: (
            "github.com/prometheus-operator/prometheus-operator@v0.85.0",
            f"example/prometheus-operator-crd/monitoring.coreos.com_{kind.lower()}s.yaml",
        )
        for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule")
    },
}  # fmt: skip


def helm() -> Path:
    """Helm, built if it is not there. Raises CalledProcessError; a build takes minutes."""
    target = CACHE / "bin" / f"helm-{HELM}"
    if not target.exists():
        building = target.parent / "building"
        building.mkdir(parents=True, exist_ok=True)
        print(f"building Helm {HELM} ...", flush=True)
        began = time.monotonic()
        subprocess.run(
            [go(), "install", "-trimpath", "-ldflags=-s -w",
             f"helm.sh/helm/v3/cmd/helm@v{HELM}"],
            env={**os.environ, "GOBIN": str(building)}, check=True,
            preexec_fn=lambda: os.nice(10) and None,
        )  # fmt: skip
        # Last and in one step: another process never sees half a program.
        (building / "helm").replace(target)
        print(f"built Helm in {time.monotonic() - began:.0f} s", flush=True)
    return target


@cache
def crd(kind: str) -> Path:
    """The file of a CRD. Raises CalledProcessError."""
    module, path = CRDS[kind]
    CACHE.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [go(), "mod", "download", "-json", module], cwd=CACHE, check=True, stdout=subprocess.PIPE
    )
    return Path(json.loads(done.stdout)["Dir"]) / path


def go() -> str:
    found = shutil.which("go")
    assert found, "the tests of the Helm chart need Go 1.26 or newer: https://go.dev/doc/install"
    return found


if __name__ == "__main__":
    helm()
    for each in CRDS:
        crd(each)
