"""worker.model.session: providers, batches, and what a broken model does."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from pipeline.errors import ConfigurationError, InferenceFailed, ModelError
from pipeline.settings import Settings
from telemetry import gpu
from tests.worker.onnx_models import SIZE, Export
from worker.model import session as inference
from worker.model.graph import for_cpu
from worker.model.session import BATCH_MAX_CPU, PROVIDERS, Detector, InferenceStopped
from worker.watchdog import Watchdog

Images = list[np.ndarray]


def noise(count: int, height: int, width: int) -> Images:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def here(provider: str) -> bool:
    return PROVIDERS[provider] in ort.get_available_providers()


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_provider_that_is_absent(tmp_path: Path, provider: str) -> None:
    """A provider that this build lacks is refused with what to install or to set."""
    if here(provider):
        pytest.skip(f"this build of ONNX Runtime has {provider}")
    path = Export().save(tmp_path / "model.onnx")
    with pytest.raises(ConfigurationError) as refused:
        Detector(Settings(model=path, provider=provider))
    assert str(refused.value).startswith(f"DAMOSCOPE_PROVIDER={provider}: ")
    for advice in ("only cpu", "damoscope[gpu]", "set it to auto"):
        assert advice in str(refused.value)


def test_auto_provider(tmp_path: Path) -> None:
    """`auto` runs on what there is, and says on what."""
    path = Export().save(tmp_path / "model.onnx")
    loaded = Detector(Settings(model=path, provider="auto", threads=1))
    assert loaded.provider in PROVIDERS
    assert loaded.provider == "cpu" or here(loaded.provider)


@pytest.mark.parametrize(
    ("provider", "gpu_there", "fallback"),
    [("auto", True, True), ("auto", False, False), ("cpu", True, False)],
)
def test_fallback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str, gpu_there: bool, fallback: bool
) -> None:
    """On the CPU of a host with a GPU by `auto` is told of; that the CPU was asked for is not."""
    monkeypatch.setattr(gpu, "visible", lambda _: gpu_there)
    path = Export().save(tmp_path / "model.onnx")
    loaded = Detector(Settings(model=path, provider=provider, threads=1))
    if loaded.provider != "cpu":
        pytest.skip("this machine has a GPU, and it is used")
    assert loaded.fallback is fallback


def test_batch_equals_single_runs(bundled: Detector) -> None:
    """A batch gives for each image what the image gives alone, in order."""
    assert bundled.batch_max == 4
    images = noise(4, bundled.spec.height, bundled.spec.width)
    scores, boxes = bundled.run(images)
    assert len(scores) == len(boxes) == 4
    for index, image in enumerate(images):
        alone_scores, alone_boxes = bundled.run([image])
        np.testing.assert_allclose(scores[index], alone_scores[0], atol=1e-4)
        np.testing.assert_allclose(boxes[index], alone_boxes[0], atol=0.02)


def test_runs_are_repeatable(bundled: Detector) -> None:
    """The same image gives the same outputs every time, whatever ran in between."""
    first, second = noise(2, bundled.spec.height, bundled.spec.width)
    before = bundled.run([first])
    bundled.run([second])
    for once, again in zip(before, bundled.run([first]), strict=True):
        np.testing.assert_array_equal(once, again)


def test_bundled_model(bundled: Detector) -> None:
    """The bundled model finds phones, and carries its name, labels and thresholds itself."""
    assert bundled.spec.labels == ("phone",)
    assert bundled.spec.name == "damoyolo-ns-phone"
    assert bundled.provider == "cpu"
    assert 0 < bundled.score_threshold < 1
    scores, boxes = bundled.run(noise(1, bundled.spec.height, bundled.spec.width))
    assert scores.shape[2] in (1, 2)
    assert scores.dtype == boxes.dtype == np.float32


@pytest.mark.parametrize(("wanted", "given"), [(0, BATCH_MAX_CPU), (1, 1), (5, 5)])
def test_batch_max(tmp_path: Path, wanted: int, given: int) -> None:
    """The setting bounds the batch; 0 chooses by provider."""
    path = Export().save(tmp_path / "model.onnx")
    assert Detector(Settings(model=path, provider="cpu", batch_max=wanted)).batch_max == given


def test_batch_max_of_a_fixed_batch(tmp_path: Path) -> None:
    """A model whose batch axis is fixed at 1 gets one image at a time, whatever is set."""
    path = Export(batch=1).save(tmp_path / "model.onnx")
    loaded = Detector(Settings(model=path, provider="cpu", batch_max=8))
    assert loaded.batch_max == 1
    assert len(loaded.run(noise(1, SIZE, SIZE))[0]) == 1


def test_model_that_fails(tmp_path: Path) -> None:
    """An error of ONNX Runtime is an InferenceFailed with ONNX Runtime's reason."""
    path = Export(fails_on_white=True).save(tmp_path / "model.onnx")
    loaded = Detector(Settings(model=path, provider="cpu", threads=1))
    with pytest.raises(InferenceFailed, match=r"a batch of 1 failed: .*Gather"):
        loaded.run([np.full((SIZE, SIZE, 3), 255, np.uint8)])
    assert loaded.run([np.zeros((SIZE, SIZE, 3), np.uint8)])


def test_images_of_different_sizes(tmp_path: Path) -> None:
    """Images that do not fit each other are an InferenceFailed as well."""
    loaded = Detector(Settings(model=Export().save(tmp_path / "model.onnx"), provider="cpu"))
    with pytest.raises(InferenceFailed, match="a batch of 2 failed"):
        loaded.run([*noise(1, SIZE, SIZE), *noise(1, SIZE, 32)])


def test_model_that_fails_at_once(tmp_path: Path) -> None:
    """A model that cannot even run a blank image is refused at start."""
    exported = Export(fails_on_white=True).model()
    limit = next(tensor for tensor in exported.graph.initializer if tensor.name == "limit")
    limit.CopyFrom(onnx.numpy_helper.from_array(np.array(-1, np.float32), "limit"))
    path = tmp_path / "model.onnx"
    onnx.save(exported, str(path))
    with pytest.raises(ModelError, match=r"model\.onnx: a batch of 1 failed"):
        Detector(Settings(model=path, provider="cpu"))


def test_unknown_operator(tmp_path: Path) -> None:
    """A model with operators that ONNX Runtime lacks is refused at start, by name."""
    exported = Export().model()
    exported.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    exported.graph.node[0].domain = "com.example"
    path = tmp_path / "model.onnx"
    onnx.save(exported, str(path))
    with pytest.raises(ModelError, match=r"model\.onnx: ONNX Runtime cannot load it"):
        Detector(Settings(model=path, provider="cpu"))


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_changed_for_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """Where the CPU runs, the graph is changed for it, and for its number of threads."""
    done: list[int] = []

    def noting(serialized: bytes, count: int) -> bytes:
        done.append(count)
        return for_cpu(serialized, count)

    monkeypatch.setattr(inference, "for_cpu", noting)
    path = Export().save(tmp_path / "model.onnx")
    Detector(Settings(model=path, provider="cpu", threads=threads))
    assert done == [threads]


@pytest.mark.parametrize("asked", ["CUDAExecutionProvider", "TensorrtExecutionProvider"])
def test_what_is_not_changed_for_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """The edits were measured on the CPU: another provider gets the graph as it is."""
    monkeypatch.setattr(inference, "_wanted", lambda _: [asked, "CPUExecutionProvider"])
    monkeypatch.setattr(inference, "for_cpu", lambda *_: pytest.fail("it was changed"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ONNX Runtime says that it has no such provider here
        Detector(Settings(model=Export().save(tmp_path / "model.onnx"), threads=1))


def test_a_lone_image_gets_the_same_answer(bundled: Detector) -> None:
    """With all cores for one image the numbers are those of the usual number of threads."""
    images = noise(1, bundled.spec.height, bundled.spec.width)
    for usual, alone in zip(bundled.run(images), bundled.run(images, alone=True), strict=True):
        np.testing.assert_allclose(alone, usual, rtol=1e-3, atol=1e-3)


def test_inference_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    """Within ONNX Runtime's call, by another thread; the model goes on with the next image."""
    path = Export(stalls_on_white=True).save(tmp_path / "model.onnx")
    detector = Detector(Settings(model=path, provider="cpu", threads=1, stage_limit_s=1))
    watchdog = Watchdog(detector)
    watchdog.start()
    try:
        with pytest.raises(InferenceStopped, match="longer than the 1 s allowed"):
            detector.run([np.full((SIZE, SIZE, 3), 255, np.uint8)])
        detector.run([noise(1, SIZE, SIZE)[0] // 2])
    finally:
        watchdog.close()
