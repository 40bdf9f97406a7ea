"""A running service that asks who one is, with a key of each role."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Self

import httpx

from tests.paths import ROOT
from tests.servers import Service, damoscope, eventually

JPEG = {"content-type": "image/jpeg"}
WEBHOOK_TOKEN = "the-token-of-alertmanager"
IMAGE = (ROOT / "examples" / "desk.jpg").read_bytes()
#: Names of keys -> roles.
KEYS = {
    "camera-1": ["detect"], "camera-2": ["detect"], "board": ["read"], "owner": ["admin"],
    "考场-3": ["detect", "read"],
}  # fmt: skip


def make_key(home: Path, name: str, *roles: str, **options: str) -> str:
    """`damoscope keys add`, and the key that it prints."""
    words = [word for role in roles for word in ("--role", role)]
    words += [word for option, value in options.items() for word in (f"--{option}", value)]
    ended = keys(home, "add", name, *words)
    assert ended.returncode == 0, ended.stderr
    (secret,) = (line.strip() for line in ended.stdout.splitlines() if "damo_" in line)
    return secret


def keys(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of `damoscope keys`."""
    return damoscope("keys", *words, folder=home, DAMOSCOPE_HOME=str(home))


def ready(service: Service, patience_s: float = 300.0) -> Service:
    """Wait until it is, also where many services start at the same time."""
    said = "damoscope: ready after"
    eventually(lambda: said in service.output or not service.running, said, patience_s)
    assert said in service.output, service.output
    return service


class Guarded(Service):
    """`damoscope up` that has keys from its start."""

    def __init__(self, home: Path, **env: str) -> None:
        home.mkdir(parents=True)
        self.keys = {name: make_key(home, name, *roles) for name, roles in KEYS.items()}
        super().__init__(home, pages=True, DAMOSCOPE_WEBHOOK_TOKEN=WEBHOOK_TOKEN, **env)

    def wait_until_ready(self) -> Self:
        """With more patience: it may start while other services do."""
        ready(self)
        return self

    def bearer(self, name: str) -> dict[str, str]:
        """The header that a key is sent in."""
        return {"authorization": f"Bearer {self.keys[name]}"}

    def as_(self, name: str) -> httpx.Client:
        """A client that sends a key."""
        return httpx.Client(
            base_url=self.url, timeout=60, trust_env=False, headers=self.bearer(name)
        )

    def trace(self, trace_id: str, count: int) -> list[dict[str, Any]]:
        """The spans of a trace, once there are so many."""
        with self.as_("board") as reader:

            def look() -> list[dict[str, Any]]:
                answer = reader.get(f"/api/v1/traces/{trace_id}")
                found: list[dict[str, Any]] = answer.json() if answer.status_code == 200 else []
                return found if len(found) >= count else []

            return eventually(look, f"{count} spans of {trace_id}")
