"""Whether the locks can be installed on every Python and machine that the project names.

    python3 deploy/check_locks.py

uv fetches the wheels of each platform, checks their hashes and unpacks them into a folder that is
thrown away; nothing of another platform runs. Of the GPU's locks, gigabytes each, only the presence
of wheels is checked. The parts' locks name a part of these packages, of the same versions.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = Path(__file__).resolve().parents[1] / "requirements"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
#: Lock, platform, and what only looks.
CHECKS = (
    ("cpu", "x86_64-manylinux_2_28", ()),
    ("cpu", "aarch64-manylinux_2_28", ()),
    ("gpu", "x86_64-manylinux_2_28", ("--dry-run",)),
    ("gpu", "aarch64-manylinux_2_34", ("--dry-run",)),
)


def check(lock: str, platform: str, options: tuple[str, ...], python: str) -> str:
    """What uv says against it; nothing when all can be installed."""
    with tempfile.TemporaryDirectory() as folder:
        answer = subprocess.run(
            ["uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes",
             "--only-binary", ":all:", "--target", folder, "--python-platform", platform,
             "--python-version", python, *options, "--requirement", str(LOCKS / f"{lock}.txt")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    return answer.stderr.strip() if answer.returncode else ""


def main() -> int:
    """Exit code 0 when every lock can be installed everywhere."""
    failed = False
    for lock, platform, options in CHECKS:
        for python in PYTHONS:
            said = check(lock, platform, options, python)
            failed |= bool(said)
            how = "wheels are there" if options else "wheels fetched, hashes right"
            print(f"{lock:<4} {platform:<24} Python {python:<5} {said or how}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
