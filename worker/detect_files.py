"""`damoscope detect`: the same stages on files, without queue or service."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2

from pipeline import draw
from pipeline.errors import DamoscopeError
from pipeline.images import inspect
from pipeline.job import DetectJob, DetectOptions
from pipeline.labels import known_labels
from pipeline.queue.consumer import TakenJob
from pipeline.settings import Settings
from pipeline.tiles import grid_for
from worker.batch import BatchItem
from worker.model.session import Detector
from worker.stages import Stages


def run(
    settings: Settings,
    images: list[Path],
    *,
    as_json: bool,
    save: Path | None,
    tiles: str | None = None,
    labels: Sequence[str] = (),
) -> bool:
    """Detect in each file, in tiles where that is asked, and print what is found: of these labels,
    or of all. Returns whether all files could be read. Raises InvalidParameter for a label that the
    model does not know."""
    cv2.setNumThreads(settings.inference_threads)
    detector = Detector(settings)
    wanted = known_labels(tuple(labels), detector.spec.labels) if labels else None
    options = DetectOptions(tiles=tiles, labels=wanted)
    stages = Stages(detector, settings.inference_threads)
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
    good = True
    for number, path in enumerate(images, 1):
        if not as_json and len(images) > 1:
            print(f"[{number}/{len(images)}] ", end="")
        try:
            item = detect(stages, path, settings, options)
        except (DamoscopeError, OSError) as error:
            good = False
            print(f"{path}: {error}", file=sys.stderr)
            continue
        _show(path, item, as_json)
        if save is not None:
            draw.save(path, item.detections, save / f"{path.stem}.jpg")
    stages.close()
    return good


def detect(
    stages: Stages, path: Path, settings: Settings, options: DetectOptions | None = None
) -> BatchItem:
    """What the service would answer to this file. Raises DamoscopeError or OSError."""
    data = path.read_bytes()
    info = inspect(data, max_bytes=settings.max_upload_bytes, max_pixels=settings.max_pixels)
    options = options or DetectOptions()
    grid = grid_for(options.tiles, info.width, info.height, settings.tiles_max)
    options = options.model_copy(update={"tiles": None if grid is None else str(grid)})
    job = DetectJob(options=options, image=info, upload_ms=0)
    item = BatchItem(
        TakenJob(
            job_id=path.name, execution_id="", queue="", meta={}, enqueued_ns=0, taken_ns=0,
            origin_ns=0, attempt=1, reply_to="", job=job, image=data,
        )
    )  # fmt: skip
    stages.run(item)
    return item


def _show(path: Path, item: BatchItem, as_json: bool) -> None:
    grid = item.taken.job.grid if item.taken.job else None
    timings = {stage: item.stage_ms(stage) for stage in item.stages}
    if as_json:
        found = item.detections.plain()
        told = {"image": str(path), "detections": found, "timings_ms": timings}
        print(json.dumps(told | ({"tiles": str(grid)} if grid else {})))
        return
    spent = ", ".join(f"{stage} {ms:.1f} ms" for stage, ms in timings.items())
    how = f", {grid} tiles" if grid else ""
    print(f"{path}: {len(item.detections)} found ({spent}{how})")
    for detection in item.detections:
        box = detection.box
        print(
            f"  {detection.label} {detection.score:.2f} at "
            f"{box.x1:.0f},{box.y1:.0f} to {box.x2:.0f},{box.y2:.0f}"
        )
