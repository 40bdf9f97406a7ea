"""Hosts of their own on one machine: network namespaces, joined by a bridge. Needs root."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Self
from uuid import uuid4

from tests.servers import Process

#: Set aside for tests of networks (RFC 2544); each network takes the third number at random.
SUBNET = "198.18.{}.{}"


class Network:
    """Named hosts, each with an address; this machine is one more, at `gateway`.

    Everything is made on `with` and taken away at its end, whatever happened between.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        token = uuid4().hex[:6]
        third = int(token[:2], 16)
        self._bridge = f"dsb{token}"
        self._namespaces = {host: f"damoscope-{token}-{host}" for host in hosts}
        self._links = {host: f"dsv{token}{number}" for number, host in enumerate(hosts)}
        self.gateway = SUBNET.format(third, 1)
        self.address = {host: SUBNET.format(third, n) for n, host in enumerate(hosts, start=2)}

    def __enter__(self) -> Self:
        try:
            _ip("link", "add", self._bridge, "type", "bridge")
            _ip("address", "add", f"{self.gateway}/24", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
            for host in self._namespaces:
                self._add(host)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def _add(self, host: str) -> None:
        namespace, link = self._namespaces[host], self._links[host]
        _ip("netns", "add", namespace)
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("link", "set", link, "master", self._bridge, "up")
        inside = ("-netns", namespace)
        _ip(*inside, "address", "add", f"{self.address[host]}/24", "dev", "eth0")
        _ip(*inside, "link", "set", "lo", "up")
        _ip(*inside, "link", "set", "eth0", "up")

    def _remove(self) -> None:
        for namespace in self._namespaces.values():
            _ip("netns", "delete", namespace, check=False)
        _ip("link", "delete", self._bridge, check=False)

    def command(self, host: str, command: Sequence[str]) -> list[str]:
        """The command as it runs on a host; its process id is that of the command itself."""
        return ["ip", "netns", "exec", self._namespaces[host], *command]

    def cut(self, host: str) -> None:
        """Pull the host's cable: nothing gets through, and nobody is told."""
        _ip("link", "set", self._links[host], "down")

    def mend(self, host: str) -> None:
        """Put the cable back."""
        _ip("link", "set", self._links[host], "up")


class Started:
    """Processes that are all stopped at the end, last first."""

    def __init__(self) -> None:
        self._processes: list[Process] = []

    def add(self, process: Process) -> Process:
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in reversed(self._processes):
            process.stop()


def _ip(*arguments: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"ip {' '.join(arguments)}: {done.stderr}"
