"""What is built of deploy/docker, and that a photograph goes through it: `make test-images`."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from run.stack.binaries import locate
from tests.images import engine
from tests.images.engine import Container
from tests.paths import ROOT
from tests.run.stack import compose
from tests.servers import PATIENCE_S, Process, free_port

pytestmark = [pytest.mark.images, pytest.mark.timeout(3600)]

USER = 10001
HOST = "127.0.0.1"
PASSWORD = "0123456789abcdef"
CONFIG = "/etc/otelcol/otel-collector.yaml"
#: What each must be able to import, and what only others have.
HAS = {
    "frontend": (["frontend.main", "gradio"], ["onnxruntime", "onnx", "cv2"]),
    "worker": (["worker.main", "onnxruntime"], ["gradio", "pandas", "apprise", "fastapi"]),
}
#: How docs/full-stack.md calls them.
ROWS = {"frontend": "frontend, watcher", "worker": "worker"}


@dataclass
class Stack:
    """Containers of one network with a Redis of this machine, as Compose starts them."""

    folder: Path
    ports: dict[str, int] = field(
        default_factory=lambda: {
            name: free_port()
            for name in ("frontend", "redis", "grpc", "http", "health", "metrics", "telemetry")
        }
    )
    containers: dict[str, Container] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    key: str = ""

    def environment(self, service: str) -> dict[str, str]:
        """Compose's, with addresses on this machine; no Prometheus and Jaeger are there to ask."""
        given = compose.load({"REDIS_PASSWORD": PASSWORD})["services"][service]["environment"]
        absent = ("DAMOSCOPE_PROMETHEUS_URL", "DAMOSCOPE_JAEGER_URL", "DAMOSCOPE_JAEGER_UI_URL",
                  "DAMOSCOPE_WEBHOOK_TOKEN_FILE", "DAMOSCOPE_NOTIFY_FILE",
                  "DAMOSCOPE_MODEL")  # fmt: skip
        ports = self.ports
        ours = {
            "REDIS_URL": f"redis://:{PASSWORD}@{HOST}:{ports['redis']}/0",
            "DAMOSCOPE_PORT": str(ports["frontend"]),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{ports['grpc']}",
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        }
        kept = {name: str(value) for name, value in given.items() if name not in absent}
        return kept | {name: ours[name] for name in ours if name in given or "INTERVAL" in name}

    def open(self, service: str, image: str, **env: str) -> Container:
        self.containers[service] = Container(image, self.folder / service, **env)
        return self.containers[service]

    def start(self, service: str, *command: str) -> Process:
        self.processes[service] = self.containers[service].start(*command)
        return self.processes[service]

    def answers(self, path: str, port: str = "frontend") -> bool:
        try:
            return httpx.get(f"http://{HOST}:{self.ports[port]}{path}", timeout=5).is_success
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def images() -> dict[str, str]:
    """Built by the repository's Dockerfiles."""
    base = engine.base()
    return {
        **{part: engine.build(part, PYTHON_IMAGE=base) for part in HAS},
        "collector": engine.build(
            "collector",
            COLLECTOR_IMAGE=engine.collector_base(Path(locate(ROOT)["collector"])),
        ),
    }


@pytest.fixture(scope="module")
def stack(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All of them, up."""
    running = Stack(tmp_path_factory.mktemp("stack"))
    with ExitStack() as ending:
        ending.enter_context(redis(running))
        ending.callback(_remove, running)
        start_collector(running, images["collector"])
        for service in ("frontend", "watcher", "worker"):
            running.open(
                service,
                images["worker" if service == "worker" else "frontend"],
                **running.environment(service),
            )
            if service == "frontend":  # lets nobody in before there is a key, as `make up` knows
                running.key = key(running.containers[service])
            command = compose.load({"REDIS_PASSWORD": PASSWORD})["services"][service].get("command")
            running.start(service, *(command or ()))
        front = running.processes["frontend"]
        front.until(lambda: running.answers("/readyz"), "a frontend and a worker that are ready")
        yield running


def key(frontend: Container) -> str:
    """The first, made in the container's own data folder."""
    said = frontend.run("damoscope", "keys", "add", "owner", "--role", "admin", "--first")
    found = re.search(r"^ {4}(\S+)$", said, re.MULTILINE)
    assert found, said
    return found[1]


def redis(at: Stack) -> Process:
    """As its container starts it."""
    folder = at.folder / "redis"
    return Process(
        ["/bin/sh", str(ROOT / "deploy" / "docker" / "redis-start.sh")], folder,
        {"REDIS_CONF": str(ROOT / "deploy" / "docker" / "redis.conf"), "REDIS_BIND": HOST,
         "REDIS_PORT": str(at.ports["redis"]), "REDIS_DIR": str(folder),
         "REDIS_PASSWORD": PASSWORD},
    )  # fmt: skip


def start_collector(at: Stack, image: str) -> None:
    ports = at.ports
    opened = at.open(
        "collector", image,
        COLLECTOR_OTLP_GRPC=f"{HOST}:{ports['grpc']}",
        COLLECTOR_OTLP_HTTP=f"{HOST}:{ports['http']}", COLLECTOR_HEALTH=f"{HOST}:{ports['health']}",
        COLLECTOR_METRICS=f"{HOST}:{ports['metrics']}", COLLECTOR_TELEMETRY_HOST=HOST,
        COLLECTOR_TELEMETRY_PORT=str(ports["telemetry"]),
    )  # fmt: skip
    target = opened.root / CONFIG.lstrip("/")
    target.parent.mkdir(parents=True)
    shutil.copy(ROOT / "otel-collector.yaml", target)
    process = at.start("collector", f"--config={CONFIG}")
    process.until(lambda: at.answers("/", "health"), "a Collector that is ready")


def _remove(at: Stack) -> None:
    for process in reversed(at.processes.values()):
        process.stop()
    for container in at.containers.values():
        container.remove()


@pytest.mark.parametrize("part", HAS)
def test_each_has_what_it_needs(stack: Stack, part: str) -> None:
    """And neither what only the other needs, nor what only a build does, nor others' tests."""
    container = stack.containers[part]
    needed, others = HAS[part]
    container.run("python", "-c", f"import {', '.join(needed)}")
    absent = [*others, "pip"]
    asked = f"import importlib.util as u; print([n for n in {absent} if u.find_spec(n)])"
    assert container.run("/opt/venv/bin/python", "-c", asked) == "[]"
    venv = container.root / "opt" / "venv"
    assert not [path for path in venv.rglob("tests") if path.is_dir()]
    assert not (container.root / "src").exists()


@pytest.mark.parametrize("part", HAS)
def test_sizes(stack: Stack, part: str) -> None:
    """Are as docs/full-stack.md says, within a twentieth."""
    page = (ROOT / "docs" / "full-stack.md").read_text(encoding="utf-8")
    told = re.search(rf"^\| {ROWS[part]} \|.*?\| (\d+) MB \|", page, re.MULTILINE)
    assert told
    found = stack.containers[part].megabytes("/opt/venv")
    print(f"{part}: {found:.0f} MB")
    assert found == pytest.approx(float(told[1]), rel=0.05)


@pytest.mark.parametrize("service", ["frontend", "watcher", "worker", "collector"])
def test_none_is_root(stack: Stack, service: str) -> None:
    """Each process has one user, with no capability and no say over its program."""
    container, process = stack.containers[service], stack.processes[service]
    assert container.config["User"] == f"{USER}:{USER}"
    pid = engine.inner(process, USER).pid
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    if service != "collector":  # whose released image has no shell
        programs = container.run("find", "/opt/venv", "-writable", "!", "-type", "l")
        assert programs == ""


def test_health(stack: Stack) -> None:
    """The checks of the images, and Compose's of the watcher, say that all is well."""
    for service in ("frontend", "worker"):
        process = stack.processes[service]
        process.until(stack.containers[service].healthy, f"a healthy {service}")
    watcher = compose.load({"REDIS_PASSWORD": PASSWORD})["services"]["watcher"]["healthcheck"]
    check = watcher["test"][1].replace("$$", "$")
    stack.processes["watcher"].until(
        lambda: stack.containers["watcher"].succeeds("/bin/sh", "-c", check), "a healthy watcher"
    )


def test_a_photograph(stack: Stack) -> None:
    """Gets its answer, and the Collector hears of it from both sides."""
    url = f"http://{HOST}:{stack.ports['frontend']}/api/v1/detect"
    photo = (ROOT / "examples" / "hand.jpg").read_bytes()
    jpeg = {"content-type": "image/jpeg"}
    process = stack.processes["frontend"]
    assert httpx.post(url, content=photo, headers=jpeg).status_code == 401
    known = {**jpeg, "x-api-key": stack.key}
    answer = httpx.post(url, content=photo, headers=known, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    assert answer.json()["detections"]

    def counted() -> bool:
        text = httpx.get(f"http://{HOST}:{stack.ports['metrics']}/metrics").text
        return all(
            re.search(rf"^{name}{{[^}}]*}} [1-9]", text, re.MULTILINE)
            for name in ("damoscope_requests_total", "damoscope_batch_size_count")
        )

    process.until(counted, "metrics of frontend and worker")


@pytest.mark.parametrize("service", ["worker", "watcher", "frontend", "collector"])
def test_they_end_when_asked(stack: Stack, service: str) -> None:
    """By the signal that the image names, with exit code 0: the last test, for they are gone."""
    process = stack.processes[service]
    number = signal.Signals[stack.containers[service].config.get("StopSignal") or "SIGTERM"]
    engine.inner(process).send_signal(number)
    assert process.wait() == 0, process.output
