"""Training samples: boxes stay around what they are around, copies stay together."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training import cutouts, data, photographs

RED = (255, 0, 0)


def around_red(image: np.ndarray) -> list[int]:
    """The box around what is red, xyxy."""
    red = (image[..., 0] > 100) & (image[..., 1:].max(axis=2) < 40)
    rows, columns = np.nonzero(red)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("seed", range(8))
def test_boxes_follow_crops_and_flips(seed: int) -> None:
    """The box is around the red rectangle afterwards, to two pixels."""
    rng = np.random.default_rng(seed)
    image = np.full((300, 400, 3), 128, np.uint8)
    image[100:200, 150:210] = RED
    boxes = np.array([[150, 100, 210, 200]], np.float32)
    image, boxes = data.flip(rng, *data.crop(rng, image, boxes, 192, (0.6, 1.6)))
    for box in boxes:
        assert box.tolist() == pytest.approx(around_red(image), abs=2)


@pytest.mark.parametrize("seed", range(8))
def test_a_pasted_phone_gets_a_box(seed: int) -> None:
    """A cut-out lands whole in the picture, its box around it."""
    cutout = np.zeros((80, 40, 4), np.uint8)
    cutout[:] = (*RED, 255)
    grey = np.full((240, 320, 3), 128, np.uint8)
    none = np.zeros((0, 4), np.float32)
    image, boxes = cutouts.paste(np.random.default_rng(seed), grey, none, [cutout])
    assert (grey == 128).all()
    for box in boxes:
        assert box.tolist() == pytest.approx(around_red(image), abs=2)


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
