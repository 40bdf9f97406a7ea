"""Several Collectors that sample together, by real ones: no trace is cut in half."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.request import urlopen

import pytest

from run.processes import Program, Supervisor
from run.stack.binaries import locate
from run.stack.native import ROOT
from run.stack.ports import HOST, Ports, free_port
from run.stack.servers import Layout, collector, jaeger
from tests.run.stack.servers_api import Servers, agrees, eventually
from tests.run.stack.telemetry_source import FAILED_IMAGE, Source
from tests.run.stack.test_collector import scraped

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

SPANS = 8
SHARE_PERCENT = 30


@dataclass
class Peers:
    """Two Collectors before one Jaeger."""

    ports: list[Ports]
    programs: list[Program]
    supervisor: Supervisor

    @property
    def servers(self) -> Servers:
        return Servers(self.ports[0])

    def source(self, frontend: int, worker: int) -> Source:
        """Frontend and worker, each sending to the Collector of a number."""
        of = [f"http://{HOST}:{ports.otlp_http}" for ports in self.ports]
        return Source(of[frontend], of[worker])


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    folder = tmp_path_factory.mktemp("peers")
    first = Ports.free()
    ports = [first, replace(Ports.free(), jaeger_otlp_http=first.jaeger_otlp_http)]
    listening = [f"{HOST}:{free_port()}" for _ in ports]
    layouts = [
        Layout(ROOT, folder / str(number), each, locate(ROOT), "secret",
               "deploy/otel-collector.tail-sampling.yaml")
        for number, each in enumerate(ports)
    ]  # fmt: skip
    programs = [
        sampling(collector(layout), f"collector-{number}", listening, number)
        for number, layout in enumerate(layouts)
    ]
    logs = folder / "logs"
    logs.mkdir()
    supervisor = Supervisor(logs)
    try:
        supervisor.start(jaeger(layouts[0]), *programs)
        supervisor.wait_until_ready(120)
        yield Peers(ports, programs, supervisor)
    finally:
        supervisor.stop()


def sampling(program: Program, name: str, listening: list[str], number: int) -> Program:
    """A Collector with the overlay of several."""
    told = {
        "COLLECTOR_PEERS": f"[{', '.join(listening)}]",
        "COLLECTOR_PEER_GRPC": listening[number],
        "SAMPLING_DECISION_WAIT": "4s",
        "SAMPLING_SHARE_PERCENT": str(SHARE_PERCENT),
    }
    return replace(
        program,
        name=name,
        command=[*program.command, f"--config={ROOT / 'deploy' / 'otel-collector.peers.yaml'}"],
        environment={**program.environment, **told},
    )


def test_no_trace_is_cut(peers: Peers) -> None:
    """A frontend and a worker that send to different Collectors: each trace is there whole or not
    at all, what matters always; both Collectors decide, and every image is counted once."""
    source = peers.source(frontend=0, worker=1)
    try:
        failed = source.send(20, error=FAILED_IMAGE).traces
        ordinary = source.send(200).traces
        source.flush()
    finally:
        source.close()
    for trace_id in failed:
        eventually(lambda: len(peers.servers.spans(trace_id)) == SPANS)  # noqa: B023 asked right here

    def share() -> float:
        """Of what is there; 0 while one is there by half, as one may be on its way."""
        sizes = [len(peers.servers.spans(trace_id)) for trace_id in ordinary]
        return sizes.count(SPANS) / len(sizes) if set(sizes) <= {0, SPANS} else 0

    # 200 at 30 %: three standard deviations are 10 %.
    agrees(share, pytest.approx(SHARE_PERCENT / 100, abs=0.11), timeout_s=120)
    for each in peers.ports:
        assert traces_decided(each) > 0
    images = len(failed) + len(ordinary)
    agrees(lambda: sum(processed(each) for each in peers.ports), images)


def test_a_peer_that_is_away_is_waited_for(peers: Peers) -> None:
    """What it is to decide about is kept until it is there again."""
    away = peers.programs[1]
    before = traces_decided(peers.ports[0])
    peers.supervisor.stop({away.name})
    source = peers.source(frontend=0, worker=0)
    try:
        failed = source.send(40, error=FAILED_IMAGE).traces
        source.flush()
    finally:
        source.close()
    # Half of them are the other's, the rest is not kept waiting by that.
    eventually(lambda: traces_decided(peers.ports[0]) > before)
    assert any(not peers.servers.spans(trace_id) for trace_id in failed)
    peers.supervisor.start(away)
    for trace_id in failed:
        eventually(lambda: len(peers.servers.spans(trace_id)) == SPANS, 300)  # noqa: B023 asked right here


def processed(ports: Ports) -> float:
    """Images that came in here, by the span metrics."""
    name, span = "traces_span_metrics_calls_total", "process detections"
    found = scraped(ports).items()
    return sum(value for (each, labels), value in found
               if each == name and ("span_name", span) in labels)  # fmt: skip


def traces_decided(ports: Ports) -> int:
    """Of how many traces spans have come here to be sampled."""
    with urlopen(f"http://{HOST}:{ports.collector_telemetry}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(
        r"^otelcol_processor_tail_sampling_new_trace_id_received\S* (\d+)", text, re.M
    )
    return int(found[1]) if found else 0
