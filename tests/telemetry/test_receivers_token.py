"""telemetry.variables: to whom the token of a frontend's own receiver is sent."""

from __future__ import annotations

from telemetry.variables import send_to

OURS, TOKEN = "http://127.0.0.1:7860/otlp", "t0ken"
FIELD = f"x-damoscope-token={TOKEN}"


def headers(environ: dict[str, str], signal: str) -> str | None:
    return environ.get(f"OTEL_EXPORTER_OTLP_{signal}_HEADERS")


def test_every_signal_sends_it_to_us() -> None:
    """Spans, metrics and log lines, beside nothing."""
    environ: dict[str, str] = {}
    send_to(environ, OURS, TOKEN)
    assert environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == OURS
    assert {headers(environ, each) for each in ("TRACES", "METRICS", "LOGS")} == {FIELD}


def test_the_users_own_headers_stay() -> None:
    """Those of all signals, and those of one, which the exporters prefer."""
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": "a=1,b=2", "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "c=3"}
    send_to(environ, OURS, TOKEN)
    assert environ["OTEL_EXPORTER_OTLP_HEADERS"] == "a=1,b=2"
    assert headers(environ, "TRACES") == f"a=1,b=2,{FIELD}"
    assert headers(environ, "LOGS") == f"c=3,{FIELD}"


def test_nobody_else_is_told() -> None:
    """Neither an endpoint of the user's for all signals, nor one for a single signal."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere:4318"}
    send_to(environ, OURS, TOKEN)
    assert TOKEN not in str(environ)
    environ = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://elsewhere:4318/v1/traces"}
    send_to(environ, OURS, TOKEN)
    assert headers(environ, "TRACES") is None
    assert headers(environ, "METRICS") == FIELD
    assert TOKEN not in environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")
