"""A report made by hand, of a service with nothing wrong, for what is made of reports."""

from __future__ import annotations

from typing import Any

from monitoring.reports.rating import rate
from monitoring.reports.schema import Figure, Report

START_AT = 1_799_395_200.0
END_AT = START_AT + 7 * 86400


def latency(p95_ms: float = 80.0) -> dict[str, Any]:
    return {"count": 990, "mean_ms": 40.0, "p50_ms": 35.0, "p95_ms": p95_ms, "p99_ms": 2 * p95_ms}


def stage(name: str, share: float, p95_ms: float = 20.0, before: float | None = None) -> Any:
    return {"stage": name, "share": share, "p95_before_ms": before, **latency(p95_ms)}


def figure(name: str, unit: str, value: float | None, before: float | None = None) -> Figure:
    change = value / before - 1 if value is not None and before else None
    return Figure.model_validate(
        {"name": name, "unit": unit, "value": value, "before": before, "change": change}
    )


def image(outcome: str = "ok", message: str | None = None) -> dict[str, Any]:
    return {
        "trace_id": "c4" * 16, "at": END_AT - 3600, "duration_ms": 1234.5, "outcome": outcome,
        "route": "api", "error_type": "inference_failed" if message else None,
        "error_message": message, "longest_stage": "queue_wait", "longest_ms": 1000.0,
    }  # fmt: skip


def report(**changes: Any) -> Report:
    """The report, with `changes` to its fields (nested models as dictionaries)."""
    workers = {
        "mean": 2.0, "hours": 336.0, "utilisation": 0.5, "utilisation_peak": 0.6,
        "busy_s": {"cpu": 604_800.0},
        "batch_size_mean": 1.0, "busy_s_per_image": 0.05, "per_worker_per_s": 20.0,
        "needed_at_peak": 2, "target_utilisation": 0.8, "fallback": 0, "queue_depth_max": 3.0,
        "queue_oldest_age_max_s": 0.2, "memory_max": 0.5, "cpu_max": 0.6,
    }  # fmt: skip
    fields: dict[str, Any] = {
        "generated_at": END_AT,
        "days": 7,
        "timezone": "UTC",
        "period": {"start_at": START_AT, "end_at": END_AT, "observed_s": 604_800.0},
        "before": {
            "start_at": START_AT - 604_800, "end_at": START_AT, "observed_s": 604_800.0,
        },
        "figures": [
            figure("requests", "count", 1000.0, 800.0),
            figure("success_rate", "share", 0.9995, 0.99),
            figure("qps_mean", "per_s", 0.5, 0.4),
            figure("qps_peak", "per_s", 12.5),
            figure("latency_p95", "ms", 80.0, 100.0),
        ],
        "advice": [],
        "requests": {"ok": 1000},
        "requests_before": {"ok": 790, "failed": 10},
        "routes": {"api": 1000},
        "latency": latency(),
        "peak": {"at": START_AT + 3600, "step_s": 600.0, "per_s": 12.5},
        "hours": [0] * 9 + [600, 300, 100] + [0] * 12,
        "calendar": [{"date": "2027-01-08", "hours": [None] * 9 + [600, 300, 100] + [0] * 12}],
        "timeline": {
            "start_at": START_AT, "step_s": 3600.0,
            "requests": {"ok": [0] * 167 + [1000]},
            "latency_p50_ms": [None] * 167 + [35.0],
            "latency_p95_ms": [None] * 167 + [80.0],
            "latency_p99_ms": [None] * 167 + [160.0],
        },
        "stages": [
            stage("upload", 0.1), stage("queue_wait", 0.1), stage("preprocess", 0.2),
            stage("inference", 0.55), stage("nms", 0.05),
        ],
        "image_bytes_mean": 240_000.0,
        "slowest": [image()],
        "failures": {"count": 0, "looked_at": 0, "causes": [], "images": []},
        "detections": [
            {"label": "phone", "count": 900, "share": 0.9, "mean_score": 0.812, "before": 700},
            {"label": "laptop", "count": 100, "share": 0.1, "mean_score": None, "before": 100},
        ],
        "clients_as": "address",
        "clients": [{"client": "10.0.0.7", "requests": 1000, "share": 1.0, "before": 800}],
        "workers": workers | changes.pop("workers", {}),
        "cost": {
            "currency": "USD", "price_per_hour": None, "kind": "cpu", "total": None,
            "per_1000_images": None, "reason": "no_price",
        },
        "alerts": {"known": True, "fired": []},
        "trace_url": "https://phones.example/traces?trace={trace_id}",
    }  # fmt: skip
    rating = rate({"ok": 1000}, None, [], 0.0)
    return Report.model_validate({"rating": rating.model_dump(), **fields, **changes})


def model(version: str, images: int, **more: Any) -> dict[str, Any]:
    took = {"mean": 21.0, "p50": 20.0, "p95": 33.0, "p99": 40.0}
    return {
        "model": "phones", "version": version, "first_at": START_AT + 3600, "last_at": END_AT - 600,
        "images": images, "outcomes": {"ok": images}, "stages_ms": {"inference": took},
        "detections": images, "detections_per_image": 1.0, "mean_score": 0.77, **more,
    }  # fmt: skip


def cause(outcome: str, count: int, message: str = "cut short") -> dict[str, Any]:
    return {
        "outcome": outcome, "error_type": "invalid_image", "message": message, "count": count,
        "last_at": END_AT - 60, "trace_ids": ["c4" * 16],
    }  # fmt: skip


def failures(outcome: str, count: int, message: str = "cut short") -> dict[str, Any]:
    return {
        "count": count, "looked_at": min(count, 200),
        "causes": [cause(outcome, min(count, 200), message)], "images": [image(outcome, message)],
    }  # fmt: skip


def fired(name: str = "no_worker", times: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "severity": "critical", "times": times, "seconds": 600.0,
        "message": {"en": "No worker is ready.", "zh": "没有就绪的工作进程。"},
        "last_at": END_AT - 600, "firing": False, "example_trace_id": None, **more,
    }  # fmt: skip
