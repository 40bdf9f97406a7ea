"""How long the Monitor page waits for a month of data: `python -m benchmarks.history`.

A seeded generator makes 30 days at about 10 images a second and puts them where the service
would have them: into the embedded store's tables at the resolutions that retention leaves
(5 s for 6 hours, 60 s for 3 days, 600 s before), with as many traces as its size limit holds;
and into a real Prometheus (`prometheus` and `promtool` on PATH) as 5-second samples of the last
hours, 5-minute samples before, and the records that the rules made of them. Two frontends and
two workers, each started anew every day. Then it asks what the page asks, for each of its
windows, and prints the median and the worst of several times in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import httpx
import numpy as np

from benchmarks.history_data import DAY_S, DAYS, NOW_S, Interval, intervals, levels, series_of
from monitoring.figures.plots import plots
from monitoring.figures.stats import stats
from monitoring.stores.contract import MetricsStore, TraceStore, Window
from monitoring.stores.embedded.metrics import EmbeddedMetrics
from monitoring.stores.embedded.otlp import decode_traces
from monitoring.stores.embedded.resolutions import LEVELS
from monitoring.stores.embedded.schema import Readers, connect, prepare
from monitoring.stores.embedded.summaries import Summaries
from monitoring.stores.embedded.traces import EmbeddedTraces, write_chunks
from monitoring.stores.prometheus import PrometheusMetrics
from monitoring.stores.records import RECORDS
from tests.monitoring import traffic

WINDOWS_S = {"1 min": 60, "1 h": 3600, "1 day": 86400, "7 days": 7 * 86400, "30 days": 30 * 86400}
#: Raw 5-second samples for Prometheus: more than what windows are read from samples for.
SAMPLES_S = 4 * 3600
ROUNDS = 5


def main() -> None:
    """Make the data, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=900_000, help="requests with a trace")
    parser.add_argument("--store", choices=["embedded", "prometheus", "both"], default="both")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="history-") as name:
        if arguments.store != "prometheus":
            path = Path(name) / "telemetry.db"
            size = made("embedded store", lambda: fill_embedded(path, arguments.traces))
            print(f"  {size / 1e6:.0f} MB, {arguments.traces} traces")
            readers = Readers(path)
            measure("embedded", EmbeddedMetrics(readers, lambda: NOW_S), EmbeddedTraces(readers))
            readers.close()
        if arguments.store != "embedded":
            folder = Path(name)
            made("Prometheus", lambda: fill_prometheus(folder))
            with prometheus(folder) as url:
                store = PrometheusMetrics(url, lambda: NOW_S)
                measure("Prometheus", store, None)
                store.close()


def made(what: str, make: Callable[[], int]) -> int:
    """Run `make` and say how long it took."""
    began = time.monotonic()
    size = make()
    print(f"{what}: made in {time.monotonic() - began:.0f} s", flush=True)
    return size


def measure(name: str, metrics: MetricsStore, traces: TraceStore | None) -> None:
    """Ask what the page asks, and print how long each answer takes."""
    for label, window_s in WINDOWS_S.items():
        window = Window.last(window_s, NOW_S)
        questions: dict[str, Callable[[], object]] = {
            "stats": partial(stats, metrics, window_s, NOW_S),
            "series": partial(plots, metrics, window_s, None, NOW_S),
        }
        if traces is not None:
            ten = partial(traces.search, limit=10, window=window)
            questions["slowest"] = partial(ten, order="slowest")
            questions["failed"] = partial(ten, status="error")
        took = {question: [_ms(ask) for _ in range(ROUNDS)] for question, ask in questions.items()}
        whole = [sum(each) for each in zip(*took.values(), strict=True)]
        parts = "  ".join(f"{question} {median(ms):5.0f}" for question, ms in took.items())
        print(f"{name:10} {label:8} {parts}  all {median(whole):5.0f} (worst {max(whole):.0f})",
              flush=True)  # fmt: skip


def _ms(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1e3


# -- the embedded store -------------------------------------------------------------------


def fill_embedded(path: Path, traces: int) -> int:
    """Write points and traces; the size of the file in bytes."""
    prepare(path)
    connection = connect(path)
    connection.execute("BEGIN")
    ids: dict[tuple[str, str, str], int] = {}
    for level, kept_s in LEVELS:
        begin_s = NOW_S - min(kept_s or DAYS * DAY_S, DAYS * DAY_S)
        for interval in intervals(begin_s - begin_s % level, NOW_S, level):
            _points(connection, level, interval, ids)
    _traces(connection, traces)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size


def _series(
    connection: sqlite3.Connection, ids: dict[tuple[str, str, str], int], metric: str, kind: str,
    labels: dict[str, str], bounds: tuple[float, ...] = (),
) -> int:  # fmt: skip
    attributes = json.dumps(labels, sort_keys=True, separators=(",", ":"))
    key = (metric, kind, attributes)
    if key not in ids:
        row = (*key, json.dumps(bounds))
        cursor = connection.execute(
            "INSERT INTO series (metric, kind, attributes, bounds) VALUES (?, ?, ?, ?)", row
        )
        ids[key] = int(cursor.lastrowid or 0)
    return ids[key]


def _points(
    connection: sqlite3.Connection,
    level: int,
    interval: Interval,
    ids: dict[tuple[str, str, str], int],
) -> None:
    time_s = int(interval.start_s)
    for each in series_of(interval):
        labels = {"service.name": each.service, **each.labels}
        if each.counts is None:
            id = _series(connection, ids, each.metric.name, "counter", labels)
            row = (level, id, time_s, each.value)
            connection.execute("INSERT INTO counter_point VALUES (?, ?, ?, ?)", row)
        else:
            id = _series(connection, ids, each.metric.name, "histogram", labels, each.bounds)
            packed = each.counts.astype("<i8").tobytes()
            point = (level, id, time_s, each.value, packed)
            connection.execute("INSERT INTO histogram_point VALUES (?, ?, ?, ?, ?)", point)
    for metric, service, instance, extra, value in levels(interval):
        labels = {"service.name": service, "service.instance.id": instance, "host.id": "host-1"}
        id = _series(connection, ids, metric.name, "gauge", {**labels, **extra})
        readings = level // 5
        gauge = (level, id, time_s, value * readings, readings, value)
        connection.execute("INSERT INTO gauge_point VALUES (?, ?, ?, ?, ?, ?)", gauge)
        if level == 5 and interval.end_s >= NOW_S:
            last = (id, instance, 0, int((NOW_S - 1) * 1e9), value, b"", NOW_S - 1)
            connection.execute(
                "INSERT INTO stream (series, instance, start_ns, time_ns, value, counts, heard_s)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                last,
            )


def _traces(connection: sqlite3.Connection, count: int) -> None:
    """The newest ones, 10 a second; all with the spans of one real image under their own ids."""
    spans = [decode_traces(traffic.encoded(part)).chunks[0] for part in traffic.image(10**18)]
    write_chunks(connection, spans, NOW_S, Summaries())
    stored = connection.execute("SELECT resource, spans FROM chunk ORDER BY id").fetchall()
    random = np.random.default_rng(1)
    durations = (random.lognormal(-2.5, 0.7, count) * 1e9).astype(np.int64).tolist()
    failed = (random.random(count) < 0.005).tolist()
    began_ns = int((NOW_S - count / 10) * 1e9)

    def chunks() -> Iterator[tuple[bytes, int, int, bytes]]:
        for i in range(count):
            for resource, body in stored:
                yield i.to_bytes(16, "big"), resource, int(NOW_S - (count - i) / 10), body

    connection.executemany(
        "INSERT INTO chunk (trace_id, resource, received_s, spans) VALUES (?, ?, ?, ?)", chunks()
    )
    connection.executemany(
        "INSERT INTO request (trace_id, span_id, chunk, start_ns, duration_ns, error)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            (i.to_bytes(16, "big"), i.to_bytes(8, "big"), 2 * i, began_ns + i * 10**8,
             durations[i], failed[i])
            for i in range(count)
        ),
    )  # fmt: skip


# -- Prometheus ---------------------------------------------------------------------------


def fill_prometheus(folder: Path) -> int:
    """Blocks with samples and records, a day at a time; how many lines it took."""
    lines = 0
    begin_s = NOW_S - DAYS * DAY_S
    totals: dict[str, float] = {}
    while begin_s < NOW_S:
        recent = begin_s >= NOW_S - SAMPLES_S - 1
        end_s = begin_s + 7200 if recent else min(begin_s + DAY_S, NOW_S - SAMPLES_S)
        text = openmetrics(begin_s, end_s, 5 if recent else 300, totals)
        lines += text.count("\n")
        (folder / "samples").write_text(text)
        # Blocks of a day: a server compacts its own to two days and more.
        load = ["promtool", "tsdb", "create-blocks-from", "--max-block-duration=24h",
                "openmetrics", "samples", "data"]  # fmt: skip
        subprocess.run(load, cwd=folder, check=True, capture_output=True)
        begin_s = end_s
    return lines


def openmetrics(begin_s: float, end_s: float, step_s: int, totals: dict[str, float]) -> str:
    """Samples of every process every `step_s`, and records every 5 minutes."""
    families: dict[str, dict[str, list[str]]] = {}

    def add(family: str, series: str, value: float, time_s: float) -> None:
        line = f"{series} {value:.10g} {time_s}"
        families.setdefault(family, {}).setdefault(series, []).append(line)

    merged: dict[tuple[int, str, str], float] = {}
    put_together: dict[tuple[int, str, str], float] = {}
    for interval in intervals(begin_s, end_s, step_s):
        time_s = interval.end_s - 0.5
        for each in series_of(interval):
            # Half of it by each of two processes of the service.
            family, points = each.exported()
            for suffix, labels, value in points:
                bare = "".join(f',{key}="{text}"' for key, text in labels.items())
                for half in ("1", "2"):
                    who = f'job="{each.service}",instance="{interval.day}-{each.service}-{half}"'
                    series = f"{family[0]}{suffix}{{{who}{bare}}}"
                    totals[series] = totals.get(series, 0.0) + value / 2
                    add(" ".join(family), series, totals[series], time_s)
                for records in RECORDS:
                    record = f"merged:{family[0]}{suffix}:increase{records.every}"
                    key = (records.seconds, record, f'{record}{{job="{each.service}"{bare}}}')
                    merged[key] = merged.get(key, 0.0) + value
        for metric, service, instance, extra, value in levels(interval):
            exported, extra = metric.exported, dict(extra)
            bare = "".join(f',{key}="{text}"' for key, text in extra.items())
            add(f"{exported} gauge", f'{exported}{{job="{service}",instance="{instance}"{bare}}}',
                value, time_s)  # fmt: skip
            info = f'target_info{{job="{service}",instance="{instance}",host_id="host-1"}}'
            if not families.get("target info", {}).get(info, [""])[-1].endswith(f" {time_s}"):
                add("target info", info, 1, time_s)
            kept = {key: text for key, text in extra.items() if key not in metric.merged}
            if metric.of_host:
                kept["host_id"] = "host-1"
            bare = ",".join(f'{key}="{text}"' for key, text in kept.items())
            for records in RECORDS:
                for across in ("avg", "max", "sum"):
                    record = f"merged:{exported}:{across}{records.every}"
                    put_together[records.seconds, record, f"{record}{{{bare}}}"] = value
        for records in RECORDS:
            if interval.end_s % records.seconds:
                continue
            for kind in (merged, put_together):
                for key in [key for key in kind if key[0] == records.seconds]:
                    add(f"{key[1]} unknown", key[2], kind.pop(key), interval.end_s)
            add(f"{records.evaluated} unknown", records.evaluated, 1, interval.end_s)
    body = "\n".join(
        f"# TYPE {family}\n" + "\n".join("\n".join(lines) for lines in series.values())
        for family, series in families.items()
    )
    return body + "\n# EOF\n"


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """The server over what was loaded."""
    (folder / "prometheus.yml").write_text("global: {}\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = [shutil.which("prometheus") or "prometheus", "--config.file=prometheus.yml",
               "--storage.tsdb.path=data", "--storage.tsdb.retention.time=100y",
               f"--web.listen-address={address}"]  # fmt: skip
    with (folder / "output").open("wb") as output:
        server = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        while not _ready(f"http://{address}/-/ready"):
            if server.poll() is not None:
                raise RuntimeError((folder / "output").read_text()[-2000:])
            time.sleep(0.2)
        yield f"http://{address}"
    finally:
        server.kill()
        server.wait()


def _ready(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    main()
