"""worker.model.importing: every kind of export becomes the file that workers run, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto
from onnx.external_data_helper import convert_model_to_external_data
from onnxruntime.transformers.float16 import convert_float_to_float16

from pipeline.errors import ModelError
from pipeline.settings import Settings
from tests.paths import ROOT
from tests.worker import onnx_models
from tests.worker.onnx_models import SIZE, Export
from worker.model import importing, trial
from worker.model.graph import IMAGE_INPUT
from worker.model.importing import import_onnx
from worker.model.loading import load
from worker.model.outputs import synthetic
from worker.model.session import Detector

BUNDLED = ROOT / "models" / "damoyolo_ns_phone.onnx"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "export.onnx"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "imported.onnx"


def detector(path: Path, **settings: Any) -> Detector:
    return Detector(Settings(model=path, provider="cpu", threads=1, **settings))


def originally(source: Path, pictures: list[np.ndarray]) -> list[list[np.ndarray]]:
    """What the export gives for each picture, by ONNX Runtime alone."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    (wanted,) = session.get_inputs()
    kind = np.float16 if wanted.type == "tensor(float16)" else np.float32
    return [
        session.run(None, {wanted.name: picture.transpose(2, 0, 1)[None].astype(kind)})
        for picture in pictures
    ]


@pytest.mark.parametrize(
    ("export", "free"),
    [
        pytest.param(Export(), True, id="free batch"),
        pytest.param(Export(batch=1), True, id="batch of 1"),
        pytest.param(Export(batch=1, traced=True), True, id="batch of 1, traced"),
        pytest.param(Export(traced=True), True, id="free in name, traced"),
        pytest.param(Export(ignores_batch=True), True, id="free in name, mended"),
        pytest.param(Export(mixes_batch=True), False, id="free in name, not to be mended"),
        pytest.param(Export(batch=1, mixes_batch=True), False, id="batch of 1, not to be freed"),
        pytest.param(Export(names=("a", "b"), boxes_first=True), True, id="boxes first"),
        pytest.param(Export(classes=4, boxes_first=True), True, id="four classes, boxes first"),
        pytest.param(Export(classes=4), True, id="four classes"),
        pytest.param(Export(input_type=TensorProto.FLOAT16, batch=1), True, id="half input"),
        pytest.param(Export(height=96, width=160, batch=1, traced=True), True, id="not square"),
    ],
)
def test_kinds_of_exports(source: Path, target: Path, export: Export, free: bool) -> None:
    """Each is written as workers run it, three images at once where they can be, and gives what
    the export gives for one."""
    export.save(source)
    imported = import_onnx(source, target, name="exam")
    assert imported.free_batch == free
    assert ("its batch axis stays 1" in " ".join(imported.notes)) == (not free)
    (given,) = onnx.load(str(target)).graph.input
    assert (given.name, given.type.tensor_type.elem_type) == (IMAGE_INPUT, TensorProto.UINT8)
    height, width = export.height or 0, export.width or 0
    pictures = [synthetic(height, width, seed) for seed in (7, 8, 9)]
    loaded = detector(target, batch_max=3)
    assert loaded.batch_max == (3 if free else 1)
    rows = [loaded.run([picture]) for picture in pictures]
    if free:
        scores, boxes = loaded.run(pictures)
        rows += [(scores[index : index + 1], boxes[index : index + 1]) for index in range(3)]
    spec = imported.spec
    for index, (scores, boxes) in enumerate(rows):
        wanted = originally(source, pictures)[index % 3]
        np.testing.assert_allclose(scores, wanted[spec.scores_output], atol=1e-5)
        np.testing.assert_allclose(boxes, wanted[spec.boxes_output], atol=1e-3)


def test_what_the_file_says_of_itself(source: Path, target: Path) -> None:
    """Name, class names, size, thresholds, where it is from, and how far it is from that."""
    metadata = {"names": "{0: 'phone', 1: 'book'}", "damoscope.score_threshold": "0.3",
                "license": "MIT"}  # fmt: skip
    Export(classes=2, batch=1, metadata=metadata).save(source)
    imported = import_onnx(source, target, name="exam")
    said = load(target).metadata
    assert said["damoscope.name"] == "exam"
    assert json.loads(said["damoscope.labels"]) == ["phone", "book"]
    assert json.loads(said["damoscope.input_size"]) == [SIZE, SIZE]
    assert (said["damoscope.score_threshold"], said["damoscope.iou_threshold"]) == ("0.3", "0.65")
    assert said["license"] == "MIT"
    kept = json.loads(said["damoscope.imported"])
    assert kept == {"from": "export.onnx", "parity": vars(imported.parity)}
    assert kept["parity"]["pictures"] == 4
    assert imported.notes == ["its batch axis was made free"]
    assert detector(target).spec.labels == ("phone", "book")


def test_class_names_from_a_file(source: Path, target: Path, tmp_path: Path) -> None:
    """They win over those in the export; a file that has one less names an older checkpoint."""
    labels = tmp_path / "labels.txt"
    labels.write_text("phone\nbook\n")
    Export(classes=3, metadata=onnx_models.labelled("a", "b", "c")).save(source)
    imported = import_onnx(source, target, name="exam", labels=labels)
    assert imported.spec.labels == ("phone", "book")
    assert "the last is ignored" in " ".join(imported.notes)
    assert detector(target).spec.labels == ("phone", "book")


@pytest.mark.parametrize(("classes", "said"), [(80, "COCO's are taken"), (2, "'class 0'")])
def test_a_file_without_class_names(source: Path, target: Path, classes: int, said: str) -> None:
    """Whoever imports it is told what its classes are called."""
    Export(classes=classes).save(source)
    assert said in " ".join(import_onnx(source, target, name="exam").notes)


def test_a_size_that_the_file_leaves_open(source: Path, target: Path) -> None:
    """It is said once, at import."""
    Export(height=None, width=None, runs_at=(64, 96)).save(source)
    with pytest.raises(ModelError, match="height and width are free"):
        import_onnx(source, target, name="exam")
    imported = import_onnx(source, target, name="exam", input_size=(64, 96))
    assert (imported.spec.height, imported.spec.width) == (64, 96)
    spec = detector(target).spec
    assert (spec.height, spec.width) == (64, 96)


def test_a_size_that_is_not_the_files(source: Path, target: Path) -> None:
    """A network of one size cannot be run at another."""
    Export().save(source)
    with pytest.raises(ModelError, match=r"its input is fixed at 64 x 64: .* at 96 x 96"):
        import_onnx(source, target, name="exam", input_size=(96, 96))


def test_unsorted_nodes_and_weights_in_other_files(source: Path, target: Path) -> None:
    """What is written is one file with its nodes in order."""
    model = Export(batch=1).model()
    nodes = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, str(source))
    imported = import_onnx(source, target, name="exam")
    assert imported.free_batch
    source.unlink()
    (source.parent / "weights.bin").unlink()
    onnx.checker.check_model(str(target))
    assert detector(target).spec.name == "exam"


@pytest.mark.parametrize("keep_io_types", [False, True])
def test_half_precision_as_a_converter_writes_it(
    source: Path, target: Path, keep_io_types: bool
) -> None:
    """By ONNX Runtime's own converter, whose nodes are not in order."""
    model = convert_float_to_float16(onnx.load(str(BUNDLED)), keep_io_types=keep_io_types)
    onnx.save(model, str(source))
    imported = import_onnx(source, target, name="half")
    assert imported.free_batch
    assert imported.spec.labels == ("phone",)
    picture = synthetic(imported.spec.height, imported.spec.width, seed=9)
    half, whole = detector(target).run([picture]), detector(BUNDLED).run([picture])
    np.testing.assert_allclose(half[0], whole[0], atol=0.01)
    assert detector(source).spec.labels == ("phone",)


def test_an_imported_file_can_be_imported(source: Path, target: Path) -> None:
    """On another machine, under another name; nothing is put in front of it twice."""
    Export(batch=1).save(source)
    import_onnx(source, target, name="exam")
    again = import_onnx(target, source, name="second")
    assert again.free_batch
    assert again.notes == []
    nodes = [len(onnx.load(str(path)).graph.node) for path in (source, target)]
    assert nodes[0] == nodes[1]
    assert detector(source).spec.name == "second"


def test_the_bundled_model(target: Path) -> None:
    """It passes, and gives what it gave."""
    imported = import_onnx(BUNDLED, target, name="phones")
    assert imported.free_batch
    assert imported.notes == []
    assert imported.licence == "Apache-2.0"
    assert imported.parity.scores < 1e-4
    assert imported.parity.boxes_px < 0.01
    picture = synthetic(imported.spec.height, imported.spec.width, seed=9)
    for got, wanted in zip(detector(target).run([picture]), detector(BUNDLED).run([picture]),
                           strict=True):  # fmt: skip
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    ("export", "why"),
    [
        (Export(boxes_matrix=np.eye(4) / SIZE), "in fractions of the input"),
        (Export(overflows=True), "NaN or infinite"),
        (Export(sigmoids=0), "as logits do"),
        (Export(fails_on_white=True, batch=4), "its batch axis is fixed at 4"),
        (Export(metadata={"names": "nobody knows"}), "its metadata names=nobody knows cannot"),
        (Export(metadata=onnx_models.labelled("a")), "it scores 3 classes, but 1 labels"),
    ],
)
def test_what_is_refused(source: Path, target: Path, export: Export, why: str) -> None:
    """With the file's name, once, and why; nothing is written."""
    export.save(source)
    with pytest.raises(ModelError, match=why) as refused:
        import_onnx(source, target, name="exam")
    assert str(refused.value).count(str(source)) == 1
    assert not target.exists()


def test_an_export_for_benchmarks(source: Path, target: Path) -> None:
    """Six outputs, two a level, are named for what they are."""
    model = Export().model()
    del model.graph.output[:]
    for stride in (8, 16, 32):
        for name in ("scores", "boxes"):
            model.graph.output.append(
                onnx.helper.make_tensor_value_info(f"{name}_{stride}_flat", 1, [None] * 3)
            )
    onnx.save(model, str(source))
    with pytest.raises(ModelError, match=r"6 outputs, .*an export for benchmarks \(--benchmark\)"):
        import_onnx(source, target, name="exam")


def test_a_file_that_comes_out_different(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written, and the figures are said."""
    monkeypatch.setattr(importing, "SCORES_WITHIN", -1.0)
    Export(batch=1).save(source)
    with pytest.raises(ModelError, match=r"differs from it: .*scores within .* are allowed"):
        import_onnx(source, target, name="exam")
    assert not target.exists()


def test_a_model_that_does_not_end(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call is stopped when its time is up."""
    monkeypatch.setattr(trial, "CALL_S", 1)
    model = Export(stalls_on_white=True).model()
    limit = next(tensor for tensor in model.graph.initializer if tensor.name == "limit")
    limit.CopyFrom(onnx.numpy_helper.from_array(np.array(-1, np.float32), "limit"))
    onnx.save(model, str(source))
    with pytest.raises(ModelError, match="it ran for longer than the 1 s allowed"):
        import_onnx(source, target, name="exam")


def test_the_figures_are_readable() -> None:
    """As the command prints them."""
    parity = importing.Parity(1.24e-6, 0.0132, 4, 3)
    assert str(parity) == (
        "on 4 pictures, alone and 3 at once: scores within 1.2e-06, boxes within 1.3e-02 px"
    )
