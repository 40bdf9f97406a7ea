"""The tail-sampling overlay: errors, slow and unfinished images are kept, none is cut in half."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from run.stack.native import Stack
from run.stack.ports import Ports
from tests.run.stack.servers_api import Servers, agrees, eventually
from tests.run.stack.telemetry_source import FAILED_IMAGE, INVALID_IMAGE, Source

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

SPANS = 8
DECISION_S = 4.0
OVERLAY = "deploy/otel-collector.tail-sampling.yaml"
SHARE_PERCENT = 20


@pytest.fixture(scope="module")
def sampling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose collector samples, with a short decision time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAMPLING_DECISION_WAIT", f"{DECISION_S:.0f}s")
        patch.setenv("SAMPLING_SHARE_PERCENT", str(SHARE_PERCENT))
        home = tmp_path_factory.mktemp("sampling")
        with Stack(
            home, Ports.free(), overlay="deploy/otel-collector.tail-sampling.yaml"
        ) as running:
            yield running


def test_what_matters_is_kept_and_nothing_is_halved(sampling: Stack) -> None:
    """Whole traces only; all that failed, were slow or waited long; a share of the rest, and of
    those that are the client's fault no more than of others."""
    servers = Servers(sampling.ports)
    source = Source(f"http://127.0.0.1:{sampling.ports.otlp_http}")
    try:
        with source.begin() as (waiting, finish):
            source.flush()
            failed = source.send(10, error=FAILED_IMAGE).traces
            slow = source.send(10, slow_s=1.5).traces
            invalid = source.send(150, error=INVALID_IMAGE).traces
            ordinary = source.send(200).traces
            time.sleep(DECISION_S + 3)
            # Decided while it waited in the queue; its worker spans come only now.
            finish()
        source.flush()
        for trace_id in (*failed, *slow, waiting):
            eventually(lambda: len(servers.spans(trace_id)) == SPANS)  # noqa: B023 asked right here
        time.sleep(DECISION_S + 2)

        def whole(traces: list[str]) -> float:
            """The share that is there; 0 while one is there by half, as one may be on its way."""
            sizes = [len(servers.spans(trace_id)) for trace_id in traces]
            return sizes.count(SPANS) / len(sizes) if set(sizes) <= {0, SPANS} else 0

        # 150 at 20 %: four standard deviations are 13 %.
        share = pytest.approx(SHARE_PERCENT / 100, abs=0.14)
        agrees(lambda: whole(ordinary), share, timeout_s=120)
        agrees(lambda: whole(invalid), share, timeout_s=120)
        # Metrics and the Monitor tab's numbers count every image.
        images = len(ordinary) + len(invalid) + len(failed) + len(slow) + 1
        eventually(lambda: servers.value("sum(damoscope_requests_total)") == images)
        calls = 'traces_span_metrics_calls_total{span_name="process detections"}'
        eventually(lambda: servers.value(f"sum({calls})") == images)
    finally:
        source.close()
