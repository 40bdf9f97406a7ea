"""`damoscope load`: what the command does."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import uvloop

from pipeline.errors import ConfigurationError, DamoscopeError
from run.load import images as pictures
from run.load.clients import Load
from run.load.connection import Broken, HttpAnswer, Target, opened
from run.load.figures import Figures, figures
from run.load.plan import ArrivalRate, Goal, Plan
from run.load.progress import Progress
from run.load.record import named
from run.load.report import LoadReport
from run.load.search import best, search

#: Files that the process needs beside its connections.
FILES_BESIDE = 64
PROBE_S = 35.0


class NotReached(DamoscopeError):
    """The service cannot be reached."""


@dataclass(frozen=True)
class Wanted:
    """All that the command line said."""

    url: str
    plan: Plan
    images: Path | None
    goal: Goal | None
    key: str | None
    output: list[Path]
    params: str = ""


def run(wanted: Wanted) -> bool:
    """Whether any request was answered well. The report is printed, and written where asked."""
    for path in wanted.output:
        if path.suffix not in (".html", ".json"):
            raise ConfigurationError(f"{path}: a report is .html or .json")
        if not path.parent.is_dir():
            raise ConfigurationError(f"{path}: there is no folder {path.parent}")
    plan = _allowed(wanted.plan)
    target = Target.of(wanted.url)
    found = pictures.read(wanted.images)
    headers = {"authorization": f"Bearer {wanted.key}"} if wanted.key else {}
    query = "&".join(filter(None, (f"timeout={plan.timeout_s:g}", wanted.params)))
    requests = [target.request(each.data, each.kind, query, headers) for each in found]
    report = LoadReport(
        target=target.base, version=version("damoscope"), began=datetime.now(UTC),
        images=len(found), image_bytes=sum(len(each.data) for each in found),
        timeout_s=plan.timeout_s, open_loop=bool(plan.rate or wanted.goal), runs=[],
        goal=wanted.goal,
    )  # fmt: skip
    with uvloop_runner() as runner:
        runner.run(_probe(target, requests[0]))
        runner.run(_measure(report, target, requests, plan))
    if not report.runs:
        return False
    for path in wanted.output:
        path.write_text(
            report.as_html() if path.suffix == ".html" else report.as_json(), encoding="utf-8"
        )
    print(report.as_text())
    for path in wanted.output:
        print(f"written: {path}")
    return report.last.counts["ok"] > 0


def uvloop_runner() -> asyncio.Runner:
    """asyncio on libuv, which takes half of the CPU for many connections."""
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def _measure(report: LoadReport, target: Target, requests: list[bytes], plan: Plan) -> None:
    stopped: list[int] = []
    current: list[Load] = []

    def interrupt() -> None:
        if stopped:  # again: nothing is waited for any more
            for task in asyncio.all_tasks():
                task.cancel()
        stopped.append(1)
        for load in current:
            load.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)

    async def once(one: Plan, title: str) -> Figures:
        load = Load(target, requests, one)
        current[:] = [load]
        if stopped:
            load.stop()
        with Progress(load, title) as progress:
            shown = asyncio.create_task(progress.show())
            try:
                await load.run()
            finally:
                shown.cancel()
        return figures(load)

    if report.goal is None:
        report.runs = [await once(plan, "")]
    else:

        async def step(rate: float) -> Figures:
            return await once(replace(plan, rate=ArrivalRate(rate, rate)), f"{rate:,.1f}/s ")

        steps = await search(step, report.goal, lambda: bool(stopped))
        report.rates = [rate for rate, _ in steps]
        report.runs = [found for _, found in steps]
        highest = best(steps)
        report.found_rate = highest[0] if highest else None
    report.interrupted = bool(stopped)


async def _probe(target: Target, request: bytes) -> None:
    """One request, so that a wrong address or key is said at once. Raises NotReached."""
    try:
        connection = await opened(target, PROBE_S)
        async with asyncio.timeout(PROBE_S):
            answer = await connection.ask(request)
        connection.close()
    except (Broken, TimeoutError) as error:
        raise NotReached(f"{target.base} does not answer: {error or 'not in time'}") from error
    if wrong := _wrong(answer):
        raise NotReached(f"{target.base}: {wrong}")


def _wrong(answer: HttpAnswer) -> str:
    name, detail = named(answer)
    if answer.status in (401, 403):
        return f"{name}: {detail or 'no access'}; give a key with DAMOSCOPE_KEY or --key"
    if answer.status in (404, 405) or (answer.status == 200 and b'"detections"' not in answer.body):
        return "what answers there is not damoscope"
    if 300 <= answer.status < 400:
        where = answer.headers.get(b"location", b"").decode("latin-1")
        return f"it sends elsewhere ({name}: {where}): name that address"
    if 400 <= answer.status < 500 and answer.status not in (408, 429):
        return f"the first image is refused ({name}: {detail})"
    return ""


def _allowed(plan: Plan) -> Plan:
    """With room for the connections among this process's open files, or as many as there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(plan.connections, plan.clients)
    need = wanted + FILES_BESIDE
    if soft < need and soft != resource.RLIM_INFINITY:
        soft = need if hard == resource.RLIM_INFINITY else min(need, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < need:
            if plan.clients + FILES_BESIDE > soft:
                raise ConfigurationError(
                    f"{plan.clients} clients need {plan.clients + FILES_BESIDE} open files, and "
                    f"{soft} are allowed: raise ulimit -n"
                )
            wanted = soft - FILES_BESIDE
            print(
                f"damoscope: {wanted} connections at most: ulimit -n allows {soft} files",
                file=sys.stderr,
            )
    return replace(plan, connections=wanted)
