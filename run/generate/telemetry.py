"""The tables of docs/metrics.md and docs/traces.md, from the catalogue."""

from __future__ import annotations

from run.generate.generated import table
from telemetry.catalogue import ATTRIBUTES, METRICS, SPANS
from telemetry.definitions import Counter, Histogram, Level, Metric, SpanDefinition

#: How a level of several processes reads.
_ACROSS = {"sum": "sum", "avg": "mean, not sum", "max": "largest, not sum"}


def metrics() -> str:
    """Every metric."""
    head = ("metric", "kind, unit", "attributes", "meaning", "across processes", "PromQL")
    return table(head, *map(_metric, METRICS.values()))


def spans() -> str:
    """Every span."""
    rows = [
        (f"`{name}`", span.kind, _where(span), f"{span.start} → {span.end}")
        for name, span in SPANS.items()
    ]
    return table(("span", "kind", "where", "from → to"), *rows)


def attributes() -> str:
    """Every attribute of spans."""
    rows = [
        (f"`{name}`", found.type, _of(found.spans), found.meaning)
        for name, found in ATTRIBUTES.items()
    ]
    return table(("attribute", "type", "on", ""), *rows)


def _metric(metric: Metric) -> tuple[str, ...]:
    unit = "" if metric.unit.startswith("{") else f", {metric.unit}"
    labels = "; ".join(
        f"`{name}` = {', '.join(values)}" if values else f"`{name}`"
        for name, values in metric.attributes.items()
    )
    return (
        f"`{metric.name}`",
        f"{metric.kind}{unit}",
        labels,
        metric.description,
        _several(metric),
        f"`{metric.example.format(*[metric.exported] * 2)}`",
    )


def _several(metric: Metric) -> str:
    match metric:
        case Counter():
            return "sum"
        case Histogram():
            return "merged"
        case Level() if metric.of_host:
            return f"{_ACROSS[metric.across[0]]}, for each host"
        case Level():
            return _ACROSS[metric.across[0]]
    raise TypeError(metric)


def _where(span: SpanDefinition) -> str:
    parent = f"`{span.parent}`" if span.parent in SPANS else f"the {span.parent}"
    return f"{span.process}, child of {parent}" if span.parent else span.process


def _of(names: tuple[str, ...]) -> str:
    if set(names) == set(SPANS):
        return "any"
    served = [name for name in names if SPANS[name].kind == "SERVER"]
    both = len(served) == sum(span.kind == "SERVER" for span in SPANS.values())
    others = [f"`{name}`" for name in names if not (both and name in served)]
    return ", ".join((["SERVER"] if both else []) + others)
