"""Bare ONNX Runtime calls on a GPU, and whether what they give is right."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort

from benchmarks.throughput.figures import median
from benchmarks.throughput.precision import HALF, SINGLE
from benchmarks.throughput.process import ROOT
from worker.model.graph import adapted
from worker.model.session import PROVIDERS

NAMES = {SINGLE: "FP32", HALF: "FP16"}
#: Largest difference of a score, and of a box in pixels, from FP32 on the CPU provider.
TOLERANCES = {SINGLE: (0.01, 1.0), HALF: (0.05, 8.0)}


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    provider: str
    seconds: float
    batches: tuple[int, ...]
    workers: tuple[int, ...]
    model: Path

    @property
    def device(self) -> str:
        return "cpu" if self.provider == "cpu" else "cuda"


@dataclass(frozen=True)
class Call:
    """One kind of call of bare ONNX Runtime."""

    precision: str
    input: str
    batch: int
    binding: bool
    ms: float

    @property
    def images_per_s(self) -> float:
        return self.batch * 1e3 / self.ms


def session(model: onnx.ModelProto, provider: str) -> ort.InferenceSession:
    """On this provider and no other. Raises RuntimeError when ONNX Runtime falls back."""
    if provider != "cpu":
        ort.preload_dlls()
    wanted = PROVIDERS[provider]
    providers = list(dict.fromkeys((wanted, PROVIDERS["cpu"])))
    made = ort.InferenceSession(model.SerializeToString(), providers=providers)
    if made.get_providers()[0] != wanted:
        raise RuntimeError(f"ONNX Runtime runs on {made.get_providers()[0]}, not on {wanted}")
    return made


def images(size: int, count: int) -> np.ndarray:
    """uint8 N x H x W x 3, RGB: the examples, again and again."""
    files = sorted((ROOT / "examples").glob("*.jpg"))
    found = []
    for index in range(count):
        image = cv2.imread(str(files[index % len(files)]), cv2.IMREAD_COLOR_RGB)
        assert image is not None
        found.append(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR))
    return np.stack(found)


def planes(pixels: np.ndarray, precision: int) -> np.ndarray:
    """N x 3 x H x W floats of this precision."""
    return np.ascontiguousarray(
        pixels.transpose(0, 3, 1, 2), np.float16 if precision == HALF else np.float32
    )


def correctness(plan: Plan, models: dict[int, onnx.ModelProto]) -> list[dict[str, Any]]:
    """Largest differences from FP32 on the CPU provider, over the examples."""
    size = input_size(models[SINGLE])
    pixels = images(size, 6)
    reference = outputs(session(models[SINGLE], "cpu"), planes(pixels, SINGLE))
    found = []
    for precision, model in models.items():
        got = outputs(session(model, plan.provider), planes(pixels, precision))
        differences = [
            float(np.abs(a.astype(np.float32) - b).max())
            for a, b in zip(got, reference, strict=True)
        ]
        within = all(a <= b for a, b in zip(differences, TOLERANCES[precision], strict=True))
        found.append(
            {
                "precision": NAMES[precision],
                "score": differences[0],
                "box_px": differences[1],
                "within": within,
            }
        )
    return found


def outputs(made: ort.InferenceSession, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores and boxes; the last axis tells which is which."""
    first, second = made.run(None, {made.get_inputs()[0].name: batch})
    return (second, first) if first.shape[-1] == 4 else (first, second)


def input_size(model: onnx.ModelProto) -> int:
    """Height, and width, in pixels."""
    return int(model.graph.input[0].type.tensor_type.shape.dim[2].dim_value)


def calls(plan: Plan, models: dict[int, onnx.ModelProto]) -> Iterator[Call]:
    """Every kind of call, timed."""
    for precision, model in models.items():
        for kind in ("float", "uint8"):
            graph = adapted(model) if kind == "uint8" else model
            made = session(graph, plan.provider)
            for batch in plan.batches:
                pixels = images(input_size(model), batch)
                given = pixels if kind == "uint8" else planes(pixels, precision)
                for binding in (False, True):
                    run = bound(made, given, plan.device) if binding else plain(made, given)
                    yield Call(NAMES[precision], kind, batch, binding, timed(run, plan.seconds))


def plain(made: ort.InferenceSession, batch: np.ndarray) -> Callable[[], object]:
    """A call with arrays in and out, as the worker makes it."""
    feeds = {made.get_inputs()[0].name: batch}
    return lambda: made.run(None, feeds)


def bound(made: ort.InferenceSession, batch: np.ndarray, device: str) -> Callable[[], object]:
    """A call with the input copied into a buffer on the device, and outputs bound there."""
    binding = made.io_binding()
    value = ort.OrtValue.ortvalue_from_numpy(batch, device, 0)
    binding.bind_ortvalue_input(made.get_inputs()[0].name, value)
    for output in made.get_outputs():
        binding.bind_output(output.name, device)

    def run() -> object:
        value.update_inplace(batch)
        made.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()

    return run


def timed(run: Callable[[], object], seconds: float) -> float:
    """Median of a call in milliseconds, the first few not counted."""
    for _ in range(3):
        run()
    taken: list[float] = []
    deadline = time.perf_counter() + seconds
    while (began := time.perf_counter()) < deadline or len(taken) < 3:
        run()
        taken.append((time.perf_counter() - began) * 1e3)
    middle = median(taken)
    assert middle is not None
    return middle
