"""The spans of one image's trace."""

from __future__ import annotations


def spans_of(server: str) -> dict[str, tuple[str, str, str | None]]:
    """Span -> (kind, service, parent span), in the order of the waterfall; `server` is the span of
    its request."""
    return {
        server: ("SERVER", "damoscope-frontend", None),
        "upload": ("INTERNAL", "damoscope-frontend", server),
        "enqueue detections": ("PRODUCER", "damoscope-frontend", server),
        "queue_wait": ("INTERNAL", "damoscope-worker", "enqueue detections"),
        "process detections": ("CONSUMER", "damoscope-worker", "enqueue detections"),
        "preprocess": ("INTERNAL", "damoscope-worker", "process detections"),
        "inference": ("INTERNAL", "damoscope-worker", "process detections"),
        "nms": ("INTERNAL", "damoscope-worker", "process detections"),
    }
