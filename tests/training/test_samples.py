"""Training samples: boxes stay around what they are around, copies stay together."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from training import data, photographs, plan, sprites
from training.plan import NOTHING, PHONE, UNSURE, Labels, Planner, Source, SpriteLabels
from training.scenes.backgrounds import Sources
from training.scenes.photos import PhotoFile

ONE = Labels(np.array([[0.3, 0.4, 0.5, 0.8]], np.float32), np.array([PHONE], np.uint8))
NONE = Labels(np.zeros((0, 4), np.float32), np.zeros(0, np.uint8))
STICKER = SpriteLabels(np.array([[0.2, 0.3, 0.8, 0.7]], np.float32), np.array([True]), np.ones(1))
NO_SPRITES = SpriteLabels(np.zeros((0, 4)), np.zeros(0, bool), np.zeros(0))


def planner(labels: Labels, things: SpriteLabels, mosaics: float = 0.0) -> Planner:
    """A planner of one picture."""
    return Planner([labels], [Source(1.0, [[0]], 1.0)], things, mosaics)


def moved(matrix: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A sample's box, xyxy, where `matrix` leads to."""
    corners = box.reshape(2, 2) @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


@pytest.mark.parametrize("calm", [False, True])
def test_boxes_follow_windows(calm: bool) -> None:
    """Each box leads back to the phone's place in the picture, or to a part that is cut."""
    made = planner(ONE, NO_SPRITES).batch(np.random.default_rng(1), 200, calm)
    seen = 0
    for matrix, boxes, kinds in zip(made.windows, made.boxes, made.kinds, strict=True):
        for box in boxes[kinds != NOTHING]:
            back = moved(matrix, box)
            uncut = np.array([box[0] > 0, box[1] > 0, box[2] < 1, box[3] < 1])
            if uncut.all():
                assert back == pytest.approx(ONE.boxes[0], abs=1e-5)
                seen += 1
            assert (back[:2] >= ONE.boxes[0, :2] - 1e-5).all()
            assert (back[2:] <= ONE.boxes[0, 2:] + 1e-5).all()
    assert seen > 50


def test_a_phone_of_which_little_is_left_is_unsure() -> None:
    """Below two fifths, or too small, it is neither a phone nor background."""
    boxes = np.array([[-0.5, 0, 0.1, 0.5], [0.2, 0.2, 0.21, 0.215], [0.5, 0.5, 0.9, 0.9]])
    left = plan.shares_left(boxes, np.array([0, 0, 1, 1]))
    kept = plan.keep(boxes, np.array([PHONE] * 3), left)
    assert kept.kinds.tolist() == [UNSURE, UNSURE, PHONE]


def test_a_pasted_phone_gets_a_box() -> None:
    """Its box leads back to the phone in its square, unless it is cut by the sample's edge."""
    made = planner(NONE, STICKER).batch(np.random.default_rng(2), 100)
    pasted = {}
    for (sample, _, sprite), matrix in zip(made.pastes, made.paste_windows, strict=True):
        assert sprite == 0
        pasted.setdefault(sample, []).append(matrix)
    assert len(pasted) > 60
    for sample, matrices in pasted.items():
        boxes = made.boxes[sample][made.kinds[sample] != NOTHING]
        assert len(boxes) == len(matrices)
        for box in boxes:
            if (box[:2] > 0).all() and (box[2:] < 1).all():
                backs = [moved(matrix, box) for matrix in matrices]
                assert min(np.abs(back - STICKER.boxes[0]).max() for back in backs) < 1e-4


def test_nothing_is_pasted_onto_a_phone() -> None:
    """What is pasted hides no phone that is there, and lies on none."""
    made = planner(ONE, STICKER).batch(np.random.default_rng(3), 100)
    for boxes, kinds in zip(made.boxes, made.kinds, strict=True):
        there = boxes[kinds != NOTHING]
        for number, box in enumerate(there):
            others = np.delete(there, number, axis=0)
            assert (plan.shares_left(others, box) <= 0.03).all()


def test_look_alikes_get_no_box() -> None:
    """A thing that is no phone is pasted, and leaves no label."""
    thing = SpriteLabels(STICKER.boxes, np.array([False]), np.ones(1))
    made = planner(NONE, thing).batch(np.random.default_rng(4), 50)
    assert len(made.pastes) > 30
    assert (made.kinds == NOTHING).all()


def test_mosaics_show_whole_samples() -> None:
    """A mosaic's boxes are those of its parts, each in its cell."""
    made = planner(ONE, NO_SPRITES, 0.5).batch(np.random.default_rng(5), 60)
    assert len(made.mosaics) == 30
    replaced = {number for number, _ in made.mosaics}
    for number, cells in made.mosaics:
        assert replaced.isdisjoint(cells.tolist())
        side = round(len(cells) ** 0.5)
        parts = [made.boxes[cell][made.kinds[cell] != NOTHING] for cell in cells]
        count = min(sum(map(len, parts)), plan.MAX_BOXES)
        assert (made.kinds[number] != NOTHING).sum() == count
        for box in made.boxes[number][made.kinds[number] != NOTHING]:
            column, row = ((box[:2] + box[2:]) / 2 * side).astype(int)
            part = parts[row * side + column]
            inner = box * side - [column, row] * 2
            assert np.abs(part - inner).max(axis=1).min() < 1e-4


def test_plans_are_the_same_however_many_processes() -> None:
    """Batch by batch, with one process and with two."""
    made = []
    for processes in (1, 2):
        plans = data.Plans(planner(ONE, STICKER, 0.3), [7], 8, processes)
        made.append([next(plans).boxes for _ in range(4)])
        plans.stop()
    assert all((one == two).all() for one, two in zip(*made, strict=True))


def test_what_the_teacher_saw_joins_the_labels(tmp_path: Path) -> None:
    """Sure boxes become phones, others are neither; all as shares of the picture."""
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((100, 200, 3), np.uint8))
    sample = photographs.Sample(tmp_path / "a.jpg", np.array([[0, 0, 100, 50]], np.float32))
    united = data.unite(sample, [[100, 50, 200, 100, 1], [20, 10, 40, 20, 0]])
    assert united.kinds.tolist() == [PHONE, PHONE, UNSURE]
    assert united.boxes[1].tolist() == [0.5, 0.5, 1.0, 1.0]


def test_drawn_things_to_paste(tmp_path: Path) -> None:
    """Phones and look-alikes come with a box around what is not seen through."""
    cv2.imwrite(str(tmp_path / "shown.jpg"), picture(0))
    shown = Sources(sprites.TRAINING.textures, [PhotoFile(tmp_path / "shown.jpg")])
    written = [entry for index in range(6) for entry in sprites.write_drawn(index, shown, tmp_path)]
    (tmp_path / "boxes.json").write_text(json.dumps(dict(written)))
    layers, labels = sprites.read_sprites(tmp_path)
    assert layers.shape == (6, 4, sprites.SIDE, sprites.SIDE)
    assert set(labels.phones.tolist()) == {True, False}
    assert labels.weights.sum() == pytest.approx(1)
    for layer, box in zip(layers, labels.boxes, strict=True):
        left, top, right, bottom = (box * sprites.SIDE).astype(int)
        assert (layer[3, top:bottom, left:right] > 127).mean() > 0.15
        # Colours are multiplied by alpha: none is brighter than it.
        assert (layer[:3].max(axis=0) <= layer[3]).all()


def picture(seed: int) -> np.ndarray:
    """Smooth noise that looks like no other seed's."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    return cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)


def write(folder: Path, name: str, image: np.ndarray) -> None:
    """One photograph with a phone in its middle."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "images" / f"{name}.jpg"), image)
    (folder / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.25 0.5\n")


def test_copies_stay_together(tmp_path: Path) -> None:
    """Brightened, mirrored and turned copies are one moment, and one side of the split."""
    for number in range(10):
        write(tmp_path / "train", f"oi_{number}", picture(number))
    copies = [cv2.convertScaleAbs(picture(0), alpha=0.9), picture(0)[:, ::-1]]
    copies.append(np.rot90(picture(0)))
    for number, copy in enumerate(copies):
        write(tmp_path / "train", f"oi_copy{number}", np.ascontiguousarray(copy))
    (tmp_path / "negatives").mkdir()
    (tmp_path / "negatives" / "train.txt").write_text("")
    found = photographs.read_photographs(tmp_path)
    assert [sample.path.stem for sample in found.valid] == ["oi_0", "oi_5"]
    assert sorted(len(moment) for moment in found.train) == [1] * 8
    assert found.valid[0].boxes.tolist() == [[60, 30, 100, 90]]
