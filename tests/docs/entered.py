"""`python -m tests.docs.entered FILE COMMAND...`: run damoscope and tell what it entered.

Each SIGUSR2 appends to FILE, as a line of JSON, the functions of the product that were entered
since the last one, as `path:qualified name`.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = tuple(
    f"{ROOT / part}/" for part in ("pipeline", "telemetry", "worker", "frontend", "run")
)


def main() -> None:
    target = Path(sys.argv[1])
    entered: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            entered.add(frame.f_code)

    def tell(*_: object) -> None:
        codes = [code for code in list(entered) if code.co_filename.startswith(PRODUCT)]
        entered.clear()
        names = {f"{Path(c.co_filename).relative_to(ROOT)}:{c.co_qualname}" for c in codes}
        with target.open("a") as lines:
            lines.write(json.dumps(sorted(names)) + "\n")

    signal.signal(signal.SIGUSR2, tell)
    threading.setprofile(note)
    sys.setprofile(note)
    sys.argv = ["damoscope", *sys.argv[2:]]
    from run.cli import main as damoscope

    damoscope()


if __name__ == "__main__":
    main()
