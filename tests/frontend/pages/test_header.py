"""The line above every page says what workers do, and which of them do not start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from frontend.pages.header import offered, state
from frontend.status import Snapshot
from pipeline.queue.pools import Pool
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


@pytest.mark.parametrize(("language", "beside"), [("en", "beside it mine"), ("zh", "另有 mine")])
def test_models_that_images_ask_for(language: str, beside: str) -> None:
    """Those that are served are named; it is ready where other images are looked at."""
    mine, gone = Pool("mine"), Pool("gone")
    serves = replace(READY, name="m", model="mine", pool=mine)
    seen = state(Snapshot(workers=(serves, READY), pools=(gone, mine), problem=""), language)
    assert seen.ready
    assert f"phone{' on ' if language == 'en' else '，运行于 '}cpu · {beside} · " in seen.text
    assert "1 " in seen.text
    assert not state(Snapshot(workers=(serves,), pools=(mine,), problem=""), language).ready


def test_models_to_choose_from() -> None:
    """The default one first, then those that a worker serves now; nothing where it stands alone."""
    mine, gone = Pool("mine"), Pool("gone")
    default = replace(READY, model_version="1a", score_threshold=0.5, iou_threshold=0.6)
    serves = replace(READY, name="m", model="mine", pool=mine)
    both = Snapshot(workers=(serves, default), pools=(gone, mine), problem="")
    assert [each.model_dump() for each in offered(both)] == [
        {"asked": "", "name": "phone", "version": "1a", "score": 0.5, "iou": 0.6},
        {"asked": "mine", "name": "mine", "version": "", "score": None, "iou": None},
    ]
    assert [each.asked for each in offered(replace(both, workers=(serves,)))] == ["mine"]
    assert offered(replace(both, workers=(default,))) == []
