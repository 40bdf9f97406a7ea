"""The Helm chart: what it makes of values, rendered by Helm, checked by Kubernetes' own schemas."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import settings
from run.generate import helm as generated
from tests.kube import chart
from tests.kube.chart import PASSWORD, TRIES, Document, environment, find, pods, refused, template
from tests.paths import ROOT
from worker import watchdog

pytestmark = pytest.mark.kube

VALIDATOR = ROOT / ".venv-kube" / "bin" / "python"
#: The oldest that Chart.yaml names, up to the newest that kubernetes-validate has schemas of.
VERSIONS = [f"1.{minor}" for minor in range(30, 38)]
SMALL = TRIES["small"]
CRDS = ("keda.sh/", "monitoring.coreos.com/", "gateway.networking.k8s.io/")


@pytest.mark.parametrize("name", TRIES)
def test_lint(name: str) -> None:
    """Helm finds nothing to say, warnings included."""
    done = chart.helm("lint", "--strict", str(chart.CHART), *chart.KUBERNETES, *TRIES[name])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(
    version: str, rendered: dict[str, list[Document]], tmp_path: Path
) -> None:
    """Each object is valid by the strict schemas of that version, which refuse unknown fields."""
    for name, documents in rendered.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump_all(documents))
    done = subprocess.run(
        [VALIDATOR, ROOT / "tests" / "kube" / "validate.py", version, *tmp_path.glob("*.yaml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_rendering_again_changes_nothing() -> None:
    """Nothing random: an upgrade that changes nothing restarts nothing, and no password is new."""
    assert template(*SMALL) == template(*SMALL)


def test_what_needs_a_crd_is_off(rendered: dict[str, list[Document]]) -> None:
    """A cluster with neither KEDA, nor the Prometheus Operator, nor the Gateway API takes it."""
    assert not [each["kind"] for each in rendered["small"] if each["apiVersion"].startswith(CRDS)]
    kinds = {each["kind"] for name in ("managed", "gpu", "everything") for each in rendered[name]}
    assert kinds >= {"ScaledObject", "ServiceMonitor", "PodMonitor", "PrometheusRule", "HTTPRoute",
                     "TriggerAuthentication"}  # fmt: skip


def test_pods_are_confined(documents: list[Document]) -> None:
    """The restricted profile and more: no token, no capability, a read-only file system."""
    for name, pod in pods(documents).items():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        # A Service called damoscope would set DAMOSCOPE_PORT=tcp://... in each container.
        assert spec["enableServiceLinks"] is False, name
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["fsGroup"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        volumes = {each["name"]: each for each in spec["volumes"]}
        volumes |= {"data": {"name": "data"}} if "data" not in volumes else {}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name  # fmt: skip
            assert container["livenessProbe"], name
            assert container["startupProbe" if "collector" not in name else "readinessProbe"]
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["resources"]["limits"]["memory"]
            for mount in container["volumeMounts"]:
                volume = volumes[mount["name"]]
                assert mount.get("readOnly") or not {"secret", "configMap"} & volume.keys(), name


def test_selectors_stay_the_same(rendered: dict[str, list[Document]]) -> None:
    """They are immutable, and so is what a StatefulSet claims: neither has a version in it, and no
    part selects the pods of another."""
    before = rendered["everything"]
    after = template(*TRIES["everything"], "--set", "image.tag=9.9.9,worker.threads=7")
    for one in ("Deployment", "StatefulSet"):
        for each in [each for each in before if each["kind"] == one]:
            other = find(after, one, each["metadata"]["name"])
            assert each["spec"]["selector"] == other["spec"]["selector"]
            assert each["spec"].get("volumeClaimTemplates") == other["spec"].get(
                "volumeClaimTemplates"
            )
            labels = each["spec"]["selector"]["matchLabels"]
            assert "app.kubernetes.io/version" not in labels
            assert not [key for key in labels if key.startswith("helm.sh")]
            chosen = [
                name for name, pod in pods(before).items()
                if labels.items() <= pod["metadata"]["labels"].items()
            ]  # fmt: skip
            assert chosen == [each["metadata"]["name"]]


def test_every_reference_leads_somewhere(documents: list[Document]) -> None:
    """Services, budgets and policies select pods that there are, at ports that those have; claims,
    accounts and files that the chart names are made by it, or named in the values."""
    there = {(each["kind"], each["metadata"]["name"]) for each in documents}
    found = list(pods(documents).values())

    def selected(labels: dict[str, str]) -> list[Document]:
        return [pod for pod in found if labels.items() <= pod["metadata"]["labels"].items()]

    for each in documents:
        if each["kind"] == "Service":
            (pod,) = selected(each["spec"]["selector"])
            names = {p["name"] for c in pod["spec"]["containers"] for p in c.get("ports", [])}
            assert {port["targetPort"] for port in each["spec"]["ports"]} <= names
        elif each["kind"] == "PodDisruptionBudget":
            assert len(selected(each["spec"]["selector"]["matchLabels"])) == 1
        elif each["kind"] == "NetworkPolicy":
            (pod,) = selected(each["spec"]["podSelector"]["matchLabels"])
            names = {p["name"] for c in pod["spec"]["containers"] for p in c.get("ports", [])}
            for rule in each["spec"].get("ingress", []):
                assert {port["port"] for port in rule["ports"]} <= names
        elif each["kind"] == "ScaledObject":
            name = each["spec"]["scaleTargetRef"]["name"]
            assert ("Deployment", name) in there
            assert "replicas" not in find(documents, "Deployment", name)["spec"], (
                "each upgrade would set back what KEDA has set"
            )
    for pod in found:
        assert ("ServiceAccount", pod["spec"]["serviceAccountName"]) in there
        for volume in pod["spec"]["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert claim == "models" or ("PersistentVolumeClaim", claim) in there


def test_damoscope_takes_the_environment(
    documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each variable is a setting that the process reads, with a value that it takes."""
    for name in [name for name in os.environ if name.startswith("DAMOSCOPE_")]:
        monkeypatch.delenv(name)
    for pod in pods(documents).values():
        for container in pod["spec"]["containers"]:
            if container["name"] not in ("frontend", "worker", "watcher"):
                continue
            process: Any = container["name"]
            given = environment(container)
            ours = {key: value for key, value in given.items() if key.startswith("DAMOSCOPE_")}
            read = {settings.variable(each) for each in settings.Settings.read_by(process)}
            assert ours.keys() <= read, container["name"]
            with monkeypatch.context() as patched:
                for key, value in ours.items():
                    patched.setenv(key, value)
                settings.load()


def test_settings_reach_who_reads_them(rendered: dict[str, list[Document]]) -> None:
    """As they were written: large numbers in digits, quoted or not; what is empty is not set. A
    pool's own win over those of all."""
    found = pods(rendered["everything"])
    frontend = environment(found["exams-damoscope-frontend"]["spec"]["containers"][0])
    worker = environment(found["exams-damoscope-worker"]["spec"]["containers"][0])
    gpu = environment(found["exams-damoscope-worker-gpu"]["spec"]["containers"][0])
    assert frontend["DAMOSCOPE_MAX_PIXELS"] == "50000000"
    assert frontend["DAMOSCOPE_PAGE_UPLOADS_BYTES"] == str(2**30)
    assert "DAMOSCOPE_MAX_PIXELS" not in worker
    assert "DAMOSCOPE_CORS_ORIGINS" not in frontend
    assert frontend["OTEL_TRACES_SAMPLER_ARG"] == worker["OTEL_TRACES_SAMPLER_ARG"] == "0.25"
    assert (worker["DAMOSCOPE_BATCH_MAX"], worker["DAMOSCOPE_STAGE_LIMIT_S"]) == ("2", "30")
    assert "DAMOSCOPE_BATCH_MAX" not in gpu
    assert (worker["DAMOSCOPE_PROVIDER"], gpu["DAMOSCOPE_PROVIDER"]) == ("cpu", "cuda")
    assert worker["REDIS_URL"].startswith("redis://worker:$(REDIS_PASSWORD)@")
    assert frontend["REDIS_URL"].startswith("redis://frontend:$(REDIS_PASSWORD)@")


@pytest.mark.parametrize(
    ("arguments", "drain_s", "stage_s"),
    [([], 25, 20), (["--set", "settings.DAMOSCOPE_DRAIN_S=90"], 90, 20),
     (["--set", "settings.DAMOSCOPE_STAGE_LIMIT_S=7.5"], 25, 8)],
)  # fmt: skip
def test_stops_are_waited_for(arguments: list[str], drain_s: int, stage_s: int) -> None:
    """Longer than what a frontend finishes, and than the two batches that a worker has in hand,
    each as long as its watchdog lets it be; by the settings that are given."""
    found = pods(template(*SMALL, *arguments))
    grace = {name: pod["spec"]["terminationGracePeriodSeconds"] for name, pod in found.items()}
    # docs/reliability.md: it leaves within 4 s of its drain; before it, it leaves the Service.
    assert grace["exams-damoscope-frontend"] >= 5 + drain_s + 4
    batch_s = watchdog.STAGES * stage_s + watchdog.GRACE_S
    assert grace["exams-damoscope-worker"] >= 2 * batch_s


def test_gpu_workers(rendered: dict[str, list[Document]]) -> None:
    """Ask for a GPU, with the limits that they have; by a runtime class, on nodes of their own."""
    pod = pods(rendered["gpu"])["exams-damoscope-worker-gpu"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 1, "memory": "6Gi"}
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    scaled = find(rendered["gpu"], "ScaledObject", "exams-damoscope-worker-gpu")["spec"]
    assert scaled["minReplicaCount"] == 0
    assert [each["type"] for each in scaled["triggers"]] == ["prometheus", "cron"]
    assert all(isinstance(v, str) for each in scaled["triggers"] for v in each["metadata"].values())


def test_the_only_workers_wake_by_any_refusal(rendered: dict[str, list[Document]]) -> None:
    """Where there are others, GPU workers wait for work that is worth it; where there are none, one
    image that is refused is enough, whatever it would cost."""

    def threshold(documents: list[Document]) -> str:
        scaled = find(documents, "ScaledObject", "exams-damoscope-worker-gpu")
        return str(scaled["spec"]["triggers"][0]["metadata"]["activationThreshold"])

    assert threshold(rendered["gpu"]) == "0.05"
    alone = template(*TRIES["gpu"], "--set", "worker.enabled=false")
    assert threshold(alone) == "0"
    assert not [each for each in pods(alone) if each.endswith("-worker")]


def test_one_frontend_keeps_telemetry_itself(rendered: dict[str, list[Document]]) -> None:
    """Without a Prometheus: a volume, the watcher beside it, workers that send to it."""
    found = pods(rendered["small"])
    frontend = found["exams-damoscope-frontend"]["spec"]
    assert [each["name"] for each in frontend["containers"]] == ["frontend", "watcher"]
    assert "exams-damoscope-watcher" not in found
    homes = {environment(each)["DAMOSCOPE_HOME"] for each in frontend["containers"]}
    assert len(homes) == 1
    deployment = find(rendered["small"], "Deployment", "exams-damoscope-frontend")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    worker = environment(found["exams-damoscope-worker"]["spec"]["containers"][0])
    assert worker["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://exams-damoscope:80/otlp"
    # Who scrapes the pods as well takes no metrics from it.
    scraped = pods(template(*SMALL, "--set", "metrics.podMonitor.enabled=true"))
    for pod in ("frontend", "worker"):
        given = environment(scraped[f"exams-damoscope-{pod}"]["spec"]["containers"][0])
        assert given["OTEL_METRICS_EXPORTER"] == "otlp,prometheus"


REFUSED = [
    (["--set", "redis.existingSecret=x,secrets.existingSecret=x"],
     "secrets.keysSecret: name a Secret with keys.json"),
    (["--set", "secrets.keysSecret=x,secrets.existingSecret=x"], "redis.existingSecret: name"),
    ([*SMALL, "--set", "frontend.replicas=2"], "frontend.replicas: several frontends cannot"),
    ([*TRIES["managed"], "--set", "secrets.existingSecret="], "session-secret"),
    ([*TRIES["managed"], "--set", "monitoring.jaegerUrl="], "monitoring.jaegerUrl"),
    ([*TRIES["managed"], "--set", "collector.tracesEndpoint="], "collector.tracesEndpoint"),
    ([*TRIES["managed"], "--set", "otlp.endpoint=http://x:4317"], "otlp.endpoint"),
    ([*TRIES["managed"], "--set", "worker.autoscaling.min=0"], "worker.autoscaling.min: without"),
    ([*TRIES["managed"], "--set", "worker.autoscaling.min=30"], "min is more than max"),
    ([*TRIES["managed"], "--set", "worker.autoscaling.trigger=redis"], "keda.redis.address"),
    ([*TRIES["managed"], "--set", "publicUrl="], "ingress.hosts"),
    ([*SMALL, "--set", "valkey.password=short"], "16 characters"),
    ([*SMALL, "--set", "valkey.password="], "valkey.password: set one"),
    ([*SMALL, "--set", "redis.existingSecret=x"], "there is a Redis already"),
    ([*SMALL, "--set", "settings.DAMOSCOPE_QUEUE_MAXX=1"], "DAMOSCOPE_QUEUE_MAXX"),
    ([*SMALL, "--set", "settings.DAMOSCOPE_REDIS_URL=redis://x"], "DAMOSCOPE_REDIS_URL"),
    ([*SMALL, "--set", "settings.DAMOSCOPE_NOTIFY=json://x"], "DAMOSCOPE_NOTIFY"),
    ([*SMALL, "--set", "settings.DAMOSCOPE_LOG_LEVEL=loud"], "DAMOSCOPE_LOG_LEVEL"),
    ([*SMALL, "--set", "workers.replicas=3"], "workers"),
    ([*SMALL, "--set", "worker.replicas=three"], "replicas"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_values_that_cannot_be_right(arguments: list[str], said: str) -> None:
    """Are refused before anything is installed, by a line that names the value."""
    assert said in refused(*arguments)


def test_names_of_any_length() -> None:
    """Fit into Kubernetes' 63 characters, and the release's name is not said twice."""
    for name in ("a" * 53, "damoscope"):
        for each in template(*SMALL, name=name):
            assert len(each["metadata"]["name"]) <= 63
    names = {each["metadata"]["name"] for each in template(*SMALL, name="damoscope")}
    assert "damoscope-worker" in names


def test_values_of_the_bundled_servers_are_those_of_compose() -> None:
    """The Collector of the chart is of the version that Compose has: all that is tested with it."""
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    assert values["collector"]["image"] in generated.collector_image()
    assert re.fullmatch(
        r"otel/opentelemetry-collector-contrib:[\d.]+", values["collector"]["image"]
    )
    assert PASSWORD
    assert generated.CHART in str(chart.CHART)
