"""What each version of a model has done: what a change of the model is judged by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pydantic import BaseModel

from monitoring.figures.stats import Latency, latency
from monitoring.stores.contract import Labels, MetricsStore, Series, Window
from telemetry import catalogue

#: Those of its worker that an image's model has a part in.
STAGES = ("preprocess", "inference", "nms")
_BY = ("model", "version")


class VersionFigures(BaseModel):
    """Images that went through one version of a model in the window."""

    model: str
    version: str
    #: When the step began in which its first images came, and the one of its last (Unix time).
    first_at: float
    last_at: float
    images: int
    #: Of these, by what came of them in the worker's hands.
    outcomes: dict[str, int]
    #: Of preprocess, inference and nms.
    stages_ms: dict[str, Latency]
    detections: int
    #: Of the images that ended well.
    detections_per_image: float | None
    #: Of all boxes.
    mean_score: float | None


def by_model(metrics: MetricsStore, window: Window, step_s: float) -> list[VersionFigures]:
    """Figures of every version that had images, the one that came last first; `step_s` is how
    exactly that is told. Raises Unavailable."""
    images = metrics.increase_series(catalogue.MODEL_IMAGES, window, step_s, by=(*_BY, "outcome"))
    durations = metrics.histogram(catalogue.STAGE_DURATION, window, by=(*_BY, "stage"))
    scores = metrics.histogram(catalogue.DETECTION_SCORE, window, by=_BY)
    outcomes: dict[Labels, Counter[str]] = {}
    seen: dict[Labels, list[float]] = {}
    for (model, version, outcome), series in images.items():
        if count := round(sum(series.values)):
            outcomes.setdefault((model, version), Counter())[outcome] += count
            seen.setdefault((model, version), []).extend(_times_s(series))
    found = []
    for of_model, counts in outcomes.items():
        measured, succeeded = scores.get(of_model), counts["ok"]
        boxes = measured.count if measured else 0
        stages = {stage: latency(durations.get((*of_model, stage))) for stage in STAGES}
        found.append(
            VersionFigures(
                model=of_model[0],
                version=of_model[1],
                first_at=min(seen[of_model]),
                last_at=max(seen[of_model]),
                images=counts.total(),
                outcomes={name: counts[name] for name in catalogue.WORKED_OUTCOMES if counts[name]},
                stages_ms={stage: took for stage, took in stages.items() if took},
                detections=boxes,
                detections_per_image=round(boxes / succeeded, 4) if succeeded else None,
                mean_score=round(measured.mean, 4) if measured and measured.mean else None,
            )
        )
    return sorted(found, key=lambda each: (-each.first_at, each.model, each.version))


def _times_s(series: Series[float]) -> Iterator[float]:
    """When steps began in which something was counted."""
    return (at for at, value in zip(series.times_s, series.values, strict=True) if value)
