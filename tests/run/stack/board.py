"""The Grafana dashboard as it lies in deploy/, and what it asks Prometheus for."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.paths import ROOT

BOARD = ROOT / "deploy" / "grafana" / "dashboards" / "damoscope.json"


def board() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(BOARD.read_text(encoding="utf-8"))
    return read


def chosen(expression: str, **values: str) -> str:
    """The expression as Grafana sends it: of each variable the value, which is All if not given."""
    expression = expression.replace("$__rate_interval", "1m")
    return re.sub(r"\$(\w+)", lambda found: values.get(found[1], ".*"), expression)


def panels(**values: str) -> list[tuple[str, str]]:
    """Title and expression of every target of every panel."""
    return [
        (panel["title"], chosen(target["expr"], **values))
        for row in board()["panels"]
        for panel in (row, *row.get("panels", []))
        for target in panel.get("targets", [])
    ]
