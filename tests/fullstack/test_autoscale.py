"""deploy/autoscale.py: the line for cron that docs/full-stack.md has, and a real Prometheus."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import deque
from pathlib import Path

import pytest

from benchmarks.autoscaling import prometheus
from benchmarks.autoscaling.service import Service, Shift, arrivals
from tests.paths import ROOT
from tests.servers import free_port

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

#: Sixty images of 50 ms a second for ten minutes: three workers' work, of whom four have 0.8 of
#: their time.
WORK = (Shift(60, 0.0, 600.0),)
EXPORT_S = 5.0


def cron(folder: Path, url: str) -> str:
    """What it runs, of this checkout and with this Prometheus; `make` says what it is asked."""
    page = (ROOT / "docs" / "full-stack.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^\* \* \* \* \* (.+)$", page, re.MULTILINE)
    for documented, here in (("/srv/damoscope", str(ROOT)), ("http://localhost:9090", url)):
        assert documented in line
        line = line.replace(documented, here)
    make = folder / "make"
    make.write_text('#!/bin/sh\necho "$@"\n')
    make.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(
        line, shell=True, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    return done.stdout.strip() or done.stderr.strip()


@pytest.mark.parametrize(("rest_s", "workers"), [(0.0, 4), (120.0, 4), (600.0, 1)])
def test_as_many_as_there_is_work_for(rest_s: float, workers: int, tmp_path: Path) -> None:
    """And as many as before, until they had nothing to do for five minutes."""
    end = WORK[0].end_s + rest_s
    coming, service, base = deque(arrivals(WORK, 0.0, end, seed=1)), Service(0.0), time.time() - end
    service.scale(4, 0.0)
    port = free_port()
    with prometheus.running(tmp_path, port) as server:
        for step in range(1, round(end / EXPORT_S) + 1):
            until, images = step * EXPORT_S, []
            while coming and coming[0] < until:
                images.append(coming.popleft())
            service.run(images, until - EXPORT_S, until)
            figures = prometheus.Figures(base + until)
            figures.add("one", service)
            server.take(figures)
        assert cron(tmp_path, f"http://127.0.0.1:{port}") == f"scale WORKERS={workers}"


def test_without_an_answer_nothing_is_changed(tmp_path: Path) -> None:
    """Where Prometheus has heard of no frontend, and where it is away."""
    port = free_port()
    with prometheus.running(tmp_path, port):
        assert "nothing is changed" in cron(tmp_path, f"http://127.0.0.1:{port}")
    assert "Connection refused" in cron(tmp_path, f"http://127.0.0.1:{port}")
