"""What became of each request. Exact times of all of them, in 34 bytes each; no buckets."""

from __future__ import annotations

import heapq
import re
from array import array
from dataclasses import dataclass, field

from run.load.connection import HttpAnswer

#: Requests that are named as the slowest.
SLOWEST = 10
#: Outcomes that are told apart; a server that invents more has the rest counted together.
OUTCOMES_MAX = 40
OTHER = "other"
HUNG_UP = "hung up"
NO_ANSWER = "no answer in time"

_CODE = re.compile(rb'"type"\s*:\s*"urn:damoscope:([a-z_]{1,40})"')
_DETAIL = re.compile(rb'"detail"\s*:\s*"((?:[^"\\]|\\.){1,300})')


@dataclass(order=True)
class Slow:
    """One of the slowest. Seconds; `due_s` from the start of the run."""

    latency_s: float
    due_s: float
    outcome: str
    trace_id: str


@dataclass
class Record:
    """Times are seconds from the start of the run. `due` is when a request was meant to be sent,
    `sent` when it was, `late` how late the generator itself woke up for it."""

    due: array[float] = field(default_factory=lambda: array("d"))
    sent: array[float] = field(default_factory=lambda: array("d"))
    ended: array[float] = field(default_factory=lambda: array("d"))
    late: array[float] = field(default_factory=lambda: array("d"))
    outcome: array[int] = field(default_factory=lambda: array("H"))
    #: By the numbers in `outcome`; with the first explanation that came with each.
    names: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    bytes_sent: int = 0
    bytes_received: int = 0
    slowest: list[Slow] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.due)

    def add(
        self, name: str, due: float, sent: float, ended: float, *,
        late: float = 0.0, trace_id: str = "", detail: str = "",
    ) -> None:  # fmt: skip
        """One request that has ended, in whatever way."""
        number = self._numbers.get(name)
        if number is None:
            if len(self.names) >= OUTCOMES_MAX and name != OTHER:
                return self.add(
                    OTHER, due, sent, ended, late=late, trace_id=trace_id, detail=detail
                )
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
            self.details.append(detail)
        self.due.append(due)
        self.sent.append(sent)
        self.ended.append(ended)
        self.late.append(late)
        self.outcome.append(number)
        slow = Slow(ended - due, due, name, trace_id)
        if len(self.slowest) < SLOWEST:
            heapq.heappush(self.slowest, slow)
        elif slow.latency_s > self.slowest[0].latency_s:
            heapq.heapreplace(self.slowest, slow)
        return None


def named(answer: HttpAnswer) -> tuple[str, str]:
    """An answer's status with the code of its problem document, and what that says."""
    if answer.status < 400:
        return str(answer.status), ""
    code, detail = _CODE.search(answer.body), _DETAIL.search(answer.body)
    name = f"{answer.status} {code[1].decode()}" if code else str(answer.status)
    return name, detail[1].decode(errors="replace") if detail else ""


def kind(name: str) -> str:
    """One of the service's outcomes: ok, invalid, rejected, failed, timeout, cancelled."""
    if name == HUNG_UP:
        return "cancelled"
    if name == NO_ANSWER:
        return "timeout"
    status = int(name[:3]) if name[:3].isdigit() else 0
    if 200 <= status < 300:
        return "ok"
    if status in (429, 503):
        return "rejected"
    if 400 <= status <= 422:
        return "timeout" if status == 408 else "invalid"
    return "timeout" if status == 504 else "failed"
