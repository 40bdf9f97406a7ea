"""All that OpenAPI allows, and much that it does not, by schemathesis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Service, environment

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
#: What no schema can say: which labels the models know, which rules there are, how many steps a
#: window may have. tests/security/test_parameters.py asks for those.
EXCLUDED = "positive_data_acceptance"
#: It needs a token of its own, which would be a wrong key everywhere else.
WEBHOOK = "/api/v1/alerts/webhook"


@pytest.mark.timeout(1200)
def test_every_operation(service: Service, tmp_path: Path) -> None:
    """Each answers as it says it does, whatever it is asked: no 5xx, no undocumented status, type
    or field, nothing taken that the schema refuses, no method but its own."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIGURATION),
        "run", f"{service.url}/openapi.json", "--checks", "all", "--exclude-checks", EXCLUDED,
        "--exclude-path", WEBHOOK,
        "--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--seed", "13",
        "--request-timeout", "60", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env=environment({"NO_PROXY": "*"}), capture_output=True, text=True,
        timeout=1100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
