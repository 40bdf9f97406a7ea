"""The text of PromQL that asks Prometheus what monitoring.stores.prometheus.PrometheusMetrics asks.

Counters are not read with PromQL's own `increase`: it extrapolates, and misses what a new
process counted before its first scrape, which is the first failure of a quiet service.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from monitoring.stores.contract import LIVE_S, SERVICE_INSTANCE, SERVICE_NAME
from telemetry import names

#: How far before a window a series' last sample is looked for.
LOOKBACK_S = 3600
_LABELS = {SERVICE_NAME: "job", SERVICE_INSTANCE: "instance"}
#: Units that the collector's exporter appends to a name.
_SUFFIXES = {
    names.M_REQUESTS: "_total",
    names.M_REQUEST_DURATION: "_seconds",
    names.M_STAGE_DURATION: "_seconds",
    names.M_QUEUE_OLDEST_AGE: "_seconds",
    names.M_WORKER_BUSY: "_seconds_total",
    names.M_GPU_UTILIZATION: "_ratio",
    "system.cpu.utilization": "_ratio",
    "system.memory.utilization": "_ratio",
}


def selector(metric: str, where: Mapping[str, str], part: str = "", extra: str = "") -> str:
    """The series of a metric; `part` is `_bucket`, `_sum` or `_count` of a histogram."""
    name = metric.replace(".", "_") + _SUFFIXES.get(metric, "") + part
    matchers = [f"{label(key)}={json.dumps(value, ensure_ascii=False)}"
                for key, value in where.items()]  # fmt: skip
    if extra:
        matchers.append(extra)
    return f"{name}{{{','.join(matchers)}}}" if matchers else name


def label(attribute: str) -> str:
    """The label that an attribute becomes."""
    return _LABELS.get(attribute) or attribute.replace(".", "_")


def duration(seconds: float) -> str:
    """A length of time as Prometheus writes it, in the largest unit that divides it."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{round(seconds / length)}{unit}"
    return f"{round(seconds)}s" if seconds == round(seconds) else f"{round(seconds * 1000)}ms"


def growth(series: str, window_s: float, ago_s: float = 0.0) -> str:
    """How much each counter grew in the `window_s` that ended `ago_s` ago, from its start on."""
    window, lookback = duration(window_s), duration(LOOKBACK_S)
    ago = f" offset {duration(ago_s)}" if ago_s else ""
    now = f"last_over_time({series}[{window}]{ago})"
    before = f"last_over_time({series}[{lookback}] offset {duration(window_s + ago_s)})"
    return f"({now} - ({before} or {now} * 0))"


def latest(series: str) -> str:
    """Each gauge's last reading, of the processes heard of lately."""
    return f"last_over_time({series}[{duration(LIVE_S)}])"


def mean(series: str, window_s: float, ago_s: float = 0.0) -> str:
    """Each gauge's mean over the `window_s` that ended `ago_s` ago."""
    ago = f" offset {duration(ago_s)}" if ago_s else ""
    return f"avg_over_time({series}[{duration(window_s)}]{ago})"
