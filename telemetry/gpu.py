"""Gauges of the GPUs of this host, by NVML; nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pynvml
from opentelemetry.metrics import CallbackOptions, Observation

from telemetry import catalogue
from telemetry.instruments import Instruments


def visible(environ: Mapping[str, str]) -> bool:
    """Whether this host has an NVIDIA GPU that CUDA_VISIBLE_DEVICES does not hide."""
    # An empty list, or one that begins with an invalid index, hides them all.
    if environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1", "NoDevFiles"):
        return False
    try:
        pynvml.nvmlInit()
        return bool(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return False  # no driver, or no GPU


def observe(instruments: Instruments) -> int:
    """Have utilisation and memory of each GPU reported. Returns how many there are."""
    try:
        pynvml.nvmlInit()
        count = int(pynvml.nvmlDeviceGetCount())
        gpus = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    except pynvml.NVMLError:
        return 0  # no driver, or no GPU

    def utilization(_: CallbackOptions) -> Iterable[Observation]:
        return _each(gpus, lambda gpu: pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100)

    def memory(_: CallbackOptions) -> Iterable[Observation]:
        return _each(gpus, lambda gpu: float(pynvml.nvmlDeviceGetMemoryInfo(gpu).used))

    if gpus:
        instruments.observe(catalogue.GPU_UTILIZATION, utilization)
        instruments.observe(catalogue.GPU_MEMORY, memory)
    return len(gpus)


def _each(gpus: list[object], read: Callable[[object], float]) -> list[Observation]:
    found = []
    for index, gpu in enumerate(gpus):
        try:
            found.append(Observation(read(gpu), {"gpu": str(index)}))
        except pynvml.NVMLError:  # a GPU that fell off the bus is not in the answer
            continue
    return found
