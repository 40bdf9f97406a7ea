"""benchmarks.overload: the workers' model waits, and each answer is of an image that was run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import overload


def test_a_run(tmp_path: Path) -> None:
    """The honest are answered beside those who hang up, and never more than the workers ran; what
    these can do is what their model's wait lets them."""
    output = tmp_path / "overload.json"
    overload.main(["--seconds", "3", "--only", "impatient", "-o", str(output)])
    found = json.loads(output.read_text())
    assert 0 < found["uncongested_per_s"] <= found["capacity_per_s"] == 20
    case = found["impatient"]
    answered = case["counts"]["ok"]
    assert answered >= overload.HONEST  # each of them at least once
    assert case["others"]["cancelled"] > 0
    assert answered + case["others"]["ok"] <= case["run"]


def test_an_unknown_case(capsys: pytest.CaptureFixture[str]) -> None:
    """Is named before anything is started."""
    with pytest.raises(SystemExit):
        overload.parse(["--only", "clients,nothing"])
    assert "no such case: nothing" in capsys.readouterr().err
