"""Everything that is generated: one line for each file, or each part of one."""

from __future__ import annotations

from typing import Final

from monitoring.alerts.render import render, render_figures
from monitoring.alerts.rules import SHIPPED, read
from run.generate.parts import Generated


def _alerts() -> str:
    return render(read(SHIPPED))


GENERATED: Final = (
    Generated("deploy/prometheus/rules/alerts.yml", _alerts),
    Generated("deploy/prometheus/rules/figures.yml", render_figures),
)  # fmt: skip
