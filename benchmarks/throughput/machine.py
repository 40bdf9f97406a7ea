"""What the figures were measured on and with."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "opencv-python-headless",
            "numpy", "redis", "rq", "fastapi", "uvicorn")  # fmt: skip


def describe() -> dict[str, str]:
    """Cores, CPU, memory and versions, as a person reads them."""
    return {
        "machine": f"{len(os.sched_getaffinity(0))} cores of {_cpu()}, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB of memory",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}, "
        f"Python {platform.python_version()}",
        "versions": ", ".join(_versions()),
    }


def now() -> dict[str, str]:
    """The moment and how busy the machine is."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return {"when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "load": load}


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found
