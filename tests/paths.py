"""Where the repository is, for tests that read its files."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Objectives of a service that has none: only its alert rules raise alerts.
NO_OBJECTIVES = ROOT / "tests" / "monitoring" / "alerts" / "no_slo.yaml"
