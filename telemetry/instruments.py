"""The metric instruments of docs/metrics.md, created once per process."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.metrics import Counter, Histogram, Meter, UpDownCounter

from telemetry import names


@dataclass(frozen=True)
class Instruments:
    """Record with `context=` of the span concerned, so that exemplars carry its trace id."""

    requests: Counter
    client_requests: Counter
    request_duration: Histogram
    stage_duration: Histogram
    requests_active: UpDownCounter
    batch_size: Histogram
    detections: Counter
    detection_score: Histogram
    image_size: Histogram
    inference_busy: Counter
    worker_busy: Counter

    @classmethod
    def create(cls, meter: Meter) -> Instruments:
        """Create every synchronous instrument; gauges are registered by who observes them."""
        durations = list(names.DURATION_BUCKETS_S)
        return cls(
            requests=meter.create_counter(
                names.M_REQUESTS, unit="{request}", description="Requests, by how they ended."
            ),
            client_requests=meter.create_counter(
                names.M_CLIENT_REQUESTS,
                unit="{request}",
                description="Requests, by the client that sent them.",
            ),
            request_duration=meter.create_histogram(
                names.M_REQUEST_DURATION,
                unit="s",
                description="From the first byte of a request to its answer.",
                explicit_bucket_boundaries_advisory=durations,
            ),
            stage_duration=meter.create_histogram(
                names.M_STAGE_DURATION,
                unit="s",
                description="Time an image spent in one stage.",
                explicit_bucket_boundaries_advisory=durations,
            ),
            requests_active=meter.create_up_down_counter(
                names.M_REQUESTS_ACTIVE, unit="{request}", description="Requests in flight."
            ),
            batch_size=meter.create_histogram(
                names.M_BATCH_SIZE,
                unit="{image}",
                description="Images in one inference.",
                explicit_bucket_boundaries_advisory=list(names.BATCH_BUCKETS),
            ),
            detections=meter.create_counter(
                names.M_DETECTIONS, unit="{detection}", description="Boxes found, by label."
            ),
            detection_score=meter.create_histogram(
                names.M_DETECTION_SCORE,
                unit="1",
                description="Scores of the boxes found, by label.",
                explicit_bucket_boundaries_advisory=list(names.SCORE_BUCKETS),
            ),
            image_size=meter.create_histogram(
                names.M_IMAGE_SIZE,
                unit="By",
                description="Size of the encoded images, by format.",
                explicit_bucket_boundaries_advisory=list(names.IMAGE_SIZE_BUCKETS_BY),
            ),
            inference_busy=meter.create_counter(
                names.M_INFERENCE_BUSY,
                unit="s",
                description="Time spent in inference, by provider.",
            ),
            worker_busy=meter.create_counter(
                names.M_WORKER_BUSY,
                unit="s",
                description="Time in which a worker had an image in hand, by provider.",
            ),
        )
