"""worker.model.precision, .agreement and .photographs: models in fewer bits, judged by pictures."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import ConfigurationError, ModelError
from pipeline.settings import Settings
from tests.worker import pictures
from tests.worker.onnx_models import SIZE, Export
from worker.model import photographs
from worker.model.agreement import Agreement
from worker.model.graph import IMAGE_INPUT
from worker.model.importing import import_onnx
from worker.model.loading import ModelSpec, load
from worker.model.photographs import LEAST, TAKEN, pictures_in
from worker.model.precision import convert
from worker.model.session import Detector

Pixels = NDArray[np.uint8]


def bright(seed: int) -> Pixels:
    """Flat areas between middling and bright, in which the small model finds much."""
    rng = np.random.default_rng(seed)
    areas = rng.integers(60, 255, (4, 4, 3), dtype=np.uint8)
    return np.kron(areas, np.ones((SIZE // 4, SIZE // 4, 1), np.uint8))


BRIGHT = [bright(seed) for seed in range(40)]
DARK = np.full((SIZE, SIZE, 3), 3, np.uint8)


@pytest.fixture
def imported(tmp_path: Path) -> tuple[Path, ModelSpec]:
    """An imported model of three classes, and what it is."""
    made = import_onnx(
        Export().save(tmp_path / "export.onnx"), tmp_path / "imported.onnx", name="small"
    )
    return tmp_path / "imported.onnx", made.spec


@pytest.mark.parametrize(("precision", "calibrated_with"), [("fp16", 0), ("int8", 20)])
def test_in_fewer_bits(
    imported: tuple[Path, ModelSpec], tmp_path: Path, precision: str, calibrated_with: int
) -> None:
    """A worker runs what is written, which takes and gives what the original does, and finds nearly
    all that it finds; half of the pictures calibrate integers, and the others judge."""
    source, spec = imported
    target = tmp_path / "reduced.onnx"
    root = logging.getLogger()
    level = root.level
    made = convert(source, target, precision, spec, BRIGHT)
    assert root.level == level
    assert made.calibrated_with == calibrated_with
    agreement = made.agreement
    assert agreement.photographs == len(BRIGHT) - calibrated_with
    assert agreement.boxes > 20 * agreement.photographs
    assert agreement.objection == ""
    assert agreement.score_difference_mean <= agreement.score_difference_max < 0.05
    assert agreement.original_ms > 0
    assert agreement.converted_ms > 0
    graph = load(target)
    assert graph.free_batch
    assert graph.metadata["damoscope.precision"] == precision
    assert graph.metadata["damoscope.name"] == "small"
    model = onnx.load(target)
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert (
        onnx.TensorProto.FLOAT16 in kinds if precision == "fp16" else onnx.TensorProto.INT8 in kinds
    )
    (given,) = model.graph.input
    assert (given.name, given.type.tensor_type.elem_type) == (IMAGE_INPUT, onnx.TensorProto.UINT8)
    for each in model.graph.output:
        assert each.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    detector = Detector(Settings(model=target, provider="cpu", threads=1, batch_max=3))
    scores, _ = detector.run(BRIGHT[:3])
    first, _ = Detector(Settings(model=source, provider="cpu", threads=1)).run(BRIGHT[:1])
    assert np.abs(scores[0] - first[0]).max() < 0.05


def test_calibrated_with_something_else(imported: tuple[Path, ModelSpec], tmp_path: Path) -> None:
    """Integers that are scaled by dark pictures lose what is in bright ones, and that is told."""
    source, spec = imported
    mixed = [picture for each in BRIGHT for picture in (DARK, each)]
    made = convert(source, tmp_path / "reduced.onnx", "int8", spec, mixed)
    assert "90% of them and 10% others are bearable" in made.agreement.objection


def test_pictures_that_show_nothing(imported: tuple[Path, ModelSpec], tmp_path: Path) -> None:
    """Where the original finds nothing there is no telling."""
    source, spec = imported
    made = convert(source, tmp_path / "reduced.onnx", "fp16", spec, [DARK] * LEAST)
    assert made.agreement.boxes == 0
    assert "with fewer than 20 there is no telling" in made.agreement.objection


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_only_once(imported: tuple[Path, ModelSpec], tmp_path: Path, precision: str) -> None:
    """What has fewer bits already is refused, with why."""
    source, spec = imported
    target = tmp_path / "reduced.onnx"
    convert(source, target, precision, spec, BRIGHT)
    with pytest.raises(ModelError, match="already; convert its original"):
        convert(target, tmp_path / "again.onnx", "int8", spec, BRIGHT)


def test_what_is_bearable() -> None:
    """Nine of ten boxes found again and one of ten new are; a box less, or one more new, is not."""
    just = Agreement(
        photographs=30, boxes=100, found_again=90, new=10, score_difference_mean=0.01,
        score_difference_max=0.1, original_ms=2, converted_ms=1,
    )  # fmt: skip
    assert just.objection == ""
    assert "it finds 89 of the original's 100 boxes" in replace(just, found_again=89).objection
    assert "and 11 others" in replace(just, new=11).objection
    assert (
        "finds 19 boxes in the 30 photographs"
        in replace(just, boxes=19, found_again=19, new=0).objection
    )


def test_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a folder and of folders in it, in the order of their names, spread over all; what
    cannot be read counts for nothing, and too few are refused."""
    settings = Settings(home=tmp_path, max_pixels=100_000)
    with pytest.raises(ConfigurationError, match="no such folder"):
        pictures_in(tmp_path / "nowhere", SIZE, SIZE, settings)
    folder = tmp_path / "photographs"
    (folder / "more").mkdir(parents=True)
    for number in range(LEAST):
        flat = Image.new("RGB", (90, 60), (10 * number, 0, 0))
        place = folder / "more" if number % 2 else folder
        (place / f"{number:02}.png").write_bytes(pictures.encode(flat, "PNG"))
    (folder / "notes.txt").write_text("no picture")
    (folder / "cut.jpg").write_bytes(pictures.encode(Image.new("RGB", (90, 60)), "JPEG")[:200])
    (folder / "large.png").write_bytes(pictures.encode(Image.new("RGB", (400, 400)), "PNG"))
    found = pictures_in(folder, SIZE, SIZE, settings)
    assert len(found) == LEAST
    assert all(each.shape == (SIZE, SIZE, 3) for each in found)
    reds = [int(each[0, 0, 0]) for each in found]
    assert reds == [10 * number for number in (*range(0, LEAST, 2), *range(1, LEAST, 2))]
    (folder / "00.png").unlink()
    with pytest.raises(
        ConfigurationError, match=r"19 photographs can be read of 21 .* at least 20"
    ):
        pictures_in(folder, SIZE, SIZE, settings)
    monkeypatch.setattr(photographs, "TAKEN", 3)
    monkeypatch.setattr(photographs, "LEAST", 1)
    assert [int(each[0, 0, 0]) for each in pictures_in(folder, SIZE, SIZE, settings)] == [20, 190]
    assert TAKEN == 200
