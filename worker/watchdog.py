"""A worker's last resorts against what takes too long."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from typing import NoReturn

from worker.model.session import Detector

#: Seconds between looks.
LOOK_S = 1.0
#: A batch may take so many times the limit of a stage, and the seconds after that: each of its
#: stages has the limit for itself.
STAGES, GRACE_S = 3, 15.0


class Watchdog:
    """Stops an inference that takes too long, and ends a process that no longer moves.

    The latter is for what nobody foresaw. The process says where each of its threads is, and ends;
    its keeper starts it again, and what it had in hand is tried by others, alone, a few times.
    """

    def __init__(self, detector: Detector) -> None:
        #: Of the batch in hand.
        self.detector = detector
        #: Seconds that a batch may take.
        self.most_s = STAGES * detector.stage_limit_s + GRACE_S
        self._ends = threading.Event()
        #: When the batch in hand was begun.
        self.began_s: float | None = None
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Watch until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Watch no longer."""
        self._ends.set()
        self._thread.join(2 * LOOK_S)
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        while not self._ends.wait(min(LOOK_S, self.detector.stage_limit_s / 4)):
            self.detector.stop_overdue()
            began_s = self.began_s
            if began_s is None or time.monotonic() - began_s < self.most_s:
                # It needs no turn of Python's, which a stuck call may keep to itself.
                faulthandler.dump_traceback_later(self.most_s, exit=True)


def begin_anew() -> NoReturn:
    """Become this program from its start, which ends every thread of this process.

    Not left to a keeper, since a worker may have been started by hand.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
