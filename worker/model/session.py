"""Stage `inference`: one ONNX Runtime call over a batch of prepared images."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.errors import ModelStoreError
from models.store import ModelSource, Store
from pipeline import machine
from pipeline.errors import ConfigurationError, InferenceFailed, ModelError
from pipeline.settings import Provider, Settings
from telemetry import gpu
from worker.model import loading as model
from worker.model.graph import IMAGE_INPUT, for_cpu
from worker.model.outputs import synthetic

PROVIDERS: dict[str, str] = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
BATCH_MAX_CPU, BATCH_MAX_GPU = 1, 16

#: What is said of an export that takes several images and mixes them up.
NAME_ONLY = (
    "its batch axis is free in name only; export it again with a free one, or set "
    "DAMOSCOPE_BATCH_MAX=1"
)
#: Of the largest number: how far an image's outputs may differ between a batch and alone. Kernels
#: differ with the batch's size, and GPUs round to ten bits (TF32); other images differ by more.
BATCH_TOLERANCE = 0.05

Floats = NDArray[np.float32]


class InferenceStopped(InferenceFailed):
    """Inference took longer than `stage_limit_s` and was stopped."""


class Detector:
    """A loaded, warmed-up model. Make one per process, after the process was started."""

    def __init__(self, settings: Settings, source: ModelSource | None = None) -> None:
        """Load and warm up the model of the settings, or another: that has its own labels.

        Raises ModelError or ConfigurationError saying what to change.
        """
        #: Whether it is the model of the settings, rather than one that was chosen since.
        self.configured = source is None
        labels_file = settings.labels if source is None else None
        source = source or configured(settings)
        graph = model.load(source.file)
        #: Seconds that a stage of one image may take.
        self.stage_limit_s = settings.stage_limit_s
        #: The call that runs now, and when it began by `time.monotonic`.
        self._running: tuple[float, ort.RunOptions] | None = None
        self._session = _session(graph, settings, settings.inference_threads)
        first = synthetic(graph.height, graph.width)
        outputs = self._warm_up(graph, [first])
        self.spec = model.describe(graph, outputs, labels_file, source.installed)
        #: Short name of the provider that runs: cpu, cuda or tensorrt.
        self.provider = _short(self._session.get_providers()[0])
        #: Whether the CPU runs although the settings would have had a GPU of this host run.
        self.fallback = (
            self.provider == "cpu" and settings.provider != "cpu" and gpu.visible(os.environ)
        )
        self.score_threshold = (
            self.spec.score_threshold
            if settings.score_threshold is None
            else settings.score_threshold
        )
        self.iou_threshold = (
            self.spec.iou_threshold if settings.iou_threshold is None else settings.iou_threshold
        )
        default = BATCH_MAX_CPU if self.provider == "cpu" else BATCH_MAX_GPU
        #: Whether several images go in one call; else the export fixed the batch axis at 1.
        self.free_batch = graph.free_batch
        #: Images that one `run` takes at most.
        self.batch_max = (settings.batch_max or default) if graph.free_batch else 1
        # The first call of a shape allocates, and on a GPU chooses kernels.
        if self.batch_max > 1:
            last = synthetic(graph.height, graph.width, seed=1)
            together = self._warm_up(graph, [*[first] * (self.batch_max - 1), last])
            check_batch(graph, together, self._warm_up(graph, [last]))
        #: The same model with all cores, for an image that has the machine to itself.
        self._wide_session = self._session
        cores = machine.cpus()
        if self.provider == "cpu" and not settings.threads and cores > settings.inference_threads:
            self._wide_session = _session(graph, settings, cores, spin=True)
            self._call([first], alone=True)

    def run(
        self, images: Sequence[NDArray[np.uint8]], *, alone: bool = False
    ) -> tuple[Floats, Floats]:
        """Scores N x A x C and boxes N x A x 4 of N images (uint8, H x W x 3, RGB).

        `alone` says that no other worker is busy, so that all cores may be used.
        Raises InferenceFailed.
        """
        outputs = self._call(images, alone=alone)
        scores, boxes = outputs[self.spec.scores_output], outputs[self.spec.boxes_output]
        return scores.astype(np.float32, copy=False), boxes.astype(np.float32, copy=False)

    def stop_overdue(self) -> None:
        """Stop the call that runs now if it has run for too long; any thread may say so."""
        running = self._running
        if running and time.monotonic() - running[0] > self.stage_limit_s:
            running[1].terminate = True

    def _warm_up(
        self, graph: model.Graph, images: Sequence[NDArray[np.uint8]]
    ) -> Sequence[NDArray[Any]]:
        """Outputs for a batch of images. Raises ModelError when it gets none."""
        try:
            return self._call(images)
        except InferenceFailed as error:
            if len(images) > 1:
                raise ModelError(f"{graph.path}: {NAME_ONLY}: {error}") from error
            raise ModelError(f"{graph.path}: {error}") from error

    def _call(
        self, images: Sequence[NDArray[np.uint8]], *, alone: bool = False
    ) -> Sequence[NDArray[Any]]:
        session = self._wide_session if alone else self._session
        options = ort.RunOptions()
        try:
            batch = images[0][np.newaxis] if len(images) == 1 else np.stack(images)
            self._running = time.monotonic(), options
            outputs: list[NDArray[Any]] = session.run(None, {IMAGE_INPUT: batch}, options)
            return outputs
        except Exception as error:  # ONNX Runtime raises a family of its own
            if options.terminate:
                raise InferenceStopped(
                    f"inference took longer than the {self.stage_limit_s:g} s allowed"
                ) from error
            raise InferenceFailed(f"a batch of {len(images)} failed: {error}") from error
        finally:
            self._running = None


def configured(settings: Settings) -> ModelSource:
    """The model that the settings name. Raises ModelError when there is none of that name."""
    try:
        return Store(settings.models_folder).resolve(settings.model)
    except ModelStoreError as error:
        raise ModelError(f"DAMOSCOPE_MODEL={settings.model}: {error}") from error


def check_batch(
    graph: model.Graph, together: Sequence[NDArray[Any]], alone: Sequence[NDArray[Any]]
) -> None:
    """Raises ModelError unless the last image of a batch got what it gets by itself."""
    for many, one in zip(together, alone, strict=True):
        if many.shape[1:] != one.shape[1:] or len(many) < 2:
            raise ModelError(
                f"{graph.path}: {NAME_ONLY}: its outputs are not N x ... for several images"
            )
        allowed = BATCH_TOLERANCE * max(1.0, float(np.abs(one).max()))
        if not np.allclose(many[-1], one[0], rtol=0, atol=allowed):
            raise ModelError(
                f"{graph.path}: {NAME_ONLY}: an image gets other numbers among several than alone"
            )


def _session(
    graph: model.Graph, settings: Settings, threads: int, *, spin: bool = False
) -> ort.InferenceSession:
    """A session on the provider that the settings ask for.

    `spin` has its threads wait for each other awake. That takes a third less time, but also the
    cores from other workers: it is for images that have the machine to themselves.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    options.add_session_config_entry("session.force_spinning_stop", "1")  # after each call
    wanted = _wanted(settings.provider)
    try:
        source = graph.serialized
        if wanted == [PROVIDERS["cpu"]]:
            source = for_cpu(source, threads)
        session = ort.InferenceSession(source, options, providers=wanted)
    except Exception as error:  # ONNX Runtime raises a family of its own
        raise ModelError(f"{graph.path}: ONNX Runtime cannot load it: {error}") from error
    running = _short(session.get_providers()[0])
    # ONNX Runtime falls back to the CPU without an error when a provider fails to load.
    if settings.provider not in ("auto", running):
        raise ConfigurationError(
            f"DAMOSCOPE_PROVIDER={settings.provider}: asked for, but ONNX Runtime runs on "
            f"{running}; check the driver and the CUDA libraries, or set it to auto"
        )
    return session


def _wanted(provider: Provider) -> list[str]:
    """Provider names for ONNX Runtime, the asked-for one first."""
    available = ort.get_available_providers()
    if provider == "auto":
        names = [PROVIDERS["cuda"], PROVIDERS["cpu"]]
    else:
        names = [PROVIDERS[provider], PROVIDERS["cpu"]]
        if names[0] not in available:
            ours = ", ".join(name for name in PROVIDERS if PROVIDERS[name] in available)
            raise ConfigurationError(
                f"DAMOSCOPE_PROVIDER={provider}: this build of ONNX Runtime has only {ours}; "
                "install damoscope[gpu] instead of damoscope[cpu], or set it to auto"
            )
    if PROVIDERS["cuda"] in available:
        ort.preload_dlls()  # the CUDA libraries that come as wheels
    return list(dict.fromkeys(name for name in names if name in available))


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider").lower()
