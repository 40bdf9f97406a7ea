"""frontend.identity.layer: which header fields of a stranger are taken away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.propagate import get_global_textmap, set_global_textmap
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.jaeger import JaegerPropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from frontend.identity.layer import Authenticator, Identity
from pipeline.settings import Settings


def left(settings: Settings, *fields: str) -> list[str]:
    """Names of those fields that come through."""
    seen: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(name.decode() for name, _ in scope["headers"])

    scope = {
        "type": "http", "method": "GET", "path": "/", "client": ("10.0.0.9", 1),
        "headers": [(field.lower().encode(), b"1") for field in fields],
    }  # fmt: skip
    asyncio.run(Identity(inner, Authenticator(settings))(scope, None, None))  # type: ignore[arg-type]
    return seen


@pytest.mark.parametrize(
    ("propagator", "fields"),
    [
        (TraceContextTextMapPropagator(), ["traceparent", "tracestate"]),
        (B3SingleFormat(), ["b3"]),
        (B3MultiFormat(), ["b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"]),
        (JaegerPropagator(), ["uber-trace-id", "uberctx-anything"]),
        (
            CompositePropagator([TraceContextTextMapPropagator(), B3SingleFormat()]),
            ["traceparent", "b3"],
        ),
    ],
)
def test_fields_of_every_propagator(
    propagator: TextMapPropagator, fields: list[str], tmp_path: Path
) -> None:
    """What the propagators in use would read is dropped, and nothing else."""
    before = get_global_textmap()
    set_global_textmap(propagator)
    try:
        settings = Settings(home=tmp_path, host="0.0.0.0", insecure=True)
        assert left(settings, *fields, "accept") == ["accept"]
        everybody = Settings(home=tmp_path, host="0.0.0.0", insecure=True, trace_context="all")
        assert left(everybody, *fields) == fields
    finally:
        set_global_textmap(before)
