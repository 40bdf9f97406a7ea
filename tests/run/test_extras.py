"""run.extras: parts that are not installed are named, with what to install."""

from __future__ import annotations

import importlib.util

import pytest

from run import extras
from run.cli import app, main


@pytest.mark.parametrize(
    ("command", "missing", "says"),
    [
        ("frontend", "gradio", "the frontend of damoscope is not installed here; install it with "
         "the extra frontend, such as: pip install 'damoscope[frontend]'"),
        ("watcher", "gradio", "damoscope[frontend]"),
        ("worker", "onnxruntime", "the worker of damoscope is not installed here; install it with "
         "the extra worker-cpu or worker-gpu, such as: pip install 'damoscope[worker-cpu]'"),
        ("detect a.jpg", "onnxruntime", "damoscope[worker-cpu]"),
        ("up", "onnxruntime", "the worker of damoscope is not installed here; install it with the "
         "extra cpu or gpu, such as: pip install 'damoscope[cpu]'"),
        ("up", "gradio", "the frontend of damoscope is not installed here"),
        ("alerts check", "gradio", "damoscope[frontend]"),
        ("report -o r.md", "gradio", "damoscope[frontend]"),
    ],
)  # fmt: skip
def test_a_part_that_is_not_installed(
    command: str,
    missing: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line that says which extra to install, and exit code 2."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        extras.importlib.util, "find_spec", lambda name: None if name == missing else find(name)
    )
    with pytest.raises(SystemExit) as stopped:
        main(lambda: app(command.split(), standalone_mode=False))
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
