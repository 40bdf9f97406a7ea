"""A day under the chart's scaling rule: `python -m benchmarks.autoscaling`.

A hundred cameras are switched on at once. Their images, the queue and the workers are simulated
(service.py), and the steps of KEDA and of the HorizontalPodAutoscaler (rule.py). What is asked,
and how fast may be scaled, is what the chart renders; the query is answered by a real Prometheus,
which is told what the simulated services measure. Needs Helm, which `make test-kube` builds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.autoscaling import page, prometheus
from benchmarks.autoscaling.figures import Outcome, outcome
from benchmarks.autoscaling.rule import SYNC_S, Autoscaler
from benchmarks.autoscaling.service import DAY, HOUR, Service, arrivals
from tests.kube.chart import TRIES, find, template
from tests.servers import free_port

#: How often exports come, as shipped.
EXPORT_S = 5.0
#: From a pod's creation until its worker takes images: on a node that is there, and on one that has
#: to be brought up first. Assumed; measure yours.
THERE_S, NEW_NODE_S = 30.0, 150.0
#: Before nine, in which the values' own example of known times has its workers come.
EARLY_S = 600.0


@dataclass
class Run:
    """One way to scale, over the day."""

    title: str
    service: Service
    rule: Autoscaler | None = None
    #: Of the chart's Prometheus trigger; else the queue's length is what counts.
    query: str = ""
    target: float = 0.0
    #: (from, to, fewest)
    cron: tuple[float, float, int] = (0.0, 0.0, 0)

    def step(self, server: prometheus.Server, base: float, now: float) -> None:
        """What is done every 15 s."""
        if self.rule is None:
            return
        current = len(self.service.workers)
        if self.query:
            values = [(server.ask(self.query, base + now), self.target)]
        else:
            values = [(float(self.service.waiting), self.target)]
        begin, end, fewest = self.cron
        if begin <= now < end:  # a trigger of its own: the most that one of them asks for counts
            values.append((float(fewest), 1.0))
        self.service.scale(self.rule.decide(values, current, now), now)


def runs(fixed: int) -> dict[str, Run]:
    """The ways that are compared, by the label that tells their figures apart."""
    made: dict[str, Run] = {}
    for name, title, start_s in (
        ("shipped", "as shipped", THERE_S),
        ("nodes", "on new nodes", NEW_NODE_S),
        ("cron", "with cron", THERE_S),
    ):
        spec = scaled_object("--set-string", f'keda.selector=run="{name}"')
        (trigger,) = spec["triggers"]
        target = float(trigger["metadata"]["threshold"])
        query = trigger["metadata"]["query"]
        made[name] = Run(title, Service(start_s), Autoscaler(spec), query, target)
    made["cron"].cron = (9 * HOUR - EARLY_S, 17 * HOUR, fixed)
    redis = "keda.redis.address=redis:6379,keda.redis.existingSecret=redis"
    spec = scaled_object("--set", f"worker.autoscaling.trigger=redis,{redis}")
    length = float(spec["triggers"][0]["metadata"]["listLength"])
    made["redis"] = Run("trigger: redis", Service(THERE_S), Autoscaler(spec), target=length)
    made["fixed"] = Run(f"always {fixed}", Service(THERE_S))
    for run in made.values():
        least = run.rule.spec["minReplicaCount"] if run.rule else fixed
        run.service.scale(least, 0.0, start_s=0.0)
    return made


def scaled_object(*arguments: str) -> dict[str, Any]:
    """What the chart makes of managed.yaml with autoscaling."""
    documents = template(*TRIES["managed"], "--set", "worker.autoscaling.enabled=true", *arguments)
    found: dict[str, Any] = find(documents, "ScaledObject", "exams-damoscope-worker")["spec"]
    return found


def simulate(made: dict[str, Run], begin: float, end: float, seed: int) -> dict[str, list[int]]:
    """Run all of them through the day; how many workers each had, by export."""
    coming = deque(arrivals(DAY, begin, end, seed))
    workers: dict[str, list[int]] = {name: [] for name in made}
    base = time.time() - end - 60  # the day has just ended
    with (
        tempfile.TemporaryDirectory() as folder,
        prometheus.running(Path(folder), free_port()) as server,
    ):
        for count in range(round((end - begin) / EXPORT_S)):
            now = begin + count * EXPORT_S
            if count % round(SYNC_S / EXPORT_S) == 0:
                for run in made.values():
                    run.step(server, base, now)
            until = now + EXPORT_S
            images = []
            while coming and coming[0] < until:
                images.append(coming.popleft())
            figures = prometheus.Figures(base + until)
            for name, run in made.items():
                run.service.run(images, now, until)
                figures.add(name, run.service)
                workers[name].append(len(run.service.workers))
            server.take(figures)
    return workers


def main() -> None:
    """Simulate, and write the page's table and the plot."""
    parser = argparse.ArgumentParser(prog="benchmarks.autoscaling", description=__doc__)
    parser.add_argument("--hours", nargs=2, type=float, default=(0.0, 24.0), metavar="HOUR")
    parser.add_argument("--fixed", type=int, default=7, help="workers of the fixed number")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="write the plot to this SVG")
    parser.add_argument("--page", type=Path, help="write the table to this page")
    options = parser.parse_args()
    begin, end = (hour * HOUR for hour in options.hours)
    made = runs(options.fixed)
    workers = simulate(made, begin, end, options.seed)
    found: list[Outcome] = [
        outcome(run.title, run.service, workers[name], begin, EXPORT_S)
        for name, run in made.items()
    ]
    print(page.table_of(found))
    if options.page:
        page.write(options.page, found)
    if options.plot:
        options.plot.write_text(page.svg(found), encoding="utf-8")


if __name__ == "__main__":
    main()
