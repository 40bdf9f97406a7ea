"""telemetry.variables: each variable in the table of docs/settings.md does what it says there."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from telemetry import variables
from tests.paths import ROOT
from tests.servers import eventually, free_port
from tests.telemetry.collectors import (
    Collected,
    environment,
    grpc_collector,
    http_collector,
    run,
    silent_collector,
)
from tests.telemetry.programs import END, PATHS, START

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
ALL = {"OTEL_LOGS_EXPORTER": "otlp"}


def attributes(given: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value for each in given}


def sent(**given: str) -> tuple[Collected, dict[str, Any]]:
    """What a collector has got by HTTP of all signals, and what the program said of itself."""
    with http_collector() as collected:
        done = run(START + END, **{ENDPOINT: collected.endpoint} | ALL | given)
    return collected, json.loads(done.stdout)


def work(collected: Collected) -> Any:
    """The span named so."""
    (span,) = [span for span in collected.spans if span.name == "work"]
    return span


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out",
         "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def package(tmp_path: Path) -> str:
    """A folder for PYTHONPATH with a package that a user has installed."""
    (tmp_path / "mine.py").write_text("""
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
class Ids(RandomIdGenerator):
    def generate_trace_id(self):
        return 0xabc
class Exporter(SpanExporter):
    def export(self, spans):
        print(*(span.name for span in spans))
        return SpanExportResult.SUCCESS
def sampler(argument):
    return ALWAYS_ON if argument == "yes" else ALWAYS_OFF
""")
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("""
[opentelemetry_id_generator]
mine = mine:Ids
[opentelemetry_traces_exporter]
mine = mine:Exporter
[opentelemetry_traces_sampler]
mine = mine:sampler
""")
    return f"{tmp_path}:{ROOT}"


# -- one test for each variable: `COVERED` names what it is about ---------------------------

COVERED: set[str] = set()


def covers(*names: str) -> Callable[[Any], Any]:
    """Say which variables a test is about."""
    COVERED.update(names)
    return lambda test: test


def by_signal(name: str) -> list[str]:
    """A variable of OTLP, and those of one signal."""
    (found,) = [each for each in variables.VARIABLES if each.name == f"OTEL_EXPORTER_OTLP_{name}"]
    COVERED.update(found.names)
    return list(found.names)


def concerned(name: str) -> dict[str, str]:
    """The signals that a variable is about, and their paths."""
    found = {signal: path for signal, path in PATHS.items() if f"_{signal}_" in name}
    return found or PATHS


@covers("OTEL_SDK_DISABLED")
def test_disabled() -> None:
    """Nothing is made or sent, and nothing names a trace."""
    collected, said = sent(OTEL_SDK_DISABLED="True")
    assert collected.paths == set()
    assert said["ids"] == {}


@covers("OTEL_SERVICE_NAME")
def test_service_name() -> None:
    """The user's name for the service wins."""
    assert sent(OTEL_SERVICE_NAME="mine")[0].resource["service.name"] == "mine"


@covers("OTEL_RESOURCE_ATTRIBUTES")
def test_resource() -> None:
    """All attributes of the user's are there, and win over ours."""
    given = {"service.name": "mine", "service.instance.id": "i", "host.id": "h", "team": "a b",
             "service.version": "9", "host.name": "n"}  # fmt: skip
    text = ",".join(f"{name}={value}" for name, value in given.items())
    found = sent(OTEL_RESOURCE_ATTRIBUTES=text)[0].resource
    assert {name: found[name] for name in given} == given
    assert found["telemetry.sdk.name"] == "opentelemetry"


@covers("OTEL_PROPAGATORS")
@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ("tracecontext", {"traceparent"}),
        ("b3", {"b3"}),
        ("b3multi", {"x-b3-traceid", "x-b3-spanid", "x-b3-sampled"}),
        ("jaeger", {"uber-trace-id"}),
        ("tracecontext, b3", {"traceparent", "b3"}),
        ("none", set()),
    ],
)
def test_propagators(given: str, fields: set[str]) -> None:
    """A job carries the fields of the chosen propagators."""
    done = run(START + "print(json.dumps(work()))", OTEL_PROPAGATORS=given)
    assert set(json.loads(done.stdout)) == fields


@covers("OTEL_PROPAGATORS")
@pytest.mark.parametrize(
    ("given", "headers"),
    [
        (None, {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "baggage": "camera=7"}),
        ("b3", {"b3": f"{'a' * 32}-{'b' * 16}-1"}),
        ("b3multi", {"x-b3-traceid": "a" * 32, "x-b3-spanid": "b" * 16, "x-b3-sampled": "1"}),
        ("jaeger", {"uber-trace-id": f"{'a' * 32}:{'b' * 16}:0:1", "uberctx-camera": "7"}),
    ],
)
def test_extraction(given: str | None, headers: dict[str, str]) -> None:
    """A trace that comes in by headers goes on, and so does its baggage."""
    program = (
        START
        + f"""
found = context.extract({headers!r})
from opentelemetry.baggage import get_all
carried = context.extract(context.inject(found))
print(context.trace_id(get_current_span(carried)), dict(get_all(carried)))
"""
    )
    done = run(program, **({"OTEL_PROPAGATORS": given} if given else {}))
    baggage = "{'camera': '7'}" if any("7" in value for value in headers.values()) else "{}"
    assert done.stdout.strip() == f"{'a' * 32} {baggage}"


@covers("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG")
@pytest.mark.parametrize(
    ("name", "argument", "kept"),
    [
        ("always_off", None, False),
        ("traceidratio", "0", False),
        ("parentbased_traceidratio", "1.0", True),
        ("mine", "yes", True),
        ("mine", "no", False),
    ],
)
def test_sampler(name: str, argument: str | None, kept: bool, package: str) -> None:
    """Traces are kept as the sampler says, be it the SDK's or one that the user has installed."""
    more = {"OTEL_TRACES_SAMPLER_ARG": argument} if argument else {}
    collected, _ = sent(OTEL_TRACES_SAMPLER=name, PYTHONPATH=package, **more)
    assert collected.span_names == (["work"] if kept else [])


@covers("OTEL_PYTHON_ID_GENERATOR")
def test_id_generator(package: str) -> None:
    """Ids come from the generator that the user has installed."""
    collected, _ = sent(OTEL_PYTHON_ID_GENERATOR="mine", PYTHONPATH=package)
    assert work(collected).trace_id.hex() == f"{0xABC:032x}"


@covers("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER")
@pytest.mark.parametrize(
    ("signal", "shown"),
    [
        ("TRACES", '"name": "work"'),
        ("METRICS", "damoscope.batch.size"),
        ("LOGS", '"body": "hello"'),
    ],
)
def test_exporters(signal: str, shown: str) -> None:
    """Several exporters of one signal get all of it; `none` switches it off."""
    with http_collector() as collected:
        given = {ENDPOINT: collected.endpoint} | ALL | {f"OTEL_{signal}_EXPORTER": "console, otlp"}
        assert shown in run(START + END, **given).stdout
        assert collected.paths == set(PATHS.values())
    with http_collector() as collected:
        given |= {ENDPOINT: collected.endpoint, f"OTEL_{signal}_EXPORTER": "None"}
        assert shown not in run(START + END, **given).stdout
        assert collected.paths == set(PATHS.values()) - {PATHS[signal]}


@covers("OTEL_TRACES_EXPORTER")
def test_installed_exporter(package: str) -> None:
    """An exporter that the user has installed gets the spans."""
    done = run(START + END, OTEL_TRACES_EXPORTER="mine", PYTHONPATH=package)
    assert done.stdout.splitlines()[0] == "work"


@covers("OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT")
def test_prometheus() -> None:
    """The process serves its metrics at the address that was given."""
    port = free_port()
    program = (
        START
        + f"""
work()
print(urllib.request.urlopen("http://127.0.0.2:{port}/metrics").read().decode())
"""
    )
    done = run(program, OTEL_METRICS_EXPORTER="prometheus", OTEL_EXPORTER_PROMETHEUS_PORT=str(port),
               OTEL_EXPORTER_PROMETHEUS_HOST="127.0.0.2")  # fmt: skip
    assert "damoscope_batch_size_images" in done.stdout or "damoscope_batch_size" in done.stdout


@pytest.mark.parametrize("name", by_signal("ENDPOINT"))
def test_endpoint(name: str) -> None:
    """Each signal goes to its own address, or to its path below the common one."""
    with http_collector() as collected:
        address = collected.endpoint + ("/mine" if concerned(name) is not PATHS else "")
        run(START + END, **ALL | {name: address})
    expected = {"/mine"} if concerned(name) is not PATHS else set(PATHS.values())
    # Log lines are sent when it is said that they are, wherever the SDK sends by itself.
    assert collected.paths == expected


@pytest.mark.parametrize("name", by_signal("PROTOCOL"))
def test_protocol(name: str) -> None:
    """What is to go by gRPC does; the rest goes by HTTP, which gRPC's port does not take."""
    with grpc_collector() as by_grpc, http_collector() as http:
        ends = {
            f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT": by_grpc.endpoint
            if signal in concerned(name)
            else f"{http.endpoint}{path}"
            for signal, path in PATHS.items()
        }
        run(START + END, **ALL | ends | {name: "grpc"})
    got = {"TRACES": by_grpc.traces, "METRICS": by_grpc.metrics, "LOGS": by_grpc.logs}
    assert {signal for signal, requests in got.items() if requests} == set(concerned(name))
    assert http.paths == set(PATHS.values()) - set(concerned(name).values())


@pytest.mark.parametrize("name", by_signal("HEADERS"))
def test_headers(name: str) -> None:
    """They are sent along."""
    collected, _ = sent(**{name: "authorization=Bearer%20x,team=a"})
    for path, headers in collected.headers.items():
        told = {key: headers.get(key) for key in ("authorization", "team")}
        if path in concerned(name).values():
            assert told == {"authorization": "Bearer x", "team": "a"}
        else:
            assert told == {"authorization": None, "team": None}


@pytest.mark.parametrize("name", by_signal("COMPRESSION"))
def test_compression(name: str) -> None:
    """Requests are packed when they are to be, and only those of the signal."""
    collected, _ = sent(**{name: "gzip"})
    packed = {path for path, headers in collected.headers.items() if "content-encoding" in headers}
    assert packed == set(concerned(name).values())


@pytest.mark.parametrize("given", ["none", "gzip", "deflate"])
def test_compression_by_grpc(given: str) -> None:
    """By gRPC each is taken as well."""
    with grpc_collector() as collected:
        run(START + END, **ALL | {ENDPOINT: collected.endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL":
            "grpc", "OTEL_EXPORTER_OTLP_COMPRESSION": given})  # fmt: skip
    assert collected.span_names == ["work"]


@pytest.mark.parametrize("name", by_signal("TIMEOUT"))
def test_timeout(name: str) -> None:
    """A collector that hangs is given up in time, so that the end is not waited for in vain."""
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in PATHS if signal not in concerned(name)}
    with silent_collector() as endpoint:
        done = run(START + END, **ALL | none | {ENDPOINT: endpoint, name: "0.1"})
    assert json.loads(done.stdout)["alive"] is False


@contextmanager
def secure(files: Path, *, both_sides: bool = False) -> Iterator[Collected]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files / "cert.pem", files / "key.pem")
    if both_sides:
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_verify_locations(files / "cert.pem")
    with http_collector(tls) as collected:
        yield collected


@pytest.mark.parametrize("name", by_signal("CERTIFICATE"))
def test_certificate(name: str, files: Path) -> None:
    """A receiver with a certificate of its own is trusted by the signals that it is named for."""
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in PATHS if signal not in concerned(name)}
    with secure(files) as collected:
        given = {ENDPOINT: collected.endpoint, name: str(files / "cert.pem")}
        run(START + END, **ALL | none | given)
    assert collected.paths == set(concerned(name).values())


@pytest.mark.parametrize(
    ("certificate", "key"),
    [*zip(by_signal("CLIENT_CERTIFICATE"), by_signal("CLIENT_KEY"), strict=True)],
)
def test_client_certificate(certificate: str, key: str, files: Path) -> None:
    """A receiver that asks for this side's certificate is shown it."""
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in PATHS if signal not in concerned(key)}
    shown = {
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(files / "cert.pem"),
        certificate: str(files / "cert.pem"),
        key: str(files / "key.pem"),
    }
    with secure(files, both_sides=True) as collected:
        run(START + END, **ALL | none | shown | {ENDPOINT: collected.endpoint})
    assert collected.paths == set(concerned(key).values())


@pytest.mark.parametrize("name", by_signal("INSECURE"))
def test_insecure(name: str) -> None:
    """gRPC to a host and port without a scheme goes without TLS."""
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in PATHS if signal not in concerned(name)}
    with grpc_collector() as collected:
        host = collected.endpoint.removeprefix("http://")
        given = {ENDPOINT: host, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", name: "true"}
        run(START + END, **ALL | none | given)
    got = {"TRACES": collected.traces, "METRICS": collected.metrics, "LOGS": collected.logs}
    assert {signal for signal, requests in got.items() if requests} == set(concerned(name))


MANY = """
for number in range(2000):
    telemetry.tracer.start_span(str(number)).end()
    logging.getLogger("damoscope").debug(str(number))
telemetry.shutdown(30)
"""
MANY_START = START.replace('"info"', '"debug"')


@covers("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_QUEUE_SIZE")
@covers("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE")
@covers("OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BLRP_EXPORT_TIMEOUT", "OTEL_METRIC_EXPORT_TIMEOUT")
def test_batches() -> None:
    """Exports are as large as they may be, and what does not fit into the queue is dropped."""
    timeouts = dict.fromkeys(
        ["OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BLRP_EXPORT_TIMEOUT", "OTEL_METRIC_EXPORT_TIMEOUT"],
        "9999",
    )
    sizes = {f"OTEL_{which}_MAX_{what}_SIZE": "7" for which in ("BSP", "BLRP")
             for what in ("QUEUE", "EXPORT_BATCH")}  # fmt: skip
    with http_collector() as collected:
        run(MANY_START + MANY, **ALL | sizes | timeouts | {ENDPOINT: collected.endpoint})
    spans = [len(request.resource_spans[0].scope_spans[0].spans) for request in collected.traces]
    lines = [sum(len(s.log_records) for s in request.resource_logs[0].scope_logs)
             for request in collected.logs]  # fmt: skip
    for counts in (spans, lines):
        assert max(counts) <= 7
        assert 7 <= sum(counts) < 2000


@covers("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL")
def test_intervals() -> None:
    """Exports come as often as they are to: some 20 times as often as by themselves."""
    program = (
        START
        + """
while not ended.wait(0.01):
    work()
""".replace("ended", "threading.Event()")
    )
    given = dict.fromkeys(
        ["OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL"], "50"
    )
    with http_collector() as collected:
        process = subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.DEVNULL,
            env=environment(**ALL | given | {ENDPOINT: collected.endpoint}),
        )  # fmt: skip
        try:
            kinds: list[list[Any]] = [collected.traces, collected.logs, collected.metrics]
            eventually(lambda: all(kinds), "the first of each")
            # By themselves 60 exports take a minute, and those of metrics five.
            eventually(lambda: min(map(len, kinds)) > 60, "60 more of each", patience_s=55)
        finally:
            process.kill()
            process.wait()


@covers("OTEL_METRICS_EXEMPLAR_FILTER")
def test_exemplars() -> None:
    """No value names its trace when none is to."""
    (point,) = sent()[0].metric("damoscope.batch.size").histogram.data_points
    assert point.exemplars
    collected, _ = sent(OTEL_METRICS_EXEMPLAR_FILTER="always_off")
    (point,) = collected.metric("damoscope.batch.size").histogram.data_points
    assert not point.exemplars


@covers("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE")
def test_temporality() -> None:
    """Metrics are sent as differences."""
    collected, _ = sent(OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="delta")
    assert collected.metric("damoscope.batch.size").histogram.aggregation_temporality == 1


@covers("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION")
def test_aggregation() -> None:
    """Histograms are exponential."""
    collected, _ = sent(
        OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION="base2_exponential_bucket_histogram"
    )
    assert collected.metric("damoscope.batch.size").exponential_histogram.data_points


def lengths(given: Any) -> set[int]:
    return {len(value) for value in attributes(given).values()}


#: By variable: how the span or the log line looks with a limit of 2, or of 5 characters.
LIMITS: dict[str, Callable[[Any, Any], bool]] = {
    "ATTRIBUTE_COUNT": lambda span, line: (
        len(span.attributes) == len(span.events[0].attributes) == len(line.attributes) == 2
    ),
    "ATTRIBUTE_VALUE_LENGTH": lambda span, line: (
        lengths(span.attributes) == lengths(line.attributes) == {5}
    ),
    "SPAN_ATTRIBUTE_COUNT": lambda span, _: len(span.attributes) == 2,
    "SPAN_ATTRIBUTE_VALUE_LENGTH": lambda span, _: lengths(span.attributes) == {5},
    "SPAN_EVENT_COUNT": lambda span, _: len(span.events) == 2,
    "SPAN_LINK_COUNT": lambda span, _: len(span.links) == 2,
    "EVENT_ATTRIBUTE_COUNT": lambda span, _: len(span.events[0].attributes) == 2,
    "LINK_ATTRIBUTE_COUNT": lambda span, _: len(span.links[0].attributes) == 2,
    "LOGRECORD_ATTRIBUTE_COUNT": lambda _, line: len(line.attributes) == 2,
    "LOGRECORD_ATTRIBUTE_VALUE_LENGTH": lambda _, line: lengths(line.attributes) == {5},
}


@covers(*(f"OTEL_{name}_LIMIT" for name in LIMITS))
@pytest.mark.parametrize("name", LIMITS)
def test_limits(name: str) -> None:
    """Spans and log lines keep within the limits that are set."""
    collected, _ = sent(**{f"OTEL_{name}_LIMIT": "5" if "LENGTH" in name else "2"})
    (line,) = [line for line in collected.lines if line.body.string_value == "hello"]
    assert LIMITS[name](work(collected), line)


#: Of the frontend alone: tests/frontend/test_app.py::test_the_old_conventions_too.
ELSEWHERE = {"OTEL_SEMCONV_STABILITY_OPT_IN"}


def test_every_variable_has_a_test() -> None:
    """What the table says is tested here."""
    assert set(variables.known()) - ELSEWHERE == COVERED
