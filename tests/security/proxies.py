"""Real proxies with the configurations that docs/proxy.md gives, on free ports."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.servers import Process, eventually

DOC = ROOT / "docs" / "proxy.md"
#: Around what the documentation gives: a server in the foreground that writes nowhere else.
NGINX = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{sites}
}}
"""


def documented(language: str, heading: str = "") -> str:
    """The first block of a language in the documentation, after a heading."""
    text = DOC.read_text(encoding="utf-8")
    _, found, text = text.partition(f"## {heading}") if heading else ("", " ", text)
    assert found, heading
    (block, *_) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
    return str(block)


def replaced(text: str, *changes: tuple[str, str]) -> str:
    """The text with each change made, each of which must find its place."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def program(name: str) -> str:
    """Where a program is; skips the test where it is not, except in CI."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        reason = f"{name} is missing: install Debian's package `{name}`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody has signed, and its key."""
    folder.mkdir(parents=True, exist_ok=True)
    made, key = folder / "here.pem", folder / "here.key"
    subprocess.run(
        [
            program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key


def nginx(folder: Path, sites: str, *ports: int) -> Process:
    """nginx with these sites; it listens on these ports when this returns."""
    folder.mkdir(parents=True, exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(user=user, folder=folder, sites=sites), encoding="utf-8")
    return _listening([program("nginx"), "-p", str(folder), "-c", str(file)], folder, *ports)


def caddy(folder: Path, site: str, *ports: int) -> Process:
    """Caddy with this site."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "Caddyfile"
    file.write_text(f"{{\n    admin off\n}}\n{site}", encoding="utf-8")
    command = [program("caddy"), "run", "--config", str(file), "--adapter", "caddyfile"]
    return _listening(command, folder, *ports)


def _listening(command: list[str], folder: Path, *ports: int) -> Process:
    running = Process(command, folder, {"HOME": str(folder)})

    def look() -> bool:
        assert running.running, running.output
        for port in ports:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    return False
        return True

    try:
        eventually(look, f"{command[0]} on {ports}")
    except AssertionError:
        running.stop()
        raise
    return running
