"""A GPU under the service: DAMO-YOLO-S at 640, in single and half precision.

    make bench-gpu EXTRA=gpu
    python -m benchmarks.throughput.gpu --provider cpu --small    # the same paths, without a GPU

Bare ONNX Runtime calls by precision, batch, input and IO binding; outputs against the CPU
provider's; then the service with one to four workers on the one GPU.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import onnx

from benchmarks.throughput import machine, page, picture
from benchmarks.throughput.figures import median, number, table
from benchmarks.throughput.gpu_calls import NAMES, Plan, calls, correctness, input_size
from benchmarks.throughput.measure import Running, running
from benchmarks.throughput.options import STOCK, STOCK_GPU, make_stock
from benchmarks.throughput.precision import SINGLE, with_precision
from benchmarks.throughput.process import HOST, NotStarted
from benchmarks.throughput.servers import CACHE, OURS

#: Milliseconds of an inference in the article that this project began with.
MARK_MS = 3.83
STAGES = ("upload", "queue_wait", "preprocess", "inference", "nms", "total")


def service(plan: Plan, model: Path, precision: str) -> Iterator[dict[str, Any]]:
    """The service end to end: images a second, latency, and what each stage took under load."""
    for workers in plan.workers:
        settings = {
            "DAMOSCOPE_PROVIDER": plan.provider,
            "DAMOSCOPE_BATCH_MAX": str(min(16, max(plan.batches))),
        }
        clients = 32 * workers if plan.device == "cuda" else 4
        with running(OURS, model, CACHE / "picture.jpg", workers, **settings) as server:
            server.measure(clients, 1.0)
            with StageTimings(server) as taken:
                found = server.measure(clients, max(2.0, 2 * plan.seconds))
        yield {
            "precision": precision,
            "workers": workers,
            "clients": clients,
            "images_per_s": found.images_per_s,
            "p50_ms": found.latency_ms(50),
            "p99_ms": found.latency_ms(99),
            "errors": found.errors,
            "stages_ms": {name: median(values) for name, values in taken.items()},
        }


class StageTimings:
    """Timings of single images that are sent while others load the service."""

    def __init__(self, server: Running) -> None:
        self._url = f"http://{HOST}:{server.place.port}{server.server.path}"
        self._data = server.picture.read_bytes()
        self._taken: dict[str, list[float]] = {name: [] for name in STAGES}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not self._ended.wait(0.05):
                answer = client.post(
                    self._url, content=self._data, headers={"content-type": "image/jpeg"}
                )
                if answer.status_code == 200:
                    for name, values in self._taken.items():
                        values.append(answer.json()["timings_ms"][name])

    def __enter__(self) -> dict[str, list[float]]:
        self._thread.start()
        return self._taken

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def measure(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything."""
    loaded = onnx.load(plan.model)
    models = {precision: with_precision(loaded, precision) for precision in NAMES}
    figures: dict[str, Any] = {
        "provider": plan.provider, "model": plan.model.name, "size": input_size(models[SINGLE]),
        "correctness": correctness(plan, models), "calls": [], "service": [],
    }  # fmt: skip
    for row in figures["correctness"]:
        say(f"{row['precision']}: scores within {row['score']:.4f}, boxes {row['box_px']:.3f} px")
    for call in calls(plan, models):
        figures["calls"].append(asdict(call) | {"images_per_s": call.images_per_s})
        say(f"{call}: {call.images_per_s:.0f} images/s")
    with tempfile.TemporaryDirectory() as scratch:
        for precision, model in models.items():
            path = Path(scratch) / f"{NAMES[precision].lower()}.onnx"
            onnx.save(model, path)
            try:
                for row in service(plan, path, NAMES[precision]):
                    figures["service"].append(row)
                    say(
                        f"{row['precision']}, {row['workers']} worker(s): "
                        f"{row['images_per_s']:.0f} images/s, p50 {row['p50_ms']:.1f} ms"
                    )
            except (NotStarted, RuntimeError, OSError) as error:
                say(f"the service in {NAMES[precision]} is left out: {error}")
    return figures


def render(results: dict[str, Any]) -> str:
    """Tables, as Markdown."""
    figures = results["figures"]
    machine_ = results["machine"]
    lines = [
        f"{results['when']}, {results['gpu'] or 'no GPU'}, {machine_['machine']}; "
        f"{machine_['system']}; {machine_['versions']}.",
        "",
        f"{figures['model']} at {figures['size']}, provider {figures['provider']}. "
        f"The mark: {MARK_MS} ms an inference.",
        "",
        *table(
            ["against FP32 on the CPU provider", "largest difference of a score", "of a box, px",
             "within tolerance"],
            [[row["precision"], number(row["score"], 4), number(row["box_px"], 3),
              "yes" if row["within"] else "**no**"] for row in figures["correctness"]],
        ),
        "",
        *table(
            ["bare ONNX Runtime", "input", "batch", "IO binding", "ms a call", "ms an image",
             "images/s"],
            [[c["precision"], c["input"], str(c["batch"]), "yes" if c["binding"] else "no",
              number(c["ms"], 2), number(c["ms"] / c["batch"], 2), number(c["images_per_s"], 0)]
             for c in figures["calls"]],
        ),
        "",
    ]  # fmt: skip
    rows = []
    for row in figures["service"]:
        best = max(
            c["images_per_s"] for c in figures["calls"] if c["precision"] == row["precision"]
        )
        rows.append(
            [f"{row['precision']}, {row['workers']} worker(s), {row['clients']} clients",
             number(row["images_per_s"], 0), number(row["images_per_s"] / best, 2),
             number(row["p50_ms"], 1), number(row["p99_ms"], 1),
             *(number(row["stages_ms"][name], 2) for name in STAGES)]
        )  # fmt: skip
    head = ["the service", "images/s", "/ best bare rate", "p50 ms", "p99 ms",
            *(f"{name} ms" for name in STAGES)]  # fmt: skip
    return "\n".join([*lines, *table(head, rows)])


def gpu_name() -> str | None:
    """Of the first GPU; None where there is none."""
    import pynvml

    try:
        pynvml.nvmlInit()
        name = pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0))
        return str(name)
    except pynvml.NVMLError:
        return None


def main() -> None:
    """Measure, keep, print, and where asked write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--provider", choices=("cuda", "tensorrt", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="Ns at 416, two batches, two workers")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--output", type=Path, help="page to rewrite")
    options = parser.parse_args()
    plan = Plan(
        options.provider,
        options.seconds,
        (1, 2) if options.small else (1, 2, 4, 8, 16, 32),
        (1, 2) if options.small else (1, 2, 3, 4),
        make_stock("ns", STOCK) if options.small else make_stock("s", STOCK_GPU, "--half"),
    )
    picture.picture(CACHE / "picture.jpg")
    results = {**machine.now(), "machine": machine.describe(), "gpu": gpu_name()}
    results["figures"] = measure(plan, lambda text: print(f"  {text}", flush=True))
    (CACHE / "gpu.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    print("\n" + render(results), flush=True)
    if options.output is not None:
        page.replace(options.output, "gpu", render(results))


if __name__ == "__main__":
    main()
