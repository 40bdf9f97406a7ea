"""Names in the product: one thing, one name."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.paths import ROOT

PACKAGES = ("models", "pipeline", "telemetry", "worker", "monitoring", "frontend", "run")
#: Names of two classes, and why that does not confuse.
SHARED = {"Histogram": "a metric of that kind, and what was measured of one"}


def test_no_two_classes_share_a_name() -> None:
    """Who reads the name of a class in one module need not ask which one it is."""
    places = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(str(path.relative_to(ROOT)))
    shared = {name: where for name, where in places.items() if len(where) > 1}
    assert shared.keys() == SHARED.keys(), shared
