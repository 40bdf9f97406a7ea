"""monitoring.reports.rating and advice: what follows from which figures, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring.reports.advice import advise
from monitoring.reports.advice_text import ADVICE
from monitoring.reports.rating import LEAST_REQUESTS, rate
from monitoring.reports.schema import Grade, LatencySummary, Stage
from monitoring.reports.text import WORDS
from tests.monitoring.reports import example


def rated(
    outcomes: dict[str, int],
    p95_ms: float = 10.0,
    wait_ms: float = 1.0,
    critical: float | None = 0.0,
) -> Grade | None:
    latency = LatencySummary.model_validate(example.latency(p95_ms))
    wait = Stage.model_validate(example.stage("queue_wait", 0.1, wait_ms))
    return rate(outcomes, latency, [wait], critical).grade


@pytest.mark.parametrize(
    ("ok", "failed", "grade"),
    [(1000, 0, "A"), (999, 1, "A"), (998, 2, "B"), (995, 5, "B"), (990, 10, "C"), (950, 50, "D"),
     (949, 51, "E"), (0, 1000, "E")],
)  # fmt: skip
def test_success(ok: int, failed: int, grade: str) -> None:
    """99.9 % is an A, 99.5 % a B, 99 % a C, 95 % a D."""
    assert rated({"ok": ok, "failed": failed}) == grade


@pytest.mark.parametrize(
    ("p95_ms", "wait_ms", "critical", "grade"),
    [(500, 100, 0.0, "A"), (501, 100, 0.0, "B"), (500, 101, 0.0, "B"), (2000, 1, 0.0, "C"),
     (5000, 1, 0.0, "D"), (5001, 1, 0.0, "E"), (1, 5001, 0.0, "E"), (1, 1, 0.001, "B"),
     (1, 1, 0.01, "C"), (1, 1, 0.06, "E"), (1, 1, None, "A"), (1001, 501, 0.02, "D")],
)  # fmt: skip
def test_the_worst_criterion_counts(
    p95_ms: float, wait_ms: float, critical: float | None, grade: str
) -> None:
    """The rating is the worst grade; what is not known does not count."""
    assert rated({"ok": 1000}, p95_ms, wait_ms, critical) == grade


def test_a_clients_own_mistakes_do_not_count() -> None:
    """Requests without a valid image say nothing of the service."""
    assert rated({"ok": 1000, "invalid": 500}) == "A"


@pytest.mark.parametrize("outcomes", [{}, {"invalid": 1000}, {"ok": LEAST_REQUESTS - 1}])
def test_too_little_for_a_rating(outcomes: dict[str, int]) -> None:
    """Few requests get no rating rather than a good or a bad one."""
    found = rate(outcomes, None, [], None)
    assert found.grade is None
    assert found.least == LEAST_REQUESTS


def test_a_healthy_service_gets_no_advice() -> None:
    """Nothing is said where nothing follows."""
    assert advise(example.report()) == []


WAITING = [example.stage("queue_wait", 0.4, 900.0), example.stage("inference", 0.6)]
CASES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("fallback", "critical", "workers_fallback", {"workers": {"fallback": 1}}),
    ("waiting", "warning", "queue_wait_share",
     {"stages": WAITING, "workers": {"needed_at_peak": 5}}),
    ("bursts", "warning", "queue_wait_share", {"stages": WAITING}),
    ("saturated", "warning", "utilisation_peak", {"workers": {"utilisation_peak": 0.8}}),
    ("oversized", "info", "utilisation_peak",
     {"workers": {"utilisation_peak": 0.1, "mean": 4.0, "needed_at_peak": 1}}),
    ("memory", "warning", "memory_max", {"workers": {"memory_max": 0.85}}),
    ("memory", "critical", "memory_max", {"workers": {"memory_max": 0.95}}),
    ("preprocess", "info", "preprocess_share", {"stages": [example.stage("preprocess", 0.4, 150)]}),
    ("upload", "info", "upload_share", {"stages": [example.stage("upload", 0.4, 150)]}),
    ("inference", "info", "inference_p95", {"stages": [example.stage("inference", 0.9, 1500)]}),
    ("outcome_invalid", "warning", "share_invalid",
     {"requests": {"ok": 900, "invalid": 100}, "failures": example.failures("invalid", 100)}),
    ("outcome_failed", "critical", "share_failed",
     {"requests": {"ok": 900, "failed": 100}, "failures": example.failures("failed", 100)}),
    ("outcome_failed", "warning", "share_failed",
     {"requests": {"ok": 980, "failed": 20}, "failures": example.failures("failed", 20)}),
    ("outcome_rejected", "critical", "share_rejected",
     {"requests": {"ok": 900, "rejected": 100}, "failures": example.failures("rejected", 100)}),
    ("outcome_timeout", "critical", "share_timeout", {"requests": {"ok": 900, "timeout": 100}}),
    ("slower", "warning", "latency_p95",
     {"figures": [example.figure("latency_p95", "ms", 130.0, 100.0)],
      "stages": [example.stage("inference", 0.5, 90.0, 30.0),
                 example.stage("nms", 0.1, 2.0, 1.0)]}),
    ("quiet", "warning", "hours_without_requests", {"generated_at": example.END_AT + 25 * 3600}),
    ("noisy", "info", "alert:no_worker",
     {"alerts": {"known": True, "fired": [example.fired(times=6)]}}),
]  # fmt: skip


@pytest.mark.parametrize(("code", "severity", "figure", "changes"), CASES)
def test_advice(code: str, severity: str, figure: str, changes: dict[str, Any]) -> None:
    """Each advice follows from its figure alone, and says so in both languages."""
    (advice,) = advise(example.report(**changes))
    assert (advice.code, advice.severity, advice.figure) == (code, severity, figure)
    assert "{" not in advice.text.en + advice.text.zh
    assert advice.text.en != advice.text.zh


def test_every_advice_is_tested() -> None:
    """No advice without a case above."""
    assert {code for code, *_ in CASES} == set(ADVICE)


@pytest.mark.parametrize(
    "changes",
    [
        {"requests": {"ok": 20, "failed": 9}},
        {"stages": [example.stage("queue_wait", 0.9, 50.0)]},
        {"stages": [example.stage("queue_wait", 0.1, 500.0)]},
        {"requests": {"ok": 995, "failed": 5}, "failures": example.failures("failed", 5)},
        {"workers": {"utilisation_peak": 0.05, "mean": 1.0, "needed_at_peak": 1}},
        {"figures": [example.figure("latency_p95", "ms", 110.0, 100.0)]},
        {"alerts": {"known": True, "fired": [example.fired(times=4)]}},
        {"workers": dict.fromkeys(("mean", "hours", "utilisation_peak", "memory_max"))},
    ],
)
def test_no_advice_below_the_bounds(changes: dict[str, Any]) -> None:
    """Few requests, short waits, rare failures and what was not measured call for nothing."""
    assert advise(example.report(**changes)) == []


def test_the_most_serious_comes_first() -> None:
    """Critical before warning before information."""
    found = advise(
        example.report(
            workers={"fallback": 1, "memory_max": 0.85, "utilisation_peak": 0.9},
            stages=[example.stage("preprocess", 0.4, 150)],
        )
    )
    assert [each.severity for each in found] == ["critical", "warning", "warning", "info"]


def test_what_clients_send_is_only_quoted() -> None:
    """Braces in an error message are text, not a place to fill in."""
    message = "bad {0} {count} {__class__}"
    (advice,) = advise(
        example.report(
            requests={"ok": 900, "failed": 100}, failures=example.failures("failed", 100, message)
        )
    )
    assert message in advice.text.en
    assert message in advice.text.zh


def test_texts_are_complete() -> None:
    """Every text has both languages, with the same facts to fill in."""
    for key, (english, chinese) in {**WORDS, **ADVICE}.items():
        assert english, key
        assert chinese, key
        assert _facts(english) >= _facts(chinese), key


def _facts(text: str) -> set[str]:
    return {part.partition("}")[0] for part in text.split("{")[1:]}
