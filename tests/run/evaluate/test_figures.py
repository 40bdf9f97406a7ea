"""run.evaluate.figures and matching, on cases worked out by hand."""

from __future__ import annotations

import pytest

from run.evaluate.classes import Classes
from run.evaluate.detecting import SCORE_MIN, SeenImage
from run.evaluate.figures import EvalFigures, Proportion, figures
from run.evaluate.matching import Judge
from tests.run.evaluate.seen import BOTH, HERE, PHONE, THERE, seen


def judged(
    images: list[SeenImage], threshold: float = 0.75, classes: Classes = PHONE, *,
    match_iou: float = 0.5, rate: float = 0.0,
) -> EvalFigures:  # fmt: skip
    judge = Judge(images, classes)
    return figures(
        images, classes, judge, judge.matches(match_iou), threshold=threshold,
        match_iou=match_iou, false_alarms=rate,
    )  # fmt: skip


def test_average_precision_is_cocos() -> None:
    """Hit, false box, hit of two objects: precision 1 at 51 of COCO's 101 recalls, 2/3 at 50."""
    found = judged([seen([HERE], [(0.9, HERE)]), seen([HERE], [(0.8, THERE), (0.7, HERE)])])
    assert found.ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert found.ap == pytest.approx(found.ap50)
    assert (found.at.precision.hits, found.at.precision.count) == (1, 2)
    assert (found.at.recall.hits, found.at.recall.count) == (1, 2)
    assert found.at.f1 == 0.5
    assert found.best is not None
    assert (found.best.threshold, found.best.f1) == (0.7, pytest.approx(4 / 5))
    assert found.curve[:51] == [1.0] * 51
    assert found.curve[51:] == [0.6667] * 50


def test_an_object_is_found_once() -> None:
    """Of two boxes on one object the better scored is a hit, the other a false box."""
    found = judged([seen([HERE], [(0.9, HERE), (0.8, HERE)])])
    assert (found.at.precision.hits, found.at.false_boxes) == (1, 1)


def test_overlap_decides() -> None:
    """A box that covers seven tenths counts for the overlaps up to 0.7, and where 0.75 is asked
    for it is false."""
    images = [seen([HERE], [(0.9, (0.0, 0.0, 10.0, 7.01))])]
    found = judged(images)
    assert (found.ap50, found.ap75, found.ap) == (1.0, 0.0, 0.5)
    assert found.at.recall.hits == 1
    assert judged(images, match_iou=0.75).at.recall.hits == 0


def test_classes_are_judged_apart() -> None:
    """A box of another class finds nothing; AP is the mean over the classes."""
    images = [
        seen([HERE, THERE], [(0.9, HERE), (0.8, THERE)], kinds=[0, 1], found_kinds=[0, 0]),
        seen([], [(0.95, HERE)], found_kinds=[1]),
    ]
    found = judged(images, classes=BOTH)
    phone, remote = found.classes
    assert (phone.ap50, remote.ap50, found.ap50) == (1.0, 0.0, 0.5)
    assert (phone.at.precision.hits, phone.at.precision.count) == (1, 2)
    assert (remote.at.recall.hits, remote.at.recall.count) == (0, 1)
    assert (found.at.recall.hits, found.at.recall.count) == (1, 2)


def test_crowds_are_neither_right_nor_wrong() -> None:
    """What is found in a crowd is no false box, and a crowd is nothing to find."""
    found = judged([seen([HERE, THERE], [(0.9, HERE), (0.8, THERE)], crowds=[True, False])])
    assert (found.objects, found.at.precision.count, found.at.recall.hits) == (1, 1, 1)
    assert found.empty_images == 0


def test_false_alarms_are_counted_on_images_without_objects() -> None:
    """Four images show nothing, three have a false box at 0.35; the image with an object does not
    count."""
    images = [seen([], [(score, HERE)]) for score in (0.6, 0.5, 0.4, 0.3)]
    images.append(seen([HERE], [(0.9, THERE)]))
    found = judged(images, 0.35)
    assert (found.images, found.empty_images) == (5, 4)
    assert (found.at.alarms.hits, found.at.alarms.count) == (3, 4)
    assert found.at.false_boxes_per_empty_image == 0.75
    assert found.at.false_boxes_per_image == 0.8


def test_the_threshold_for_a_rate_of_false_alarms() -> None:
    """With one false box allowed in four images it lies just above the second best."""
    images = [seen([], [(score, HERE)]) for score in (0.6, 0.5, 0.4, 0.3)]
    wanted = judged(images, rate=0.25).wanted
    assert wanted.at is not None
    assert (wanted.on, wanted.images, wanted.at.threshold) == ("without objects", 4, 0.5001)
    assert wanted.at.false_boxes_per_empty_image == 0.25
    anything = judged(images, rate=1.0).wanted.at
    assert anything is not None
    assert anything.threshold == SCORE_MIN


def test_a_rate_that_no_threshold_gives() -> None:
    """A false box with a score of 1 stays at every threshold."""
    assert judged([seen([], [(1.0, HERE)])]).wanted.at is None


def test_sizes() -> None:
    """A tenth of the frame and half of it, each in its row; areas as COCO names them."""
    large = (20.0, 20.0, 70.0, 60.0)
    found = judged([seen([HERE, large], [(0.9, large)])])
    shares = {size.name: (size.recall.hits, size.recall.count) for size in found.shares}
    assert shares["0.1 to 0.2"] == (0, 1)
    assert shares["0.45 to 0.6"] == (1, 1)
    assert [size.recall.count for size in found.areas] == [1, 1, 0]
    assert [size.ap for size in found.areas] == [0.0, pytest.approx(1.0), None]


def test_nothing_to_find_and_nothing_found() -> None:
    """What has no value is None, not 0 and not 1."""
    found = judged([seen([], [])])
    assert (found.ap50, found.ap, found.ap50_interval, found.best) == (None, None, None, None)
    assert (found.at.precision.share, found.at.recall.share, found.at.f1) == (None, None, None)
    assert found.at.alarms.share == 0


def test_the_interval_holds_the_figure() -> None:
    """Of 20 images of which half are found."""
    images = [seen([HERE], [(0.9, HERE)] if number % 2 else []) for number in range(20)]
    found = judged(images)
    assert found.ap50 == pytest.approx(51 / 101)
    assert found.ap50_interval is not None
    low, high = found.ap50_interval
    assert 0.2 < low < 0.45 < 0.6 < high < 0.8


def test_wilson() -> None:
    """The interval of 8 in 10 as textbooks give it."""
    share = Proportion.of(8, 10)
    assert (share.low, share.high) == pytest.approx((0.490, 0.943), abs=1e-3)
