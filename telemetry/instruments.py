"""The metric instruments of docs/metrics.md, created once per process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry.metrics import Counter, Histogram, Meter

from telemetry import names


@dataclass(frozen=True)
class Instruments:
    """Record with `context=` of the span concerned, so that exemplars carry its trace id."""

    requests: Counter
    client_requests: Counter
    request_duration: Histogram
    stage_duration: Histogram
    batch_size: Histogram
    detections: Counter
    detection_score: Histogram
    image_size: Histogram
    inference_busy: Counter
    worker_busy: Counter

    @classmethod
    def create(cls, meter: Meter) -> Instruments:
        """Create every synchronous instrument; the others are registered by who observes them."""

        def counter(name: str, unit: str, description: str) -> Counter:
            return meter.create_counter(name, unit, description)

        def histogram(name: str, unit: str, bounds: Sequence[float], description: str) -> Histogram:
            return meter.create_histogram(
                name, unit, description, explicit_bucket_boundaries_advisory=list(bounds)
            )

        return cls(
            requests=counter(names.M_REQUESTS, "{request}", "Requests, by how they ended."),
            client_requests=counter(
                names.M_CLIENT_REQUESTS, "{request}", "Requests, by the client that sent them."
            ),
            request_duration=histogram(
                names.M_REQUEST_DURATION,
                "s",
                names.DURATION_BUCKETS_S,
                "From the first byte of a request to its answer.",
            ),
            stage_duration=histogram(
                names.M_STAGE_DURATION,
                "s",
                names.DURATION_BUCKETS_S,
                "Time an image spent in one stage.",
            ),
            batch_size=histogram(
                names.M_BATCH_SIZE, "{image}", names.BATCH_BUCKETS, "Images in one inference."
            ),
            detections=counter(names.M_DETECTIONS, "{detection}", "Boxes found, by label."),
            detection_score=histogram(
                names.M_DETECTION_SCORE,
                "1",
                names.SCORE_BUCKETS,
                "Scores of the boxes found, by label.",
            ),
            image_size=histogram(
                names.M_IMAGE_SIZE,
                "By",
                names.IMAGE_SIZE_BUCKETS_BY,
                "Size of the encoded images, by format.",
            ),
            inference_busy=counter(
                names.M_INFERENCE_BUSY, "s", "Time spent in inference, by provider."
            ),
            worker_busy=counter(
                names.M_WORKER_BUSY,
                "s",
                "Time in which a worker had an image in hand, by provider.",
            ),
        )
