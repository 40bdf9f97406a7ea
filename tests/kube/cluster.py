"""A real API server of Kubernetes with its etcd, without nodes: what it admits is what a cluster
admits. Both are built from Go's module proxy once (minutes), and kept in `.cache/kube`.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from tests.kube.tools import CACHE, go
from tests.servers import PATIENCE_S, Process, eventually, free_port

KUBERNETES: Final = "1.37.2"
ETCD: Final = "3.7.3"
MAIN: Final = {
    "kube-apiserver": """package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
""",
    "etcd": """package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
""",
}
TOKEN: Final = "a-token-of-this-test"
MANAGER: Final = {"fieldManager": "test", "fieldValidation": "Strict", "force": "true"}


def program(name: str) -> Path:
    """One of the two, built if it is not there. Raises CalledProcessError."""
    version = KUBERNETES if name == "kube-apiserver" else ETCD
    target = CACHE / "bin" / f"{name}-{version}"
    if not target.exists():
        source = CACHE / "src" / name
        source.mkdir(parents=True, exist_ok=True)
        (source / "main.go").write_text(MAIN[name])
        print(f"building {name} {version} ...", flush=True)
        began = time.monotonic()
        (source / "go.mod").write_text(_module(name, source))
        _run(source, "mod", "tidy")
        _run(source, "build", "-trimpath", "-ldflags=-s -w", "-o", str(source / name), ".")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Last and in one step: another process never sees half a program.
        (source / name).replace(target)
        print(f"built {name} in {time.monotonic() - began:.0f} s", flush=True)
    return target


def _module(name: str, source: Path) -> str:
    head = f"module damoscope.local/{name}\n\ngo 1.26\n\nrequire "
    if name == "etcd":
        return f"{head}go.etcd.io/etcd/server/v3 v{ETCD}\n"
    module = f"k8s.io/kubernetes@v{KUBERNETES}"
    done = _run(source.parent, "mod", "download", "-json", module)
    # Those that are developed in the same repository have versions of their own, 0.37 with 1.37.
    its = Path(json.loads(done)["GoMod"]).read_text()
    staging = sorted(set(re.findall(r"^\s*(k8s\.io/\S+) v0\.0\.0$", its, re.M)))
    own = "v0." + KUBERNETES.partition(".")[2]
    replaced = "".join(f"replace {each} => {each} {own}\n" for each in staging)
    return f"{head}k8s.io/kubernetes v{KUBERNETES}\n\n{replaced}"


def _run(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        [go(), *arguments], cwd=folder, env={**os.environ, "GOWORK": "off"}, check=True, text=True,
        stdout=subprocess.PIPE, preexec_fn=lambda: os.nice(10) and None,
    ).stdout  # fmt: skip


@dataclass
class Cluster:
    """The API of a server that runs, as its administrator."""

    http: httpx.Client
    #: What the server warned of, whatever was asked.
    warnings: list[str] = field(default_factory=list)
    _paths: dict[tuple[str, str], tuple[str, bool]] = field(default_factory=dict)

    def apply(self, one: dict[str, Any], namespace: str) -> httpx.Response:
        """Apply an object server-side, with unknown and doubled fields refused."""
        one = {**one, "metadata": {**one["metadata"]}}
        path = self._path(one, namespace)
        if "namespaces/" in path:
            one["metadata"]["namespace"] = namespace
        return self._ask(
            "PATCH", f"{path}/{one['metadata']['name']}", MANAGER, yaml.safe_dump(one),
            "application/apply-patch+yaml",
        )  # fmt: skip

    def admit(self, pod: dict[str, Any], namespace: str) -> httpx.Response:
        """What would be said of a pod: it goes through admission, and is not kept."""
        asked = {"dryRun": "All", "fieldValidation": "Strict"}
        path = f"/api/v1/namespaces/{namespace}/pods"
        return self._ask("POST", path, asked, json.dumps(pod), "application/json")

    def _ask(
        self, method: str, path: str, asked: dict[str, str], body: str, kind: str
    ) -> httpx.Response:
        answer = self.http.request(
            method, path, params=asked, content=body, headers={"Content-Type": kind}
        )
        self.warnings += answer.headers.get_list("warning")
        return answer

    def _path(self, one: dict[str, Any], namespace: str) -> str:
        """Where objects of this kind are."""
        version = one["apiVersion"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, one["kind"]) not in self._paths:
            for each in self.http.get(root).raise_for_status().json()["resources"]:
                if "/" not in each["name"]:
                    self._paths[version, each["kind"]] = (each["name"], each["namespaced"])
        name, namespaced = self._paths[version, one["kind"]]
        return f"{root}/namespaces/{namespace}/{name}" if namespaced else f"{root}/{name}"


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Both servers, new, on free ports; nothing of them is left."""
    folder.mkdir(parents=True, exist_ok=True)
    client, peer, port = (f"http://127.0.0.1:{free_port()}" for _ in range(3))
    etcd = [
        str(program("etcd")), f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
    ]  # fmt: skip
    (folder / "tokens.csv").write_text(f"{TOKEN},admin,admin,system:masters\n")
    key = folder / "accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    number = port.rpartition(":")[2]
    server = [
        str(program("kube-apiserver")), f"--etcd-servers={client}", "--bind-address=127.0.0.1",
        f"--secure-port={number}", f"--cert-dir={folder}", "--authorization-mode=RBAC",
        # As clusters have it: what may be privileged is decided by admission.
        "--allow-privileged=true",
        f"--token-auth-file={folder / 'tokens.csv'}", "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
    ]  # fmt: skip
    with Process(etcd, folder / "etcd.log"), Process(server, folder / "server.log") as api:
        certificate = folder / "apiserver.crt"
        api.until(certificate.exists, "its certificate")
        trusted = ssl.create_default_context(cafile=certificate)
        with httpx.Client(
            base_url=f"https://127.0.0.1:{number}", verify=trusted, timeout=60,
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as http:  # fmt: skip
            eventually(lambda: _ready(http), "the API server to be ready", 4 * PATIENCE_S)
            yield Cluster(http)


def _ready(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    for each in MAIN:
        program(each)
