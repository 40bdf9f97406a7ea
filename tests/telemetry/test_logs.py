"""telemetry.logs: one form of line, with the trace and span that it belongs to."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from pipeline.errors import DamoscopeError, InferenceFailed, InvalidImage, RateLimited
from telemetry import logs

SPAN = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
INSIDE = set_span_in_context(NonRecordingSpan(SPAN), Context())
log = logging.getLogger("damoscope.test")


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, which is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []  # pytest's own are put back below
    yield root
    root.handlers = handlers
    root.setLevel(level)


def last(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_text(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level, logger and message; inside of a span its ids as well."""
    logs.configure("info", "text")
    log.warning("%d %% done", 5)
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(rf"{time} WARNING damoscope\.test: 5 % done", last(capsys))
    logs.refusal(log, INSIDE, InvalidImage("cut short"))
    where = rf"\[trace_id={0xABC:032x} span_id={0xDEF:016x}\]"
    line = last(capsys)
    assert re.fullmatch(rf"{time} INFO damoscope\.test {where}: invalid_image: cut short", line)
    log.debug("not shown")
    assert capsys.readouterr().err == ""


def test_json(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, an exception and all."""
    logs.configure("info", "json")
    log.info("a\nb")
    line = json.loads(last(capsys))
    assert set(line) == {"time", "level", "logger", "message"}
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "damoscope.test", "a\nb")
    error = InferenceFailed("no")
    error.__cause__ = ValueError("why")
    logs.refusal(log, INSIDE, error, "job 7: ")
    line = json.loads(last(capsys))
    assert (line["trace_id"], line["span_id"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
    assert line["message"] == "job 7: inference_failed: no"
    assert line["exception"].endswith("ValueError: why")


@pytest.mark.parametrize(
    ("error", "level"),
    [(InvalidImage("x"), "INFO"), (RateLimited("x"), "WARNING"), (InferenceFailed("x"), "WARNING")],
)
def test_levels(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], error: DamoscopeError, level: str
) -> None:
    """What is wrong with the image is INFO, whatever else is refused or fails WARNING."""
    logs.configure("info", "text")
    logs.refusal(log, INSIDE, error)
    assert f" {level} " in last(capsys)
