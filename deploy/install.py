"""Install exactly what lock files name into an environment, and say how far it is.

    python3 deploy/install.py .venv requirements/cpu.txt requirements/build.txt

The environment is made when it is not there. Where uv is installed it does the rest, in seconds,
and shows how far it is. pip alone is silent for most of a minute: here packages are counted while
they are fetched, and again as they appear in the environment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path

#: Seconds between two lines where there is no terminal, and between two looks.
LINE_S, LOOK_S = 10.0, 0.2


class Progress:
    """One line that is written over on a terminal; elsewhere a new one now and then."""

    def __init__(self) -> None:
        self._rewritten = sys.stdout.isatty()
        self._said, self._text = time.monotonic(), ""

    def show(self, text: str) -> None:
        if text == self._text:
            return
        if self._rewritten:
            print(f"\r\033[K  {text}", end="", flush=True)
        elif time.monotonic() - self._said < LINE_S:
            return
        else:
            print(f"  {text}", flush=True)
        self._said, self._text = time.monotonic(), text

    def done(self, text: str) -> None:
        print(f"\r\033[K  {text}" if self._rewritten else f"  {text}", flush=True)


def install(python: Path, locks: list[str]) -> int:
    """Exit code. pip comes after a uv that could not: it may know of an index that uv does not."""
    wanted = [part for lock in locks for part in ("--requirement", lock)]
    if uv := shutil.which("uv"):
        command = [uv, "pip", "install", "--python", str(python), "--require-hashes", *wanted]
        if subprocess.run(command, check=False).returncode == 0:
            return 0
        print("uv could not; now with pip ...", flush=True)
    return _pip(python, wanted)


def _pip(python: Path, wanted: list[str]) -> int:
    """pip's exit code; what it says is shown when it fails."""
    pip = subprocess.Popen(
        [python, "-m", "pip", "install", "--disable-pip-version-check", "--require-hashes",
         "--progress-bar", "off", *wanted],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    progress, began, said = Progress(), time.monotonic(), []
    reader = threading.Thread(target=lambda: said.extend(pip.stdout or ()), daemon=True)
    reader.start()
    before = _installed(python)
    while pip.poll() is None:
        time.sleep(LOOK_S)
        fetched = [line.split()[1] for line in said if line.startswith("Collecting ")]
        if any(line.startswith("Installing collected") for line in said):
            progress.show(f"installed {_installed(python) - before} of {len(fetched)}")
        elif fetched:
            progress.show(f"fetching {len(fetched)}: {re.split('[=<>;[]', fetched[-1])[0]}")
    reader.join()
    if pip.returncode:
        print("".join(said[-30:]), file=sys.stderr)
    else:
        count, seconds = _installed(python) - before, time.monotonic() - began
        progress.done(f"{count} packages installed in {seconds:.0f} s")
    return pip.returncode


def _installed(python: Path) -> int:
    folders = python.parent.parent.glob("lib/python*/site-packages/*.dist-info")
    return sum(1 for _ in folders)


def main(environment: Path, *locks: str) -> int:
    """Exit code: pip's, or 2 where this Python cannot make environments."""
    if not (python := environment / "bin" / "python").exists():
        print(f"Making {environment} with Python {sys.version.split()[0]} ...", flush=True)
        try:
            venv.create(environment, with_pip=True, symlinks=True)
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"{error}\nOn Debian and Ubuntu: apt install python3-venv", file=sys.stderr)
            return 2
    print(f"Installing what {' and '.join(locks)} name into {environment} ...", flush=True)
    return install(python, list(locks))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
