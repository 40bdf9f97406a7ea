"""telemetry.variables: what cannot be right ends the start, with one line that names it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from telemetry import variables
from tests.paths import ROOT
from tests.telemetry.collectors import environment, run
from tests.telemetry.programs import PATHS, START
from tests.telemetry.test_variables import LIMITS


def by_signal(name: str) -> tuple[str, ...]:
    """A variable of OTLP, and those of one signal."""
    (found,) = [each for each in variables.VARIABLES if each.name == f"OTEL_EXPORTER_OTLP_{name}"]
    return found.names


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team"),
        ("OTEL_PROPAGATORS", "tracecontext,b4"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_PYTHON_ID_GENERATOR", "dice"),
        *((f"OTEL_{signal}_EXPORTER", "otlp,paper") for signal in PATHS),
        ("OTEL_TRACES_EXPORTER", "prometheus"),
        *((name, "ftp://collector") for name in by_signal("ENDPOINT")),
        *((name, "http/json") for name in by_signal("PROTOCOL")),
        *((name, "x") for name in by_signal("TIMEOUT")),
        *((name, "-1") for name in by_signal("TIMEOUT")),
        *((name, "zip") for name in by_signal("COMPRESSION")),
        *((name, "/absent") for name in by_signal("CERTIFICATE")),
        *((name, __file__) for name in by_signal("CERTIFICATE")),
        *((name, "/absent") for name in by_signal("CLIENT_KEY")),
        *((name, "perhaps") for name in by_signal("INSECURE")),
        *((f"OTEL_{which}_SCHEDULE_DELAY", "0") for which in ("BSP", "BLRP")),
        *((f"OTEL_{which}_MAX_QUEUE_SIZE", "many") for which in ("BSP", "BLRP")),
        *((f"OTEL_{which}_MAX_EXPORT_BATCH_SIZE", "99999") for which in ("BSP", "BLRP")),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-5000"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "nan"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "some"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "eternal"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "pie"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "70000"),
        *((f"OTEL_{name}_LIMIT", "-1") for name in LIMITS),
        *((f"OTEL_{name}_LIMIT", "few") for name in LIMITS),
    ],
)  # fmt: skip
def test_refused(name: str, value: str) -> None:
    """A value that cannot be right is refused by one line that names it."""
    with pytest.raises(ConfigurationError) as refused:
        variables.check({name: value})
    assert str(refused.value).startswith(f"{name}={value}: ")
    assert "\n" not in str(refused.value)


def test_share_of_traces() -> None:
    """The sampler's argument is a share where the sampler takes one, and free where it is not."""
    for value in ("half", "1.5"):
        with pytest.raises(ConfigurationError, match=f"OTEL_TRACES_SAMPLER_ARG={value}: "):
            variables.check(
                {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": value}
            )
    variables.check({"OTEL_TRACES_SAMPLER_ARG": "half"})


def test_secrets_are_not_repeated() -> None:
    """Headers, which may carry a password, are not shown when they are wrong."""
    with pytest.raises(
        ConfigurationError, match=r"^OTEL_EXPORTER_OTLP_HEADERS=\.\.\.: "
    ) as refused:
        variables.check({"OTEL_EXPORTER_OTLP_HEADERS": "hunter2"})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("command", ["up", "frontend", "worker"])
@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_PROPAGATORS", "b4"), ("OTEL_TRACES_EXPORTER", "paper")]
)
def test_refused_start(command: str, name: str, value: str, tmp_path: Path) -> None:
    """A command that is started so ends at once, with that line and exit code 2."""
    done = subprocess.run(
        [sys.executable, "-m", "run", command], cwd=ROOT, text=True, capture_output=True,
        env=environment(DAMOSCOPE_HOME=str(tmp_path / "home"), **{name: value}), check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"damoscope: {name}={value}: ")
    assert done.stderr.count("\n") == 1


def test_port_in_use() -> None:
    """An exporter that cannot start ends the start as well."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        program = START.replace("telemetry = setup", """
from pipeline.errors import ConfigurationError
try:
    setup.start("x")
except ConfigurationError as error:
    print(error)
    sys.exit()
telemetry = setup""")  # fmt: skip
        done = run(program, OTEL_METRICS_EXPORTER="prometheus", OTEL_EXPORTER_PROMETHEUS_PORT=port,
                   OTEL_EXPORTER_PROMETHEUS_HOST="127.0.0.1")  # fmt: skip
    assert done.stdout.startswith("OTEL_METRICS_EXPORTER=prometheus: does not start: ")
