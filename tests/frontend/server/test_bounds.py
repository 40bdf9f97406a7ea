"""Bounds follow from settings and from the limit of open files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.connection import FRONTEND_CONNECTIONS
from tests.paths import ROOT
from tests.servers import environment

PROGRAM = """
import resource
from frontend.server.bounds import bounds
from pipeline.settings import Settings
found = bounds(Settings(redis_url="redis://127.0.0.1:1"))
print(found.connections, found.connections_each, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def connections(limit: str, **env: str) -> list[int]:
    """Connections, those of one address, and the limit of open files once it was raised."""
    command = f"{limit}; exec \"{sys.executable}\" -c '{PROGRAM}'"
    answer = subprocess.run(
        ["bash", "-c", command], env=environment(env), cwd=ROOT, capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    return [int(each) for each in answer.stdout.split()]


@pytest.mark.parametrize("files", [256, 512])
def test_files_are_kept_for_everything_else(files: int) -> None:
    """For Redis' connections, and 64 more."""
    most, each, raised = connections(f"ulimit -n {files}")
    assert most == files - FRONTEND_CONNECTIONS - 64
    assert each == most // 2
    assert raised == files


def test_the_soft_limit_is_raised() -> None:
    """As far as it helps, and the hard one allows it."""
    most, _, raised = connections("ulimit -Sn 256")
    assert most == 1000
    assert raised == 1000 + FRONTEND_CONNECTIONS + 64


def test_a_very_low_limit_leaves_a_few(tmp_path: Path) -> None:
    """Enough to ask what is wrong."""
    assert connections("ulimit -n 100")[0] == 16
