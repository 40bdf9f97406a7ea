"""What Prometheus records for long windows: every metric of the catalogue, for each length."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.stores import promql
from monitoring.stores.records import RECORDS, Records
from telemetry.catalogue import METRICS
from telemetry.definitions import Across, Level, Metric

HEADER = """\
# Made from telemetry/catalogue.py by `make generate`.
#
# For windows of hours to months (monitoring/stores/records.py): what was added in each 5 minutes
# and in each hour, and where levels were, with the processes merged. The names of all records are
# those of the samples, between `merged:` and what was done over how long.
#
# Counts: `last_over_time`, not `increase`, which extrapolates: so counts stay whole. A process
# that began within the time began at nothing; one not heard of for an hour counts as new.
# Levels: put together over processes here, over time by who reads them. Those of a host are told
# apart by its id, which target_info has.
# The last rule of a group says that all of it stands for the time before.

groups:
"""


def rules() -> str:
    """The text of the rule file."""
    return HEADER + "\n".join(_group(records) for records in reversed(RECORDS))


def _group(records: Records) -> str:
    lines = [f"  - name: damoscope-history-{records.every}", f"    interval: {records.every}"]
    lines.append("    rules:")
    for metric in METRICS.values():
        for name, expression in _records(metric, records):
            lines += [f"      - record: {name}", f"        expr: {expression}"]
    lines += [f"      - record: {records.evaluated}", "        expr: vector(1)"]
    return "\n".join(lines) + "\n"


def _records(metric: Metric, records: Records) -> Iterator[tuple[str, str]]:
    """Name and expression of each record of a metric."""
    if isinstance(metric, Level):
        for across in metric.across:
            name = promql.selector(metric, record=f"{across}{records.every}")
            yield name, _level(metric, across, records)
        return
    for part in metric.parts:
        grown = promql.growth(promql.selector(metric, part=part), records.seconds)
        name = promql.selector(metric, part=part, record=f"increase{records.every}")
        yield name, f"sum without (instance) {grown}"


def _level(level: Level, across: Across, records: Records) -> str:
    over_time = "max_over_time" if across == "max" else "avg_over_time"
    levels = f"{over_time}({promql.selector(level)}[{records.every}])"
    if not level.of_host:
        return f"{across} without (instance) ({levels})"
    kept = [promql.label(name) for name in level.attributes if name not in level.merged]
    kept += ["job", "host_id"] if across == "sum" else ["host_id"]
    return f"{across} by ({', '.join(kept)}) ({promql.with_host(levels, records.seconds)})"
