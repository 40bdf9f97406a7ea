"""worker.model.loading: which ONNX files run, what is read from them, who is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from models.coco import COCO
from pipeline.errors import ConfigurationError, ModelError
from pipeline.settings import Settings
from tests.paths import ROOT
from tests.worker import onnx_models
from tests.worker.onnx_models import SIZE, Export
from worker.model import loading as model
from worker.model.outputs import anchor_count
from worker.model.session import Detector


def detector(path: Path, **settings: Any) -> Detector:
    return Detector(Settings(model=path, provider="cpu", threads=1, **settings))


def shades(count: int, size: tuple[int, int] = (SIZE, SIZE)) -> list[np.ndarray]:
    """Images that differ from each other and from pixel to pixel."""
    rng = np.random.default_rng(3)
    return [rng.integers(0, 200, (*size, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


# -- kinds that run -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("export", "free"),
    [
        pytest.param(Export(), True, id="free batch"),
        pytest.param(Export(batch=1), False, id="batch of 1"),
        pytest.param(Export(names=("a", "b"), boxes_first=True), True, id="boxes first"),
        pytest.param(Export(input_type=TensorProto.FLOAT16), True, id="half precision input"),
        pytest.param(Export(height=96, width=160), True, id="not square"),
        pytest.param(Export(classes=1), True, id="one class"),
        pytest.param(
            Export(
                height=None,
                width=None,
                runs_at=(64, 96),
                metadata={"damoscope.input_size": "[64, 96]"},
            ),
            True,
            id="free size, named in the metadata",
        ),
    ],
)
def test_kinds_of_exports(path: Path, export: Export, free: bool) -> None:
    """Every kind of export loads; scores and boxes are told apart and follow the pixels."""
    loaded = detector(export.save(path), batch_max=2)
    spec = loaded.spec
    height, width = export.height or 64, export.width or 96
    assert (spec.height, spec.width) == (height, width)
    assert loaded.batch_max == (2 if free else 1)
    images = shades(loaded.batch_max, (height, width))
    scores, boxes = loaded.run(images)
    anchors = anchor_count(height, width)
    assert scores.shape == (len(images), anchors, export.classes)
    assert boxes.shape == (len(images), anchors, 4)
    assert scores.dtype == boxes.dtype == np.float32
    assert 0 <= scores.min() <= scores.max() <= 1 < boxes.max()
    # The first cell of the first map averages the top left 8 x 8 pixels, colours weighted.
    mean = images[0][:8, :8].mean(axis=(0, 1))
    weights = np.random.default_rng(7).uniform(0, 1, (export.classes, 3, 1, 1))[:, :, 0, 0]
    expected = 1 / (1 + np.exp(-0.02 * (weights @ mean - 100)))
    assert scores[0, 0] == pytest.approx(expected, abs=1e-4)


# -- labels and thresholds ----------------------------------------------------------------


@pytest.mark.parametrize("classes", [80, 81])
def test_coco_without_labels(path: Path, classes: int) -> None:
    """80 scores, or 81 of a legacy checkpoint, are COCO's classes where none are named."""
    spec = detector(Export(classes=classes).save(path)).spec
    assert spec.labels == COCO
    assert len(spec.labels) == 80


def test_coco_names_are_distinct() -> None:
    """No class is listed twice or forgotten."""
    assert len(set(COCO)) == 80
    assert (COCO[0], COCO[67], COCO[79]) == ("person", "cell phone", "toothbrush")


def test_labels_and_thresholds_from_the_metadata(path: Path) -> None:
    """A file that carries its name, labels and thresholds needs no settings."""
    metadata = {
        **onnx_models.labelled("phone", "calculator"),
        "damoscope.name": "exam",
        "damoscope.score_threshold": "0.25",
        "damoscope.iou_threshold": "0.5",
    }
    loaded = detector(Export(classes=2, metadata=metadata).save(path))
    assert loaded.spec.name == "exam"
    assert loaded.spec.labels == ("phone", "calculator")
    assert (loaded.score_threshold, loaded.iou_threshold) == (0.25, 0.5)
    chosen = detector(path, score_threshold=0.0, iou_threshold=1.0)
    assert (chosen.score_threshold, chosen.iou_threshold) == (0.0, 1.0)


def test_defaults_of_a_bare_file(path: Path) -> None:
    """A file that carries nothing is named after itself, its classes are numbered."""
    loaded = detector(Export(classes=2).save(path))
    assert loaded.spec.name == "model"
    assert loaded.spec.labels == ("class 0", "class 1")
    assert loaded.score_threshold == model.SCORE_THRESHOLD
    assert loaded.iou_threshold == model.IOU_THRESHOLD


def test_legacy_export_with_labels(path: Path) -> None:
    """One score more than labels is a legacy checkpoint; its last score has no label."""
    export = Export(classes=3, metadata=onnx_models.labelled("phone", "book"))
    assert detector(export.save(path)).spec.labels == ("phone", "book")


def test_labels_file(path: Path, tmp_path: Path) -> None:
    """The labels file wins over the metadata; empty lines and a byte order mark don't count."""
    labels = tmp_path / "labels.txt"
    labels.write_text("\ufeffphone\n\n  手机 \nbook\n", encoding="utf-8")
    export = Export(classes=3, metadata=onnx_models.labelled("a", "b", "c"))
    assert detector(export.save(path), labels=labels).spec.labels == ("phone", "手机", "book")


@pytest.mark.parametrize("content", [b"phone\nbook", b"a\nb\nc\nd\ne", b""])
def test_wrong_number_of_labels(path: Path, tmp_path: Path, content: bytes) -> None:
    """Labels that do not fit the scores are refused, with both numbers."""
    labels = tmp_path / "labels.txt"
    labels.write_bytes(content)
    count = len(content.split())
    with pytest.raises(ModelError, match=f"scores 4 classes, but {count} labels"):
        detector(Export(classes=4).save(path), labels=labels)


def test_empty_labels_file_of_a_model_with_one_class(path: Path, tmp_path: Path) -> None:
    """No labels at all is not a legacy checkpoint."""
    labels = tmp_path / "labels.txt"
    labels.touch()
    with pytest.raises(ModelError, match="scores 1 classes, but 0 labels"):
        detector(Export(classes=1).save(path), labels=labels)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_unreadable_labels_file(path: Path, tmp_path: Path, content: bytes | None) -> None:
    """A labels file that is missing or is not text is named, with its setting."""
    labels = tmp_path / "labels.txt"
    if content is not None:
        labels.write_bytes(content)
    with pytest.raises(
        ConfigurationError, match=r"labels\.txt: the class names \(DAMOSCOPE_LABELS\)"
    ):
        detector(Export().save(path), labels=labels)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("damoscope.labels", "phone"),
        ("damoscope.labels", '"phone"'),
        ("damoscope.labels", "[1, 2, 3]"),
        ("damoscope.score_threshold", "high"),
        ("damoscope.score_threshold", "1.5"),
        ("damoscope.iou_threshold", "nan"),
        ("damoscope.input_size", "640"),
        ("damoscope.input_size", "[64]"),
        ("damoscope.input_size", "[-64, 64]"),
    ],
)
def test_unreadable_metadata(path: Path, key: str, value: str) -> None:
    """Metadata that cannot be read is refused by its key, not with a traceback."""
    free = None if key == "damoscope.input_size" else SIZE
    with pytest.raises(ModelError, match=f"metadata {key}="):
        detector(Export(height=free, width=free, metadata={key: value}).save(path))


# -- files that are refused ---------------------------------------------------------------


def test_missing_file(path: Path) -> None:
    """A path that leads nowhere is named together with the setting to change."""
    with pytest.raises(ModelError, match=r"model\.onnx: no such model file.*DAMOSCOPE_MODEL"):
        model.load(path)


def test_folder(tmp_path: Path) -> None:
    """A folder is not a model file."""
    with pytest.raises(ModelError, match="no file, but a folder"):
        model.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "readable ONNX model"),
        (b"just some words\n", "readable ONNX model"),
        (bytes(1000), "readable ONNX model"),
        (b"\n <html>404</html>", "but a web page"),
        (b"\xef\xbb\xbf<!DOCTYPE html><title>Sign in", "but a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5562690\n",
         "but a Git LFS pointer.*git lfs pull"),
        (b"PK\x03\x04" * 9, "but a PyTorch checkpoint"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "but a PyTorch checkpoint"),
    ],
)  # fmt: skip
def test_not_onnx(path: Path, content: bytes, why: str) -> None:
    """Whatever is not ONNX, such as a checkpoint or a download page, is refused by name."""
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"model\.onnx: not an? .*{why}"):
        model.load(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_truncated_file(path: Path, part: float) -> None:
    """A download that broke off is refused."""
    whole = (ROOT / "models" / "damoyolo_ns_phone.onnx").read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(ModelError, match="it was cut short, is damaged, or is something else"):
        detector(path)


@pytest.mark.parametrize(
    ("export", "message"),
    [
        (Export(batch=4), "batch axis is fixed at 4"),
        (Export(input_type=TensorProto.INT64), "its input is INT64, not FLOAT"),
        (Export(input_type=TensorProto.UINT8), "its input is UINT8, not FLOAT"),
        (Export(sigmoids=0), r"scores leave 0\.\.1 .*; export them after the sigmoid"),
        (Export(height=None), "height and width are free"),
        (Export(width=None), "height and width are free"),
        (Export(height=80), "80 x 64 is not a multiple of 32"),
        (Export(strides=(8, 16)), "an output is 1 x 80 x 3, not N x 84"),
        (Export(strides=(4, 8, 16)), "not N x 84"),
    ],
)
def test_other_exports_are_refused(path: Path, export: Export, message: str) -> None:
    """What does not fit is said in the numbers of the file, and what to do about it."""
    with pytest.raises(ModelError, match=message):
        detector(export.save(path))


def test_wrong_channels(path: Path) -> None:
    """A model of grey images is refused."""
    exported = Export().model()
    exported.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    onnx.save(exported, str(path))
    with pytest.raises(ModelError, match=r"its input is . x 1 x 64 x 64, not N x 3 x H x W"):
        detector(path)


def test_two_inputs(path: Path) -> None:
    """A model that wants more than the image is refused."""
    exported = Export().model()
    other = exported.graph.input.add()
    other.CopyFrom(exported.graph.input[0])
    other.name = "scale_factor"
    onnx.save(exported, str(path))
    with pytest.raises(ModelError, match="it has 2 inputs, not one"):
        detector(path)


def test_end_to_end_export(path: Path) -> None:
    """An export with NMS inside is refused with what to do."""
    with pytest.raises(ModelError, match=r"4 outputs, not two.*export it without NMS"):
        detector(onnx_models.end_to_end(path))


def test_classifier(path: Path) -> None:
    """A network of another kind is refused."""
    with pytest.raises(ModelError, match="1 outputs, not two"):
        detector(onnx_models.classifier(path))


@pytest.mark.parametrize("export", [Export(ignores_batch=True), Export(mixes_batch=True)])
def test_batch_axis_that_is_free_in_name_only(path: Path, export: Export) -> None:
    """An export that mixes up its images is refused for batches and runs one by one."""
    with pytest.raises(ModelError, match=r"free in name only; .*DAMOSCOPE_BATCH_MAX=1"):
        detector(export.save(path), batch_max=2)
    assert detector(path, batch_max=1).batch_max == 1


def test_nodes_that_are_not_sorted(path: Path) -> None:
    """Converters to half precision leave a graph's nodes unsorted, which onnx itself refuses."""
    exported = Export().model()
    nodes = list(reversed(exported.graph.node))
    del exported.graph.node[:]
    exported.graph.node.extend(nodes)
    onnx.save(exported, str(path))
    with pytest.raises(onnx.checker.ValidationError, match="sorted"):
        onnx.checker.check_model(exported)
    scores, _ = detector(path).run(shades(1))
    other, _ = detector(Export().save(path)).run(shades(1))
    np.testing.assert_array_equal(scores, other)


def test_nodes_in_a_circle(path: Path) -> None:
    """No order helps a graph whose nodes wait for each other."""
    exported = Export().model()
    exported.graph.node[0].input[0] = exported.graph.node[-1].output[0]
    path.write_bytes(exported.SerializeToString())
    with pytest.raises(ModelError, match="in a circle"):
        model.load(path)


@pytest.mark.parametrize("field", ["opset", "ir"])
def test_a_file_that_is_too_new(path: Path, field: str) -> None:
    """It is told which version is known, and how to export for it."""
    exported = Export().model()
    if field == "opset":
        exported.opset_import[0].version = 99
    else:
        exported.ir_version = 99
    path.write_bytes(exported.SerializeToString())
    with pytest.raises(ModelError, match=r"newer than opset \d+ .*opset_version=17"):
        model.load(path)
