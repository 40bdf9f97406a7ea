"""What tests ask the running servers, over their HTTP APIs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from run.stack.ports import HOST, Ports


def get(port: int, path: str, **query: Any) -> Any:
    """GET as JSON."""
    url = f"http://{HOST}:{port}{path}?{urlencode(query, doseq=True)}"
    with urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


T = TypeVar("T")


def eventually(ask: Callable[[], T], timeout_s: float = 60.0) -> T:
    """The first truthy answer; AssertionError with the last one when time is up."""
    deadline = time.monotonic() + timeout_s
    last: Any = None
    while time.monotonic() < deadline:
        try:
            if last := ask():
                return last
        except (URLError, OSError, ValueError) as error:
            last = error
        time.sleep(0.25)
    raise AssertionError(f"still {last!r} after {timeout_s:.0f} s")


def agrees(ask: Callable[[], T], expected: object, timeout_s: float = 60.0) -> None:
    """Wait until the answer is what is expected: a process exports what it counts of one image
    together or by halves, and another one's is scraped later. Fails with both."""
    answers: list[T] = []

    def look() -> bool:
        answers[:] = [ask()]
        return bool(answers[0] == expected)

    try:
        eventually(look, timeout_s)
    except AssertionError:
        assert answers == [expected]
        raise


class Servers:
    """Queries to the stack that listens on `ports`."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports

    def instant(self, expression: str) -> list[dict[str, Any]]:
        """PromQL now: a list of {metric, value}."""
        answer = get(self.ports.prometheus, "/api/v1/query", query=expression)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def value(self, expression: str) -> float | None:
        """PromQL now, of an expression with one result."""
        result = self.instant(expression)
        return float(result[0]["value"][1]) if result else None

    def rules(self, kind: str, slow: bool = False) -> list[dict[str, Any]]:
        """Loaded rules: kind is record or alert; `slow` are evaluated every minute at most."""
        answer = get(self.ports.prometheus, "/api/v1/rules", type=kind)
        groups = [group for group in answer["data"]["groups"] if (group["interval"] >= 60) == slow]
        return [rule for group in groups for rule in group["rules"]]

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """Exemplars of the last five minutes."""
        now = time.time()
        answer = get(
            self.ports.prometheus,
            "/api/v1/query_exemplars",
            query=expression,
            start=now - 300,
            end=now,
        )
        return [one for series in answer["data"] for one in series["exemplars"]]

    def spans(self, trace_id: str) -> list[dict[str, Any]]:
        """A trace's spans, each with its service in `service`; empty when there is no trace."""
        try:
            trace = get(self.ports.jaeger, f"/api/traces/{trace_id}")["data"][0]
        except (URLError, IndexError, TypeError):
            return []
        services = {key: process["serviceName"] for key, process in trace["processes"].items()}
        return [{**span, "service": services[span["processID"]]} for span in trace["spans"]]

    def monitor(self, kind: str, **query: Any) -> list[dict[str, Any]]:
        """What Jaeger's Monitor tab shows: kind is calls, errors or latencies."""
        answer = get(
            self.ports.jaeger,
            f"/api/metrics/{kind}",
            service=["damoscope-frontend", "damoscope-worker"],
            spanKind=["server", "consumer"],
            endTs=int(time.time() * 1000),
            lookback=300_000,
            step=5000,
            ratePer=60_000,
            groupByOperation="false",
            **query,
        )
        result: list[dict[str, Any]] = answer["metrics"]
        return result
