"""What a record says: counts, rates and percentiles, of the whole run and over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from run.load.clients import Load
from run.load.plan import PERCENTILES, REQUESTS_MAX, Goal
from run.load.record import Record, kind

KINDS = ("ok", "invalid", "rejected", "failed", "timeout", "cancelled")
#: Steps that a run is drawn in at most.
STEPS_MAX = 120
#: Seconds of its own lateness from which the generator counts a second as one of its own.
LATE_S = 0.02
#: Share of what was due that may be missing before the generator is said to have been too slow.
SHORT = 0.99

Values = NDArray[np.float64]


def latency(values: Values) -> dict[str, float | None]:
    """Milliseconds: mean, exact percentiles (p50 and so on), max; None of no values."""
    names = ["mean", *(f"p{each:g}" for each in PERCENTILES), "max"]
    if not len(values):
        return dict.fromkeys(names)
    found = [values.mean(), *np.percentile(values, PERCENTILES), values.max()]
    return {name: round(float(value) * 1e3, 3) for name, value in zip(names, found, strict=True)}


@dataclass
class Figures:
    """One run, as JSON has it. Latencies in ms; times in seconds from the start of the run."""

    plan: str
    seconds: float
    requests: int
    counts: dict[str, int]
    due_per_s: float
    sent_per_s: float
    ok_per_s: float
    bytes_sent: int
    bytes_received: int
    latency_ms: dict[str, float | None]
    latency_ok_ms: dict[str, float | None]
    outcomes: list[dict[str, Any]]
    over_time: dict[str, Any]
    slowest: list[dict[str, Any]]
    generator: dict[str, Any]
    passed: bool | None = None
    limits: list[str] = field(default_factory=list)


def figures(load: Load) -> Figures:
    """Of a run that has ended. Latency counts from when a request was due, not from when it could
    be sent: a service that stands still is not excused by the requests that it kept from coming."""
    record, plan = load.record, load.plan
    seconds = max(load.sending_s, 1e-9)
    due, ended = _array(record.due), _array(record.ended)
    taken = ended - due
    kinds = np.array([KINDS.index(kind(name)) for name in record.names], dtype=np.int64)
    of = kinds[_numbers(record)] if len(record) else np.zeros(0, dtype=np.int64)
    is_ok = of == 0
    late = _array(record.late)
    stalled = {second for second, stall in load.stalls.items() if stall > LATE_S}
    late_seconds = stalled | {int(at) for at in due[late > LATE_S]}
    planned = plan.rate.expected(seconds) if plan.rate else float(len(record))
    told = Figures(
        plan=plan.described(),
        seconds=round(seconds, 3),
        requests=len(record),
        counts={name: int((of == number).sum()) for number, name in enumerate(KINDS)},
        due_per_s=round(planned / seconds, 3),
        sent_per_s=round(len(record) / seconds, 3),
        ok_per_s=round(float((is_ok & (ended <= seconds)).sum()) / seconds, 3),
        bytes_sent=record.bytes_sent,
        bytes_received=record.bytes_received,
        latency_ms=latency(taken),
        latency_ok_ms=latency(taken[is_ok]),
        outcomes=_outcomes(record, taken),
        over_time=_over_time(due, taken, of, seconds),
        slowest=[
            {
                "latency_ms": round(slow.latency_s * 1e3, 3), "due_s": round(slow.due_s, 3),
                "outcome": slow.outcome, "trace_id": slow.trace_id,
            }
            for slow in sorted(record.slowest, reverse=True)
        ],
        generator={
            "late_ms": latency(late) if plan.rate else None,
            "longest_stall_ms": round(max(load.stalls.values(), default=0.0) * 1e3, 3),
            "seconds_late": len(late_seconds),
            "seconds": len(load.stalls),
            "waited_for_connection": load.crowded,
        },
    )  # fmt: skip
    told.limits = _limits(told, load)
    return told


def keeps(found: Figures, goal: Goal) -> bool:
    """Whether a run keeps a goal: 99 of 100 answered well, and those within the latency; and
    requests were sent as they were due."""
    share = found.counts["ok"] / found.requests if found.requests else 0.0
    return share >= 0.99 and at_percentile(found, goal) <= goal.latency_s * 1e3


def at_percentile(found: Figures, goal: Goal) -> float:
    """The latency that the goal is about, in ms; infinite where nothing was answered."""
    value = found.latency_ok_ms.get(f"p{goal.percentile:g}")
    return float("inf") if value is None else value


def _array(values: Any) -> Values:
    return np.frombuffer(values, dtype=np.float64) if len(values) else np.zeros(0)


def _numbers(record: Record) -> NDArray[np.uint16]:
    return np.frombuffer(record.outcome, dtype=np.uint16)


def _outcomes(record: Record, taken: Values) -> list[dict[str, Any]]:
    rows = []
    for number, name in enumerate(record.names):
        mine = taken[_numbers(record) == number]
        rows.append({
            "outcome": name, "kind": kind(name), "requests": len(mine),
            "share": round(len(mine) / len(record), 6), "latency_ms": latency(mine),
            "detail": record.details[number],
        })  # fmt: skip
    return sorted(rows, key=lambda row: -row["requests"])


def _over_time(due: Values, taken: Values, of: NDArray[np.int64], seconds: float) -> dict[str, Any]:
    """By when requests were due. `step_s` is the length of a step."""
    step_s = next(
        s for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200)
        if seconds / s <= STEPS_MAX
    )  # fmt: skip
    steps = max(1, int(np.ceil(seconds / step_s)))
    at = np.minimum((due / step_s).astype(np.int64), steps - 1)
    counts = np.zeros((len(KINDS), steps), dtype=np.int64)
    np.add.at(counts, (of, at), 1)
    order = np.argsort(at, kind="stable")
    bounds = np.searchsorted(at[order], np.arange(steps + 1))
    by_step = [taken[order[a:b]] for a, b in pairwise(bounds)]
    percentiles = [np.percentile(each, (50, 95, 99)) if len(each) else None for each in by_step]
    return {
        "step_s": step_s,
        "requests": {name: counts[number].tolist() for number, name in enumerate(KINDS)},
        **{
            f"latency_{name}_ms": [
                None if each is None else round(float(each[i]) * 1e3, 3) for each in percentiles
            ]
            for i, name in enumerate(("p50", "p95", "p99"))
        },
    }


def _limits(found: Figures, load: Load) -> list[str]:
    """What the generator itself could not do, in sentences; none where it kept up."""
    said = []
    generator = found.generator
    if generator["seconds_late"]:
        stall, late = generator["longest_stall_ms"], generator["late_ms"] or {}
        worst = max(stall, late.get("max") or 0.0)
        said.append(
            f"In {generator['seconds_late']} of {generator['seconds']} seconds the generator "
            f"itself was more than {LATE_S * 1e3:.0f} ms late, at worst {worst:,.0f} ms: figures "
            "of those seconds contain its own delay. Run it on a machine of its own, or slower."
        )
    poisson = 3 * (found.due_per_s * found.seconds) ** 0.5  # what chance alone explains
    short = found.due_per_s * found.seconds * SHORT - poisson
    if load.plan.rate and found.requests < short and load.plan.requests > found.requests:
        said.append(
            f"The generator could not send faster: {found.sent_per_s:,.1f} of "
            f"{found.due_per_s:,.1f} requests a second."
        )
    if generator["waited_for_connection"]:
        said.append(
            f"{generator['waited_for_connection']:,} requests were due while all "
            f"{load.plan.connections:,} connections were in use, and waited for one; the wait is "
            "part of their latency. --connections allows more."
        )
    if found.requests >= REQUESTS_MAX:
        said.append(f"The run ended at {REQUESTS_MAX:,} requests, the most whose times are kept.")
    return said
