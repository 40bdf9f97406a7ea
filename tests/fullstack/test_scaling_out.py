"""Workers on hosts of their own: they join, share the work, are cut off, and come back."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image
from redis import Redis
from rq import Worker

from pipeline.job import DetectionResult
from run.stack import servers as programs
from run.stack.native import Stack
from telemetry import catalogue
from tests.fullstack.network import Network, Started
from tests.fullstack.service import ARRIVAL_S, DETECT
from tests.integration import pictures
from tests.paths import ROOT
from tests.run.stack.servers_api import Servers
from tests.servers import Process, caught, eventually, run

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

PASSWORD = "a-password-of-this-test"
REDIS_PORT, FRONTEND_PORT = 6379, 7860
#: Prometheus tells the processes of this test by it: `job` is `<namespace>/<service.name>`.
NAMESPACE = "scaled-out"


class Hosts:
    """Redis and frontend on `front`, a worker on each of `left` and `right`."""

    def __init__(self, network: Network, started: Started, folder: Path, endpoint: str) -> None:
        self.network, self._started, self._folder = network, started, folder
        front = network.address["front"]
        self.redis_url = f"redis://:{PASSWORD}@{front}:{REDIS_PORT}/0"
        self.redis = Redis.from_url(self.redis_url)
        self.client = httpx.Client(
            base_url=f"http://{front}:{FRONTEND_PORT}", timeout=90, trust_env=False
        )
        self.workers: dict[str, Process] = {}
        self._environment = {
            "REDIS_URL": self.redis_url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_RESOURCE_ATTRIBUTES": f"service.namespace={NAMESPACE}",
            "DAMOSCOPE_PROVIDER": "cpu",
            "DAMOSCOPE_THREADS": "1",
        }

    def start(self, host: str, name: str, command: list[str], **environment: str) -> Process:
        return self._started.add(
            Process(self.network.command(host, command), self._folder / name, environment)
        )

    def start_front(self) -> None:
        """Redis, asking for a password, and the frontend; no worker yet."""
        data = self._folder / "redis-data"
        data.mkdir()
        self.start(
            "front",
            "redis",
            ["/bin/sh", str(ROOT / "deploy" / "docker" / "redis-start.sh")],
            REDIS_CONF=str(ROOT / "deploy" / "docker" / "redis.conf"),
            REDIS_BIND=self.network.address["front"],
            REDIS_DIR=str(data),
            REDIS_PASSWORD=PASSWORD,
        )
        self.frontend = self.start(
            "front",
            "frontend",
            [sys.executable, "-m", "run", "frontend"],
            **self._environment,
            DAMOSCOPE_HOST=self.network.address["front"],
            DAMOSCOPE_INSECURE="true",
            DAMOSCOPE_PORT=str(FRONTEND_PORT),
            DAMOSCOPE_HOME=str(self._folder / "home"),
        )
        eventually(self._answers, f"the frontend: {self.frontend.output}")

    def _answers(self) -> bool:
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def start_worker(self, host: str) -> Process:
        command = [sys.executable, "-m", "run", "worker"]
        process = self.start(host, host, command, **self._environment, DAMOSCOPE_BATCH_MAX="2")
        process.wait_for("ready:")
        self.workers[host] = process
        return process

    def detect(self, data: bytes) -> DetectionResult:
        answer = self.client.post(DETECT, content=data, headers={"content-type": "image/jpeg"},
                                  params={"timeout": 80})  # fmt: skip
        assert answer.status_code == 200, answer.text
        return DetectionResult.model_validate_json(answer.content)

    def ready(self) -> int:
        """Workers as /readyz counts them."""
        answer = self.client.get("/readyz")
        return int(answer.json()["workers"]) if answer.status_code == 200 else 0

    def name_at(self, host: str) -> str:
        """Name of the worker that connected from a host's address."""
        workers = Worker.all(connection=self.redis)
        found = {str(one.ip_address).rpartition(":")[0]: one.name for one in workers}
        return found[self.network.address[host]]

    def held(self, worker: str) -> int:
        """Images in a worker's hands."""
        return int(self.redis.scard(f"rq:worker:{worker}:executions"))

    def close(self) -> None:
        self.client.close()
        self.redis.close()


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("NOT PROVEN HERE: workers on several hosts; needs root for network namespaces")
    with Network(["front", "left", "right"]) as made:
        yield made


@pytest.fixture(scope="module")
def hosts(
    stack: Stack, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hosts]:
    """Redis and frontend run; the collector listens on all addresses, as in its container."""
    port = stack.ports.otlp_grpc
    usual = programs.collector(stack.layout)
    stack.processes["collector"].stop()
    open_to_all = {**usual.environment, "COLLECTOR_OTLP_GRPC": f"0.0.0.0:{port}"}
    stack.start(replace(usual, environment=open_to_all))
    started = Started()
    folder = tmp_path_factory.mktemp("hosts")
    running = Hosts(network, started, folder, f"http://{network.gateway}:{port}")
    try:
        running.start_front()
        yield running
    finally:
        running.close()
        started.close()
        stack.processes["collector"].stop()
        stack.start(usual)


@lru_cache(maxsize=1)
def slow() -> bytes:
    """Takes a few tenths of a second to decode: time enough to pull a cable."""
    buffer = io.BytesIO()
    Image.new("RGB", (4000, 4000), (40, 90, 120)).save(buffer, "PNG")
    return buffer.getvalue()


def test_workers_join(hosts: Hosts, stack: Stack) -> None:
    """Each new worker is seen by readiness, page, `rq info` and metrics, and takes its share."""
    assert hosts.client.get("/readyz").status_code == 503
    hosts.start_worker("left")
    eventually(lambda: hosts.ready() == 1, "the first worker to be ready")
    assert hosts.detect(pictures.phone()).worker == hosts.name_at("left")

    hosts.start_worker("right")
    eventually(lambda: hosts.ready() == 2, "the second worker to be ready")
    assert "2 workers ready" in hosts.client.get("/pages/status").json()["text"]
    workers = {hosts.name_at("left"), hosts.name_at("right")}
    info = run([sys.executable, "-m", "rq.cli", "info", "--raw", "--url", hosts.redis_url], ROOT)
    assert info.returncode == 0, info.stderr
    assert all(worker in info.stdout for worker in workers), info.stdout

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(hosts.detect, [pictures.phone()] * 24))
    assert {result.worker for result in results} == workers
    servers = Servers(stack.ports)
    job = f'job="{NAMESPACE}/{catalogue.SERVICE_FRONTEND}"'
    eventually(
        lambda: servers.value(f"sum(max by (state) (damoscope_workers{{{job}}}))") == 2,
        "both workers in Prometheus",
        ARRIVAL_S,
    )
    eventually(
        lambda: (
            {span["service"] for span in servers.spans(results[-1].trace_id)}
            == {catalogue.SERVICE_FRONTEND, catalogue.SERVICE_WORKER}
        ),
        "the trace of an image in Jaeger",
        ARRIVAL_S,
    )


def test_a_host_is_cut_off_and_comes_back(hosts: Hosts) -> None:
    """What it held is done by the other in time, each image once; back again, its late results
    change nothing, and it works on."""
    left, right = hosts.name_at("left"), hosts.name_at("right")
    replies = hosts.redis.pubsub(ignore_subscribe_messages=True)
    replies.psubscribe("damoscope:replies:*")
    replies.get_message(timeout=5)  # that it is subscribed
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(hosts.detect, slow()) for _ in range(8)]
        process = psutil.Process(hosts.workers["right"].pid)
        held = caught(process, lambda: hosts.held(right), "images in the host's hands")
        hosts.network.cut("right")
        process.resume()
        results = [one.result() for one in sent]
    assert [result.worker for result in results].count(left) >= held
    eventually(lambda: hosts.ready() == 1, "the host to be missed")
    assert "1 worker ready" in hosts.client.get("/pages/status").json()["text"]

    hosts.network.mend("right")
    eventually(lambda: hosts.ready() == 2, "the host to be back")
    eventually(lambda: "came too late" in hosts.workers["right"].output, "its late results")
    streams = [hosts.redis.xlen(f"rq:results:{result.job_id}") for result in results]
    assert streams == [1] * len(results)
    for result in results:
        state = hosts.client.get(f"/api/v1/jobs/{result.job_id}").json()
        assert state["result"]["worker"] == result.worker
    with ThreadPoolExecutor(8) as pool:
        more = eventually(lambda: _worked(hosts, pool, right), "the host to work again")
    answered = Counter[str]()
    while message := replies.get_message(timeout=0.5):
        answered[message["data"].partition(b" ")[0].decode()] += 1
    replies.close()
    assert {result.job_id for result in (*results, *more)} <= set(answered)
    assert set(answered.values()) == {1}


def _worked(hosts: Hosts, pool: ThreadPoolExecutor, worker: str) -> list[DetectionResult]:
    """Send some images; their results if this worker did one of them."""
    results = list(pool.map(hosts.detect, [pictures.phone()] * 8))
    return results if worker in {result.worker for result in results} else []
