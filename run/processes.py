"""Programs that are kept running: started, started again when they die, stopped in order."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from math import inf
from pathlib import Path

from pipeline.errors import ConfigurationError
from run.environment import of_server
from run.health import Check, always
from run.listening import listening

log = logging.getLogger("damoscope")

#: Seconds between looks at the processes.
POLL_S = 0.1
#: Seconds before a dead process is started again; doubled each time, up to the second.
RESTART_S = (0.5, 60.0)
#: Seconds that a process has run, and those that it was ready, after which the first pause is the
#: next one again: what dies later than that does start.
RAN_WELL_S, READY_WELL_S = 10.0, 2.0
#: Seconds that a frontend takes to leave, beside the images in hand that it finishes first.
LEAVE_S = 4.0
#: Deaths of one process in a row after which we say that it does not start, and no longer wait for
#: its readiness.
START_TRIES = 3

#: Seconds that a program has left once everything is to stop at once.
HURRY_S = 1.0
#: Those that came since `stop_on_signals`.
_signals: list[int] = []

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Stopped(BaseException):
    """SIGINT, SIGTERM or SIGHUP came."""


def stop_on_signals() -> None:
    """From now on the first of these signals ends what a Supervisor does with Stopped. A further
    one, by which nothing may be left behind either, has everything stop at once.

    Only noted, and looked for between steps: an exception that comes anywhere comes in a destructor
    or a hook of fork, too, where Python drops it, and between a step and the note of it.
    """
    _signals.clear()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _: _signals.append(got))


def check_stopped() -> None:
    """Raise Stopped when a signal has come."""
    if _signals:
        raise Stopped


@dataclass(frozen=True)
class Program:
    """What to run, how to tell that it is ready, and how it is stopped."""

    name: str
    command: Sequence[str]
    #: All that is in its environment: nothing of ours is passed on.
    environment: Mapping[str, str] = field(default_factory=of_server)
    #: Asked again and again while it starts.
    ready: Check = always
    #: Programs stop in this order, those of one number together.
    stop_order: int = 0
    #: Seconds to end by itself after SIGTERM; then it and all that it started are killed.
    stop_timeout_s: float = 20.0
    #: Exit code with which it says that starting it again is no use.
    fatal_exit_code: int | None = None
    #: Host and port that it listens on, by sockets that we open: it is told their descriptors, each
    #: as `--fd`, and finds them again, with who waits there, when it is started again.
    listens: tuple[str, int] | None = None


class CannotStart(Exception):
    """A program died again and again, or said that it cannot work."""

    def __init__(self, process: Process, what: str = "does not start") -> None:
        said = f":\n{process.tail()}" if process.log else "; see above why"
        super().__init__(f"{process.program.name} {what}{said}")
        self.program = process.program
        self.exit_code = process.exit_code


class NotReady(CannotStart):
    """A program runs, and was not ready in time."""


class Process:
    """A program that runs, or has run.

    A session of its own: Ctrl-C reaches us alone, and we stop our programs in order. It ends when
    we end, whatever happens to us. What it prints goes to `log`, or to where we print.
    """

    def __init__(self, program: Program, logs: Path | None = None) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log" if logs else None
        #: How often it died by itself.
        self.deaths = 0
        #: How it died, while it does not start: once it has died so soon several times.
        self.problem = ""
        #: Seconds that it took to become ready, once it has.
        self.ready_after_s: float | None = None
        self._ready = False
        self._popen: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._delay_s = RESTART_S[0]
        #: Deaths in a row, each soon after its start.
        self._early = 0
        #: When to start it again, once it has died.
        self._due: float | None = None
        self._sockets: list[socket.socket] = []

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._popen.pid if self._popen and self._popen.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """Of a process that ended by itself, negative for a signal; None otherwise."""
        return self._popen.poll() if self._popen else None

    def start(self) -> None:
        """Start it; does not wait. Raises ConfigurationError when there is no such command, or
        where it shall listen somebody else does."""
        if self.program.listens and not self._sockets:
            self._sockets = listening(*self.program.listens)
        passed = [one.fileno() for one in self._sockets]
        output = self.log.open("ab") if self.log else None
        try:
            self._popen = subprocess.Popen(
                [*self.program.command, *(f"--fd={number}" for number in passed)],
                env=dict(self.program.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                start_new_session=True,
                pass_fds=passed,
                preexec_fn=_end_with(os.getpid()),
            )
        except OSError as error:
            raise ConfigurationError(f"{self.program.name} cannot be started: {error}") from error
        finally:
            if output:
                output.close()
        self._began, self._due, self._ready = time.monotonic(), None, False

    def look_after(self) -> None:
        """Start it again when it has died and its time has come. Raises CannotStart."""
        code, now = self.exit_code, time.monotonic()
        if code is None:
            if self._delay_s > RESTART_S[0] and self._runs_well(now):
                self._delay_s, self.problem, self._early = RESTART_S[0], "", 0
        elif self._due is None:
            self.deaths += 1
            self._early += 1
            # At the first start only: later on, a file that was edited stops nothing else.
            if code == self.program.fatal_exit_code and self.deaths == 1:
                raise CannotStart(self)
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            log.warning(
                "%s ended with %s; starting it again in %.1f s",
                self.program.name, how, self._delay_s,
            )  # fmt: skip
            if self._early >= START_TRIES:
                if not self.problem:
                    log.error(
                        "%s does not start: it ended %d times in a row; going on trying",
                        self.program.name, self._early,
                    )  # fmt: skip
                self.problem = f"{how}: {self._last_words()}" if self.log else how
            self._due = now + self._delay_s
            self._delay_s = min(self._delay_s * 2, RESTART_S[1])
        elif now >= self._due:
            self.start()

    def _runs_well(self, now: float) -> bool:
        ran_s = now - self._began
        if ran_s > RAN_WELL_S:
            return True
        return (
            self.program.ready is not always
            and self.is_ready()
            and (ran_s > (self.ready_after_s or 0.0) + READY_WELL_S)
        )

    def is_ready(self) -> bool:
        """Whether it runs and has said, since it was started, that it is ready."""
        if (pid := self.pid) is not None and not self._ready and self.program.ready(pid):
            self._ready = True
            self.ready_after_s = time.monotonic() - self._began
        return self.pid is not None and self._ready

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self._popen and self._popen.poll() is None:
            self._popen.send_signal(number)

    def stop(self) -> None:
        """SIGTERM, and an end to all that it started when it outlives its time."""
        self.signal(signal.SIGTERM)
        self.join()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the end that was asked for, and enforce it when time is up."""
        if self._popen is None:
            return
        left_s = self.program.stop_timeout_s if timeout_s is None else timeout_s
        ends, hurried = time.monotonic() + left_s, False
        while self._popen.poll() is None and time.monotonic() < ends:
            if len(_signals) > 1 and not hurried:
                hurried, ends = True, min(ends, time.monotonic() + HURRY_S)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(max(0.0, min(POLL_S, ends - time.monotonic())))
        if self._popen.poll() is None:
            log.warning("%s did not stop in time and is killed", self.program.name)
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
        self._popen = None
        for one in self._sockets:
            one.close()
        self._sockets = []

    def _last_words(self) -> str:
        return next((line for line in reversed(self.tail().splitlines()) if line.strip()), "")

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        if self.log is None or not self.log.exists():
            return "(no output)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Supervisor:
    """Keeps programs running. `processes` holds them by name, in the order of their start."""

    def __init__(self, logs: Path | None = None) -> None:
        self.processes: dict[str, Process] = {}
        self._logs = logs

    def start(self, *programs: Program) -> list[Process]:
        """Start programs together; does not wait. Raises Stopped."""
        started = []
        for program in programs:
            check_stopped()
            process = self.processes[program.name] = Process(program, self._logs)
            process.start()
            started.append(process)
        return started

    def look_after(self) -> None:
        """One look: start again what has died. Raises CannotStart, Stopped."""
        check_stopped()
        for process in self.processes.values():
            process.look_after()

    def wait_until_ready(self, timeout_s: float = inf, but: Collection[Process] = ()) -> None:
        """Keep all running until all are ready, or all but these. Raises CannotStart, Stopped, and
        NotReady when time is up."""
        ends = time.monotonic() + timeout_s
        awaited = [one for one in self.processes.values() if one not in but]
        for process in self.processes.values():
            process.deaths = 0
        while waiting := [one for one in awaited if not one.is_ready()]:
            self.look_after()
            for process in self.processes.values():
                if process.deaths >= START_TRIES:
                    raise CannotStart(process)
            if time.monotonic() > ends:
                raise NotReady(waiting[0], f"is not ready after {timeout_s:.0f} s")
            time.sleep(POLL_S)

    def keep_running(self, chores: Iterable[Callable[[], None]] = ()) -> None:
        """Until Stopped, or CannotStart; between looks at the processes `chores` are called."""
        while True:
            self.look_after()
            for chore in chores:
                chore()
            time.sleep(POLL_S)

    def stop(self, names: Iterable[str] | None = None) -> None:
        """Stop all, or these, in order, and keep them running no more."""
        stopping = [
            self.processes.pop(name) for name in list(self.processes if names is None else names)
        ]
        for _, group in groupby(sorted(stopping, key=_stop_order), _stop_order):
            together = list(group)
            for process in together:
                process.signal(signal.SIGTERM)
            began = time.monotonic()
            for process in together:
                waited_s = time.monotonic() - began
                process.join(max(0.0, process.program.stop_timeout_s - waited_s))


def _stop_order(process: Process) -> int:
    return process.program.stop_order


def _end_with(parent: int) -> Callable[[], None]:
    def follow() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before we could follow it
            os._exit(1)

    return follow
