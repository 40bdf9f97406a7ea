"""A real Prometheus that holds samples of a test's choosing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.monitoring.conftest import program, running
from tests.servers import free_port


def load(folder: Path, openmetrics: str) -> None:
    """Make a Prometheus's data of these samples, in the format of OpenMetrics."""
    (folder / "samples").write_text(openmetrics)
    (folder / "prometheus.yml").write_text("global: {}\n")
    make = [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", "samples", "data"]
    subprocess.run(make, cwd=folder, check=True, capture_output=True)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Run a Prometheus on what was loaded until the end of the block; its address."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data",
        "--storage.tsdb.retention.time=100y", f"--web.listen-address={address}",
    ]  # fmt: skip
    with running(command, folder, f"http://{address}/-/ready"):
        yield f"http://{address}"
