"""frontend.pages.result and frontend.pages.result_files: one result by any threshold."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from pydantic import ValidationError

from frontend.pages.detect_one import Outcome
from frontend.pages.i18n import EN, ZH
from frontend.pages.result import described, file_stem, result_view
from frontend.pages.result_files import Results, Shown
from frontend.pages.trace_links import Links
from frontend.pages.uploads import Upload
from pipeline.job import DetectionResult, DetectOptions

RUN = DetectOptions(score_threshold=0.5, iou_threshold=0.65, max_detections=4, weaker_from=0.01)


def box(label: str, score: float) -> dict[str, Any]:
    return {"label": label, "score": score, "box": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}


def result(*strong: dict[str, Any], weaker: list[dict[str, Any]] | None = None) -> DetectionResult:
    timings = dict.fromkeys(("upload", "queue_wait", "preprocess", "inference", "nms", "total"), 1)
    image = {"width": 9, "height": 9, "format": "JPEG", "bytes": 1}
    return DetectionResult.model_validate(
        {"job_id": "a" * 32, "trace_id": "b" * 32, "model": "m", "provider": "cpu", "image": image,
         "detections": strong, "weaker": weaker, "timings_ms": timings, "batch_size": 1,
         "worker": "w"}
    )  # fmt: skip


BOTH = result(box("cup", 0.9), box("phone", 0.6), weaker=[box("phone", 0.3)])


def test_what_the_script_draws_from() -> None:
    """All boxes, the best first, with their labels' names and colours once; and how far down
    nothing is missing."""
    told = described(BOTH, RUN, "desk.jpg")
    assert [name for name, _ in told["labels"]] == ["cup", "phone"]
    assert told["boxes"] == [[0, 0.9, 1, 2, 3, 4], [1, 0.6, 1, 2, 3, 4], [1, 0.3, 1, 2, 3, 4]]
    assert (told["score"], told["iou"], told["lowest"], told["cut"]) == (0.5, 0.65, 0.01, False)
    assert (told["name"], told["width"], told["height"]) == ("desk.jpg", 9, 9)


def test_the_most_boxes_there_are() -> None:
    """Where there is no room for more, what scores less than the last of them may be missing."""
    full = result(box("cup", 0.9), weaker=[box("cup", score) for score in (0.4, 0.3, 0.2)])
    told = described(full, RUN)
    assert (told["lowest"], told["cut"]) == (0.2, True)


def test_a_result_of_which_little_is_known() -> None:
    """One that came by the API: its thresholds are not known, and it has no weaker boxes."""
    told = described(result(box("cup", 0.9)), DetectOptions())
    assert (told["score"], told["iou"], told["cut"], len(told["boxes"])) == (None, None, False, 1)


@pytest.mark.parametrize(
    ("asked", "used", "side", "tiles", "large"),
    [
        (None, None, 1, "", True),  # of 9 pixels
        (None, None, 2, "", False),
        (None, None, None, "", False),  # the model's input is not known
        ("auto", "4x3", 1, "auto", False),
        ("auto", None, 1, "auto", False),
        (None, "4x3", 1, "4x3", False),  # of a job of another process
    ],
)
def test_what_it_says_of_tiles(
    asked: str | None, used: str | None, side: int | None, tiles: str, large: bool
) -> None:
    """How it was looked at, and whether the picture is so large that small objects may be missed
    as a whole."""
    run = RUN.model_copy(update={"tiles": asked})
    told = described(BOTH.model_copy(update={"tiles": used}), run, input_side=side)
    assert (told["tiles"], told["large"]) == (tiles, large)


def test_a_result_is_text() -> None:
    """Names of files and labels are data, in the page and in the script's attributes."""
    evil = "\"><script>alert(1)</script>'"
    html = result_view(result(box(evil, 0.9)), RUN, ZH, Links(None), name=evil)
    assert "<script" not in html
    shown = re.search(r'data-shown="([^"]*)"', html)
    assert shown
    assert json.loads(unescape(shown[1]))["labels"][0][0] == evil
    texts = re.search(r'data-texts="([^"]*)"', html)
    assert texts
    assert json.loads(unescape(texts[1]))["found.none"] == ZH["found.none"] != EN["found.none"]


@pytest.mark.parametrize(
    ("asked", "scores"),
    [
        ({}, [0.9, 0.6]), ({"score": 0.6}, [0.9, 0.6]), ({"score": 0.61}, [0.9]),
        ({"score": 0.0}, [0.9, 0.6, 0.3]), ({"score": 0.2, "hide": ["cup"]}, [0.6, 0.3]),
        ({"score": 0.2, "most": 2}, [0.9, 0.6]), ({"hide": ["cup"], "score": 0, "most": 1}, [0.6]),
        ({"hide": ["cup", "phone"]}, []), ({"score": 1, "hide": ["no such"]}, []),
    ],
)  # fmt: skip
def test_files_have_what_is_shown(asked: dict[str, Any], scores: list[float]) -> None:
    """Boxes by the threshold and the labels that the page has, and no others beside them."""
    given = Shown.model_validate(asked).of(BOTH)
    assert [each.score for each in given.detections] == scores
    assert "weaker" not in given.model_dump()


@pytest.mark.parametrize(
    "asked",
    [
        {"most": 0},
        {"most": 501},
        {"score": 1.1},
        {"score": -1},
        {"score": "nan"},
        {"hide": ["x"] * 1001},
        {"x": 1},
    ],
)
def test_what_no_page_asks_for(asked: dict[str, Any]) -> None:
    """Other thresholds, names by the thousand, other parameters."""
    with pytest.raises(ValidationError):
        Shown.model_validate(asked)


def test_so_many_boxes_are_kept() -> None:
    """Of all results together; the oldest make room."""
    results = Results(boxes_most=5)
    for number in range(3):
        each = BOTH.model_copy(update={"job_id": str(number)})
        results.add(Outcome(Upload(None, "", ""), "t", result=each), "browser x")
    assert list(results._images) == ["2"]
    assert results._boxes == 3


def test_a_files_name() -> None:
    """What is made of a photograph is named after it."""
    assert [file_stem(name) for name in ("desk.jpg", "a.b.JPEG", "x", "")] == [
        "desk", "a.b", "x", "",
    ]  # fmt: skip
