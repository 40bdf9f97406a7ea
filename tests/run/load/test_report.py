"""Figures and reports: their sums, and what they say."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from run.load.clients import Load
from run.load.connection import Target
from run.load.figures import KINDS, Figures, figures
from run.load.plan import ArrivalRate, Goal, Plan
from run.load.record import HUNG_UP, NO_ANSWER, OTHER, OUTCOMES_MAX, Record, kind
from run.load.report import LoadReport

OUTCOMES = ("200", "503 overloaded", "504 timed_out", "connection: closed", HUNG_UP, "400 invalid")


@pytest.fixture
def load() -> Load:
    """Of 600 requests in 10 s: the n-th is due at n/60 s and takes n ms."""
    made = Load(
        Target.of("http://h"), [], Plan(duration_s=10, rate=ArrivalRate(60, 60), poisson=False)
    )
    made.sending_s = 10.0
    for n in range(600):
        due = n / 60
        made.record.add(
            OUTCOMES[n % len(OUTCOMES)], due, due, due + n / 1e3, trace_id=f"{n:032x}",
            detail="<script>alert(1)</script>",
        )  # fmt: skip
    return made


def report(found: Figures, **more: object) -> LoadReport:
    return LoadReport(
        target="http://h", version="1", began=datetime(2026, 11, 28, tzinfo=UTC), images=1,
        image_bytes=1000, timeout_s=30, open_loop=True, runs=[found], **more,  # type: ignore[arg-type]
    )  # fmt: skip


def test_every_request_is_in_every_sum(load: Load) -> None:
    """By kind, by outcome and over time there are as many as were sent."""
    found = figures(load)
    assert found.requests == 600
    assert found.counts == dict.fromkeys(KINDS, 100)
    assert sum(row["requests"] for row in found.outcomes) == 600
    assert sum(row["share"] for row in found.outcomes) == pytest.approx(1, abs=1e-4)
    over_time = found.over_time["requests"]
    assert {name: sum(counts) for name, counts in over_time.items()} == found.counts
    assert [sum(step) for step in zip(*over_time.values(), strict=True)] == [60] * 10


def test_percentiles_are_exact_and_the_slowest_are_named(load: Load) -> None:
    found = figures(load)
    assert found.latency_ms["p50"] == pytest.approx(299.5)
    assert found.latency_ms["max"] == pytest.approx(599)
    assert [round(slow["latency_ms"]) for slow in found.slowest] == list(range(599, 589, -1))
    assert found.slowest[0]["trace_id"] == f"{599:032x}"


def test_rates_count_what_was_answered_while_it_was_sent(load: Load) -> None:
    """Answers that came after the end are answers, but not of the rate: 10.0 s had fewer."""
    found = figures(load)
    assert found.sent_per_s == 60
    assert found.due_per_s == 60
    assert 9.0 < found.ok_per_s < 10.0


def test_what_the_generator_could_not_do_is_said(load: Load) -> None:
    """Fewer requests than were due, seconds in which it was late itself, too few connections."""
    assert figures(load).limits == []
    load.plan = Plan(duration_s=10, rate=ArrivalRate(90, 90))
    load.stalls = {3: 0.4, 4: 0.001}
    load.crowded = 7
    late, slow, connections = figures(load).limits
    assert "1 of 2 seconds" in late
    assert "400 ms" in late
    assert "could not send faster: 60.0 of 90.0" in slow
    assert connections.startswith("7 requests")


def test_nothing_at_all_is_a_report_as_well() -> None:
    """Stopped before the first request: no figure is made up."""
    empty = Load(Target.of("http://h"), [], Plan(duration_s=10, clients=1))
    found = figures(empty)
    assert found.latency_ms["p99"] is None
    for text in (report(found).as_html(), report(found).as_text(), report(found).as_json()):
        assert "nan" not in re.sub(r"<style>.*</style>", "", text, flags=re.S).lower()


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_services_say(load: Load) -> None:
    """No script, no address but that of the service in links to traces; no tag of a stranger."""
    page = report(figures(load)).as_html()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert set(re.findall(r'(?:href|src)="([^"]*)"', page)) == {
        f"http://h/traces?trace={n:032x}" for n in range(590, 600)
    }
    assert "url(" not in page
    assert "prefers-color-scheme: dark" in page


def test_json_has_the_run_and_the_search(load: Load) -> None:
    """A search tells each rate, and the run is that of the rate that was found."""
    kept, missed = figures(load), figures(load)
    kept.passed, missed.passed = True, False
    found = report(kept, goal=Goal(99, 0.3))
    found.runs, found.rates, found.found_rate = [kept, missed], [8.0, 16.0], 8.0
    assert found.last is kept
    document = json.loads(found.as_json())
    assert document["search"]["rate_per_s"] == 8.0
    assert [step["passed"] for step in document["search"]["steps"]] == [True, False]
    assert document["run"]["requests"] == 600
    assert "8.0 requests a second" in found.as_text()
    assert "missed" in found.as_html()


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("200", "ok"), ("202", "ok"), ("400 invalid_image", "invalid"), ("422", "invalid"),
        ("429 rate_limited", "rejected"), ("503 overloaded", "rejected"), ("408", "timeout"),
        ("504 timed_out", "timeout"), (NO_ANSWER, "timeout"), (HUNG_UP, "cancelled"),
        ("500", "failed"), ("connection: closed", "failed"), (OTHER, "failed"),
    ],
)  # fmt: skip
def test_outcomes_are_those_of_the_service(name: str, counted: str) -> None:
    assert kind(name) == counted


def test_a_server_that_invents_outcomes_does_not_fill_the_memory() -> None:
    """Beyond some dozens they are counted together."""
    record = Record()
    for n in range(1000):
        record.add(f"{n}", 0, 0, 1)
    assert len(record) == 1000
    assert len(record.names) == OUTCOMES_MAX + 1
    assert record.names[-1] == OTHER
