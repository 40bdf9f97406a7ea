"""The text of PromQL, for the store, for rules that are rendered, and for what they record.

Counters are not read with PromQL's own `increase`: it extrapolates, and misses what a new
process counted before its first scrape, which is the first failure of a quiet service.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from monitoring.stores.contract import LIVE_S, SERVICE_INSTANCE, SERVICE_NAME
from telemetry.definitions import Metric

#: How far before a window a series' last sample is looked for. A series that was not
#: scraped for longer counts as new.
LOOKBACK_S = 3600
_LABELS = {SERVICE_NAME: "job", SERVICE_INSTANCE: "instance"}


def selector(
    metric: Metric,
    where: Mapping[str, str] | None = None,
    part: str = "",
    *,
    extra: str = "",
    record: str = "",
) -> str:
    """The series of a metric; `part` is `_bucket`, `_sum` or `_count` of a histogram.

    With `record` those are meant that Prometheus recorded of them, such as `increase5m`.
    """
    name = f"merged:{metric.exported}{part}:{record}" if record else f"{metric.exported}{part}"
    matchers = [f"{label(key)}={json.dumps(value, ensure_ascii=False)}"
                for key, value in (where or {}).items()]  # fmt: skip
    if extra:
        matchers.append(extra)
    return f"{name}{{{','.join(matchers)}}}" if matchers else name


def label(attribute: str) -> str:
    """The label that an attribute becomes."""
    return _LABELS.get(attribute) or re.sub(r"[^a-zA-Z0-9_]", "_", attribute)


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


def with_host(levels: str, seconds: float) -> str:
    """Levels with the host of the process that reports them, which the exporter keeps apart."""
    info = f"last_over_time(target_info[{duration(max(seconds, LIVE_S))}])"
    hosts = f"max by (job, instance, host_id) ({info})"
    return f"{levels} * on (job, instance) group_left (host_id) {hosts}"
