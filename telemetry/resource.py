"""Who makes the telemetry of this process: the attributes of everything that it sends."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import uuid4

from opentelemetry.sdk.resources import OTELResourceDetector, Resource


def release() -> str:
    """The version of damoscope; 0 when it runs from files that nobody has installed."""
    try:
        return version("damoscope")
    except PackageNotFoundError:
        return "0"


def of_this_process(service: str) -> Resource:
    """The resource of this process. What the user's `OTEL_` variables say wins."""
    ours = Resource.create(
        {
            "service.name": service,
            "service.version": release(),
            "service.instance.id": str(uuid4()),
            "host.id": host_id(),
            "host.name": platform.node(),
            "process.pid": os.getpid(),
        }
    )
    return ours.merge(OTELResourceDetector().detect())


def host_id() -> str:
    """A stable id of this host that does not give away the machine id it is made from."""
    try:
        seed = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        seed = ""
    # A container without a machine id is a host of its own: its name is its id.
    return hashlib.sha256((seed or platform.node()).encode()).hexdigest()[:32]
