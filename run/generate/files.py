"""Everything that is generated: one line for each file, or each part of one."""

from __future__ import annotations

from functools import partial
from typing import Final

from monitoring.alerts import objectives
from monitoring.alerts.render import render, render_figures, render_objectives
from monitoring.alerts.rules import SHIPPED, read
from run.generate import helm, history, servers, settings, telemetry
from run.generate.generated import Generated, table
from telemetry import variables


def _alerts() -> str:
    return render(read(SHIPPED))


def _objectives() -> str:
    return render_objectives(objectives.read(objectives.SHIPPED))


def _opentelemetry() -> str:
    return table(*variables.documented())


GENERATED: Final = (
    Generated("deploy/prometheus/rules/alerts.yml", _alerts),
    Generated("deploy/prometheus/rules/figures.yml", render_figures),
    Generated("deploy/prometheus/rules/slo.yml", _objectives),
    Generated("docs/settings.md", _opentelemetry, "OpenTelemetry"),
    Generated("docs/settings.md", settings.tables, "settings"),
    Generated(".env.example", settings.example, "settings"),
    Generated("docker-compose.yml", settings.passed, "settings"),
    Generated("deploy/prometheus/rules/history.yml", history.rules),
    Generated("docs/metrics.md", telemetry.metrics, "metrics"),
    Generated("docs/traces.md", telemetry.spans, "spans"),
    Generated("docs/traces.md", telemetry.attributes, "attributes"),
    Generated("docs/full-stack.md", servers.versions, "servers"),
    # The chart's, after what they are made from.
    Generated(f"{helm.CHART}/values.yaml", helm.collector_image, "collector image"),
    Generated(f"{helm.CHART}/values.schema.json", helm.schema),
    Generated(f"{helm.CHART}/README.md", helm.readme, "values"),
    Generated(f"{helm.CHART}/files/settings.yaml", helm.known),
    Generated(f"{helm.CHART}/files/users.conf", helm.users),
    *(
        Generated(f"{helm.CHART}/files/{target}", partial(helm.copy, source))
        for target, source in helm.COPIES.items()
    ),
)  # fmt: skip
