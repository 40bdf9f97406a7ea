from __future__ import annotations

import numpy as np
import pytest

from pipeline.tiles import Tile
from worker.model.merging import View, merged, view

#: An image of 200 x 100 in two tiles of 110 x 100, which share a strip from 90 to 110.
WHOLE, LEFT, RIGHT = Tile(0, 0, 200, 100), Tile(0, 0, 110, 100), Tile(90, 0, 110, 100)
INPUT = 100


def seen(part: Tile, *boxes: tuple[float, float, float, float, float, int]) -> View:
    """A view that has found these: corners in the image, score and class."""
    ordered = sorted(boxes, key=lambda box: -box[4])
    found = np.array(ordered, np.float64).reshape(-1, 6)
    offset = np.array((part.x, part.y, part.x, part.y))
    scale = np.array((part.width, part.height, part.width, part.height)) / INPUT
    return View(
        part,
        ((found[:, :4] - offset) / scale).astype(np.float32),
        found[:, 4].astype(np.float32),
        found[:, 5].astype(np.intp),
    )


def merge(*views: View, most: int = 100, iou: float = 0.65) -> list[tuple[list[float], float, str]]:
    found, _ = merged(
        views, ("phone", "person"), input_size=(INPUT, INPUT), image_size=(200, 100),
        iou_threshold=iou, most=most,
    )  # fmt: skip
    return [
        ([round(corner) for corner in corners], score, label)
        for corners, score, label in zip(found.corners, found.scores, found.labels, strict=True)
    ]


def test_boxes_are_told_in_pixels_of_the_image() -> None:
    """What each tile has found stands where it is in the image, the best first."""
    found = merge(
        seen(WHOLE), seen(LEFT, (10, 10, 30, 30, 0.5, 0)), seen(RIGHT, (150, 40, 180, 60, 0.9, 1))
    )
    assert found == [([150, 40, 180, 60], 0.9, "person"), ([10, 10, 30, 30], 0.5, "phone")]


def test_what_two_tiles_see_is_one() -> None:
    """In the strip that both show, where a tile's box is a little off."""
    found = merge(
        seen(WHOLE),
        seen(LEFT, (94, 40, 104, 60, 0.8, 0)),
        seen(RIGHT, (96, 40, 105, 61, 0.9, 0)),
        iou=0.95,
    )
    assert found == [([96, 40, 105, 61], 0.9, "phone")]


def test_what_a_border_cuts_is_one_with_what_the_other_tile_sees_whole() -> None:
    """The whole one gives the box, the better one the score, whichever that is."""
    for cut, whole in ((0.9, 0.6), (0.6, 0.9)):
        found = merge(
            seen(WHOLE),
            seen(LEFT, (95, 40, 110, 60, cut, 0)),
            seen(RIGHT, (95, 40, 130, 60, whole, 0)),
        )
        assert found == [([95, 40, 130, 60], 0.9, "phone")]


def test_what_is_larger_than_a_tile_comes_from_the_whole_image() -> None:
    """Its parts in the tiles are no objects of their own."""
    found = merge(
        seen(WHOLE, (5, 20, 195, 80, 0.7, 0)),
        seen(LEFT, (6, 20, 110, 80, 0.8, 0)),
        seen(RIGHT, (90, 20, 194, 80, 0.6, 0)),
    )
    assert found == [([5, 20, 195, 80], 0.8, "phone")]


def test_what_the_whole_image_shows_blurred_is_one_with_a_tiles_box() -> None:
    """A small object's box is a third off there."""
    found = merge(seen(WHOLE, (12, 10, 34, 32, 0.9, 0)), seen(LEFT, (10, 10, 30, 30, 0.5, 0)))
    assert found == [([10, 10, 30, 30], 0.9, "phone")]


def test_labels_are_apart_and_neighbours_stay() -> None:
    """Nothing goes for something of another label, nor for what stands close to it."""
    found = merge(
        seen(WHOLE),
        seen(LEFT, (20, 20, 40, 40, 0.9, 0), (20, 20, 40, 40, 0.8, 1), (32, 20, 52, 40, 0.7, 0)),
        seen(RIGHT),
    )
    assert [label for _, _, label in found] == ["phone", "person", "phone"]


def test_a_crowd_in_a_large_box_stays() -> None:
    """A large box of the whole image takes nothing away that is whole in a tile."""
    small = [(10.0 + 20 * n, 40.0, 20.0 + 20 * n, 50.0, 0.5, 0) for n in range(4)]
    found = merge(seen(WHOLE, (0, 0, 200, 100, 0.9, 0)), seen(LEFT, *small), seen(RIGHT))
    assert len(found) == 5


def test_no_more_than_are_wanted() -> None:
    """The best of them all."""
    boxes = [(2.0 + 10 * n, 5.0, 8.0 + 10 * n, 11.0, 0.9 - n / 100, 0) for n in range(8)]
    found = merge(seen(WHOLE), seen(LEFT, *boxes), most=3)
    assert [score for _, score, _ in found] == [0.9, 0.89, 0.88]


@pytest.mark.parametrize("threshold", [0.3, 0.55, 0.7])
def test_a_threshold_lets_through_as_much_as_a_run_with_it(threshold: float) -> None:
    """What the page's slider leaves of weak boxes is as many as a run of its own would find."""
    rng = np.random.default_rng(5)
    views = []
    for part in (WHOLE, LEFT, RIGHT):
        corners = rng.uniform((part.x, 0), (part.x + 90, 80), (40, 2))
        sizes = rng.uniform(5, 20, (40, 2))
        scores = rng.uniform(0.05, 1, (40, 1))
        boxes = np.hstack([corners, corners + sizes, scores, np.zeros((40, 1))])
        views.append(boxes)
    parts = (WHOLE, LEFT, RIGHT)
    every = merge(*[seen(part, *boxes) for part, boxes in zip(parts, views, strict=True)])
    alone = merge(*[
        seen(part, *boxes[boxes[:, 4] >= threshold])
        for part, boxes in zip(parts, views, strict=True)
    ])  # fmt: skip
    left = [each for each in every if each[1] >= threshold]
    assert abs(len(left) - len(alone)) <= 2


def test_a_view_holds_what_is_above_the_threshold_of_the_labels_that_are_wanted() -> None:
    """And names classes by the model's columns."""
    scores = np.array([[0.9, 0.1, 0.2], [0.1, 0.8, 0.95], [0.2, 0.2, 0.6]], np.float32)
    boxes = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = view(scores, boxes, LEFT, [1, 2], 0.5)
    assert found.classes.tolist() == [2, 1, 2]
    assert np.allclose(found.scores, [0.95, 0.8, 0.6])
    assert found.boxes.tolist() == [boxes[1].tolist(), boxes[1].tolist(), boxes[2].tolist()]
