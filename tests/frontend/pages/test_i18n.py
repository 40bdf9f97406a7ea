"""frontend.pages.i18n: what the pages say, in both languages."""

from __future__ import annotations

import re

from frontend.pages.i18n import EN, ZH
from monitoring.reports.text import WORDS
from telemetry.outcomes import OUTCOMES
from tests.paths import ROOT


def test_both_languages_say_the_same_things() -> None:
    """A text that one of them lacks would be shown by its name."""
    assert set(EN) == set(ZH)
    assert all(EN.values())
    assert all(ZH.values())


def test_every_outcome_has_a_name_and_a_colour() -> None:
    """On the pages, in reports and in the plot of requests, in one order."""
    for outcome in OUTCOMES:
        assert f"outcome.{outcome}" in EN
        assert f"outcome.{outcome}" in WORDS
    script = (ROOT / "frontend/pages/monitor/static/figures.js").read_text()
    (coloured,) = re.findall(r"const OUTCOMES = \{(.*?)\};", script, re.DOTALL)
    assert tuple(re.findall(r"(\w+):", coloured)) == OUTCOMES
    sheet = (ROOT / "monitoring/reports/report.css").read_text()
    assert all(f".o-{outcome} " in sheet for outcome in OUTCOMES)
