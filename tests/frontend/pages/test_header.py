"""The line above every page says what workers do, and which of them do not start."""

from __future__ import annotations

import pytest

from frontend.pages.header import state
from frontend.status import Snapshot
from pipeline.queue.start_failures import StartFailure
from pipeline.queue.workers import WorkerState

FAILURE = StartFailure("host-7", "model.onnx: there is no such file")
READY = WorkerState("w", False, "cpu", "phone", (), None, None, False)


@pytest.mark.parametrize("workers", [(), (READY,)])
@pytest.mark.parametrize(
    ("language", "said"), [("en", "a worker on host-7 does not start"), ("zh", "无法启动")]
)
def test_a_worker_that_does_not_start(
    workers: tuple[WorkerState, ...], language: str, said: str
) -> None:
    """With its host and the reason, whether others are ready or not; not to who has no key."""
    snapshot = Snapshot(workers=workers, start_failures=(FAILURE,), problem="")
    seen = state(snapshot, language)
    assert seen.ready == bool(workers)
    assert said in seen.text
    assert "there is no such file" in seen.text
    assert "no such file" not in state(snapshot, language, details=False).text
