"""Programs that the tests of OpenTelemetry's variables start, and where their signals arrive."""

PATHS = {"TRACES": "/v1/traces", "METRICS": "/v1/metrics", "LOGS": "/v1/logs"}
#: A span with three attributes, events and links of three attributes each, a measurement and a
#: log line with three attributes in it.
START = """
import json, logging, sys, threading, urllib.request
from opentelemetry.context import Context
from opentelemetry.trace import Link, get_current_span, set_span_in_context
from telemetry import context, logs, setup
from telemetry.catalogue import BATCH_SIZE

logs.configure("info", "text")
telemetry = setup.start("damoscope-worker")
facts = {"a": "x" * 20, "b": "y" * 20, "c": "z" * 20}
def work():
    other = telemetry.tracer.start_span("other").get_span_context()
    links = [Link(other, facts)] * 3
    span = telemetry.tracer.start_span("work", Context(), attributes=facts, links=links)
    here = set_span_in_context(span, Context())
    for _ in range(3):
        span.add_event("event", facts)
    span.end()
    telemetry.instruments.record(BATCH_SIZE, 3, context=here)
    logging.getLogger("damoscope").warning("hello", extra=facts)
    return context.inject(here)
"""
END = """
said = {"ids": work()}
telemetry.shutdown(30)
said["alive"] = "telemetry-end" in {thread.name for thread in threading.enumerate()}
print(json.dumps(said))
"""
