"""Log lines: one form on stderr, with the trace and the span that they belong to."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

from pipeline.complaints import complaints
from pipeline.errors import DamoscopeError, Overloaded

#: Seconds after the start during which exports that fail are not logged.
GRACE_S = 15.0
#: Libraries log their own doings at info; ours is what a user started us for.
QUIET = ("rq", "rq.worker", "httpx", "opentelemetry", "uvicorn", "onnx", "asyncio", "PIL")

Form = Literal["text", "json"]


#: What stands in a log line in place of a secret.
HIDDEN = "***"


def configure(level: str, form: Form, secrets: Iterable[str] = ()) -> None:
    """Log to stderr from `level` on, such as `info`; `secrets` are in no line, whoever logs it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter((JsonLine if form == "json" else TextLine)(secrets))
    handler.addFilter(OncePerMinute())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def refusal(
    logger: logging.Logger, context: Context, error: DamoscopeError, about: str = ""
) -> None:
    """Say why an image has no result, as of the span in `context`: one line.

    What is wrong with the image or the request, or was withdrawn, is INFO, everything else
    WARNING; a failure comes with the stack of what has caused it. What may be said of very many
    (the queue is full, Redis is away) is said once a minute.
    """
    if error.outcome == "rejected":
        # The figures of an overload differ each time.
        kind = error.code if isinstance(error, Overloaded) else f"{error.code}: {error}"
        if not complaints.due(kind):
            return
    level = logging.INFO if error.outcome in ("invalid", "cancelled") else logging.WARNING
    cause = error.__cause__ if error.outcome == "failed" else None
    token = attach(context)
    try:
        logger.log(level, "%s%s: %s", about, error.code, error, exc_info=cause)
    finally:
        detach(token)


def current_ids() -> tuple[str, str] | None:
    """Trace and span id of the current span; None outside of any."""
    context = get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return format_trace_id(context.trace_id), format_span_id(context.span_id)


class Line(logging.Formatter):
    """A record as a line, without `secrets`: tracebacks and other libraries' lines included."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        ordered = sorted(secrets, key=len, reverse=True)  # one may be the beginning of another
        self._secrets = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def clean(self, text: str) -> str:
        """`text` without secrets."""
        return self._secrets.sub(HIDDEN, text) if self._secrets else text


class TextLine(Line):
    """`TIME LEVEL LOGGER [trace_id=... span_id=...] message`; the ids only inside of a span."""

    def format(self, record: logging.LogRecord) -> str:
        ids = current_ids()
        where = f" [trace_id={ids[0]} span_id={ids[1]}]" if ids else ""
        text = self.clean(super().format(record))
        return f"{_time(record)} {record.levelname} {record.name}{where}: {text}"


class JsonLine(Line):
    """The same as one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": self.clean(record.getMessage()),
        }
        if ids := current_ids():
            line["trace_id"], line["span_id"] = ids
        if record.exc_info:
            line["exception"] = self.clean(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def not_of_the_exporters(record: logging.LogRecord) -> bool:
    """Whether a line may be exported: what exporters say of themselves would go in a circle."""
    return not record.name.startswith(("opentelemetry.", "urllib3.", "grpc."))


class OncePerMinute(logging.Filter):
    """Lets through one line a minute of each of OpenTelemetry's loggers: telemetry that fails must
    not shout.

    The first `GRACE_S` of a process are silent: its receiver may just be starting as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}
        self._silent_until = time.monotonic() + GRACE_S

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("opentelemetry."):
            return True
        now = time.monotonic()
        if now < self._silent_until or now - self._last.get(record.name, -60.0) < 60.0:
            return False
        self._last[record.name] = now
        record.exc_info = None  # the line is enough; a stack of urllib3 says no more
        return True
