"""worker.model.outputs: what two outputs are, and whether they are what DAMO-YOLO gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.settings import Settings
from tests.worker.onnx_models import Export
from worker.model.outputs import BRIGHTEST, anchor_count, anchors_of, synthetic, tell
from worker.model.session import Detector

HEIGHT, WIDTH = 192, 320
ANCHORS = anchor_count(HEIGHT, WIDTH)
#: x1, y1, x2, y2 times this are the centre, width and height.
CENTRED = np.array([[0.5, 0, -1, 0], [0, 0.5, 0, -1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]])
CORNERED = np.array([[1, 0, -1, 0], [0, 1, 0, -1], [0, 0, 1, 0], [0, 0, 0, 1]])
FRACTIONS = np.diag([1 / WIDTH, 1 / HEIGHT, 1 / WIDTH, 1 / HEIGHT])
TURNED = np.eye(4)[[1, 0, 3, 2]]


def boxes_of(most: float, seed: int = 0) -> np.ndarray:
    """What a head gives whose distances are 0 to `most` strides, 1 x A x 4."""
    points, strides = anchors_of(HEIGHT, WIDTH)
    distances = np.random.default_rng(seed).uniform(0, most, (ANCHORS, 4)) * strides[:, None]
    distances[:, :2] *= -1
    return (np.tile(points, 2) + distances)[None].astype(np.float32)


def scores_of(classes: int, most: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, most, (1, ANCHORS, classes)).astype(np.float32)


@pytest.mark.parametrize("most", [0, 0.1, 2, 7, 16])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_boxes_of_any_size_are_taken(most: float, kind: type) -> None:
    """Whatever distances a head has learnt, from none at all to the most there are; in half
    precision, too; cut at the picture's edge, too."""
    boxes = boxes_of(most).astype(kind)
    assert tell([scores_of(3), boxes], HEIGHT, WIDTH) == (0, 1)
    assert tell([boxes, scores_of(3)], HEIGHT, WIDTH) == (1, 0)
    cut = np.clip(boxes, 0, np.array([WIDTH, HEIGHT, WIDTH, HEIGHT], kind))
    assert tell([scores_of(3), cut], HEIGHT, WIDTH) == (0, 1)


def test_anchor_points_in_the_middle_of_their_cells() -> None:
    """As other exporters have them."""
    _, strides = anchors_of(HEIGHT, WIDTH)
    boxes = boxes_of(1) + strides[None, :, None] / 2
    assert tell([scores_of(1), boxes], HEIGHT, WIDTH) == (0, 1)


@pytest.mark.parametrize("most", [1e-6, 1.0])
def test_four_classes_are_told_from_boxes_by_values(most: float) -> None:
    """Where both outputs end in 4, whether the network is sure of something or of nothing."""
    scores = scores_of(4, most)
    assert tell([scores, boxes_of(7)], HEIGHT, WIDTH) == (0, 1)
    assert tell([boxes_of(7), scores], HEIGHT, WIDTH) == (1, 0)


@pytest.mark.parametrize("most", [0.1, 2, 7])
@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        (FRACTIONS, "x1, y1, x2, y2 in fractions"),
        (CENTRED @ FRACTIONS, "centre, width and height in fractions"),
        (CORNERED @ FRACTIONS, "corner, width and height in fractions"),
        (CENTRED, "centre, width and height in pixels"),
        (CORNERED, "corner, width and height in pixels"),
        (TURNED, "y1, x1, y2, x2 in pixels"),
    ],
)
@pytest.mark.parametrize("classes", [3, 4])
def test_boxes_that_are_written_otherwise(
    matrix: np.ndarray, name: str, most: float, classes: int
) -> None:
    """The refusal names how they are written."""
    with pytest.raises(ModelError, match=f"its boxes are {name}.*not x1, y1, x2, y2 in pixels"):
        tell([scores_of(classes), boxes_of(most) @ matrix], HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "boxes",
    [
        pytest.param(boxes_of(2)[:, ::-1], id="levels in another order"),
        pytest.param(np.abs(boxes_of(2) - boxes_of(2, seed=1)), id="distances"),
        pytest.param(np.zeros((1, ANCHORS, 4), np.float32), id="nothing"),
    ],
)
def test_boxes_of_no_known_kind(boxes: np.ndarray) -> None:
    """The refusal says what boxes have to be."""
    with pytest.raises(ModelError, match=r"each should hold the point .* and \d+% do"):
        tell([scores_of(2), boxes], HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        (scores_of(2) * 20 - 15, r"leave 0\.\.1 .*as logits do"),
        (1 / (1 + np.exp(-scores_of(2))), "sigmoid is taken twice"),
        (np.where(scores_of(2) > 0.999, np.nan, 0.1), "numbers of scores .* NaN or infinite"),
    ],
)
def test_scores_that_no_sigmoid_gives(scores: np.ndarray, why: str) -> None:
    """Logits, scores of two sigmoids, and what is no number."""
    with pytest.raises(ModelError, match=why):
        tell([scores, boxes_of(2)], HEIGHT, WIDTH)


def test_boxes_that_are_no_numbers() -> None:
    """One is enough: pictures differ, and so will their number."""
    boxes = boxes_of(2)
    boxes[0, 17, 2] = np.inf
    with pytest.raises(ModelError, match=r"1 of its .* numbers of boxes .* NaN or infinite"):
        tell([scores_of(2), boxes], HEIGHT, WIDTH)


def test_axes_that_are_swapped() -> None:
    """As N x C x A, which other detectors export."""
    with pytest.raises(ModelError, match="its last two axes are swapped"):
        tell([scores_of(2), np.swapaxes(boxes_of(2), 1, 2)], HEIGHT, WIDTH)


def test_the_test_picture() -> None:
    """It has dark and bright, flat and noisy parts, and a seed gives it again."""
    picture = synthetic(HEIGHT, WIDTH)
    assert (picture.shape, picture.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert (picture.min(), picture.max()) == (0, BRIGHTEST)
    np.testing.assert_array_equal(picture, synthetic(HEIGHT, WIDTH))
    assert (picture != synthetic(HEIGHT, WIDTH, seed=1)).mean() > 0.2


@pytest.mark.parametrize(
    ("export", "why"),
    [
        (Export(boxes_matrix=CENTRED), "centre, width and height in pixels"),
        (Export(boxes_matrix=np.eye(4) / 64), "x1, y1, x2, y2 in fractions"),
        (Export(overflows=True), "NaN or infinite"),
        (Export(sigmoids=0), "as logits do"),
        (Export(sigmoids=2), "sigmoid is taken twice"),
    ],
)
def test_a_worker_does_not_start_with_them(tmp_path: Path, export: Export, why: str) -> None:
    """Before it is ready, from one picture that is run anyway."""
    path = export.save(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=rf"model\.onnx: not a DAMO-YOLO export: .*{why}"):
        Detector(Settings(model=path, provider="cpu", threads=1))
