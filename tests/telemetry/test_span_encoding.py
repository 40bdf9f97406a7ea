"""telemetry.otlp: byte by byte what the SDK makes of the same spans."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common import trace_encoder
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc
from opentelemetry.exporter.otlp.proto.http import trace_exporter as http
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from telemetry import otlp
from telemetry.setup import start
from telemetry.spans import Finished, _Place

RESOURCES = [
    Resource({"service.name": "a", "n": 3}),
    Resource({"service.name": "b"}, "https://x/1"),
]
SCOPES = [None, InstrumentationScope("one"), InstrumentationScope("two", "3", "https://x/2")]

texts = st.text(st.characters(codec="utf-8"), max_size=200)
numbers = st.integers(-(2**63), 2**63 - 1)
scalars = texts | numbers | st.booleans() | st.floats()
attributes = st.dictionaries(
    texts,
    scalars
    | st.lists(texts)
    | st.lists(texts).map(tuple)
    | st.lists(numbers)
    | st.lists(st.booleans()),
    max_size=5,
)
states = st.sampled_from([TraceState(), TraceState([("vendor", "1"), ("other", "2")])])
contexts = st.builds(
    SpanContext,
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    is_remote=st.booleans(),
    trace_flags=st.sampled_from([TraceFlags(0), TraceFlags(1)]),
    trace_state=states,
)
times = st.integers(0, 2**64 - 1)
#: Most spans have none of these.
rarities = st.fixed_dictionaries(
    {},
    optional={
        "events": st.lists(st.builds(Event, name=texts, attributes=attributes, timestamp=times)),
        "status": st.builds(Status, st.just(StatusCode.ERROR), texts),
    },
)


def dropping(values: dict[str, Any]) -> BoundedAttributes:
    """Attributes that were more than may be."""
    return BoundedAttributes(maxlen=2, attributes=values)


def span(rare: dict[str, Any], **others: Any) -> ReadableSpan:
    return ReadableSpan(**others, **rare)


spans = st.builds(
    span,
    rarities,
    name=texts,
    context=contexts,
    parent=st.none() | contexts,
    resource=st.sampled_from(RESOURCES),
    attributes=attributes | attributes.map(dropping),
    links=st.lists(st.builds(Link, contexts, st.just({}) | attributes), max_size=3),
    kind=st.sampled_from(SpanKind),
    start_time=times,
    end_time=times,
    instrumentation_scope=st.sampled_from(SCOPES),
)


@given(st.lists(spans, max_size=8))
def test_spans_become_the_bytes_that_the_sdk_makes(given_: list[ReadableSpan]) -> None:
    expected = trace_encoder.encode_spans(given_)
    assert otlp.encode_spans(given_).SerializeToString() == expected.SerializeToString()


@st.composite
def batches(draw: st.DrawFn) -> list[ReadableSpan]:
    """Spans as `telemetry.spans` makes them: some share their attributes and links."""
    facts = draw(st.lists(attributes, min_size=1, max_size=3))
    links = draw(st.lists(st.lists(st.builds(Link, contexts), max_size=2), min_size=1, max_size=2))
    place = st.builds(
        _Place, contexts, st.none() | contexts, st.just(value=True), st.sampled_from(facts)
    )
    made = st.builds(
        Finished,
        st.sampled_from(RESOURCES),
        st.sampled_from(["inference", "nms"]),
        place,
        st.sampled_from(SpanKind),
        st.sampled_from(links),
        times,
        times,
    )
    found: list[ReadableSpan] = draw(st.lists(made | spans, max_size=8))
    return found


@given(batches())
def test_spans_that_share_become_the_same_bytes(given_: list[ReadableSpan]) -> None:
    expected = trace_encoder.encode_spans(given_)
    assert otlp.encode_spans(given_).SerializeToString() == expected.SerializeToString()


@pytest.mark.parametrize(
    "value",
    [
        1,
        1.0,
        True,
        "1",
        0,
        0.0,
        -0.0,
        False,
        (1,),
        (True,),
        ("1",),
        2**63 - 1,
        -1,
        float("nan"),
        (),
    ],
    ids=repr,
)
def test_equal_values_of_different_types_are_told_apart(value: object) -> None:
    """Whatever was encoded before, under the same key."""
    context = SpanContext(1, 2, is_remote=False)
    for before in (1, True, 1.0, "1", (1,), ("1",), (True,), value):
        plain = ReadableSpan(
            "stage", context, attributes={"key": before}, start_time=1, end_time=2,  # type: ignore[dict-item]
            resource=RESOURCES[0], instrumentation_scope=SCOPES[1],
        )  # fmt: skip
        expected = trace_encoder.encode_spans([plain]).SerializeToString()
        assert otlp.encode_spans([plain]).SerializeToString() == expected


def test_an_attribute_that_otlp_does_not_know_is_left_out_as_by_the_sdk() -> None:
    """A number beyond 64 bits: the SDK logs it and sends the span without."""
    context = SpanContext(1, 2, is_remote=False)
    odd = ReadableSpan(
        "stage", context, attributes={"huge": 2**64, "b": 1}, start_time=1, end_time=2,
        resource=RESOURCES[0], instrumentation_scope=SCOPES[1],
    )  # fmt: skip
    expected = trace_encoder.encode_spans([odd]).SerializeToString()
    assert otlp.encode_spans([odd]).SerializeToString() == expected


@pytest.mark.parametrize(("protocol", "module"), [("http/protobuf", http), ("grpc", grpc)])
def test_exporters_encode_in_this_way(protocol: str, module: ModuleType) -> None:
    """Each exporter's module still calls its encoder by the name that is replaced."""
    telemetry = start(
        "damoscope-worker",
        {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        },
    )
    try:
        assert vars(module)["encode_spans"] is otlp.encode_spans
        assert "encode_spans" in _names_called(module)
    finally:
        telemetry.shutdown(0)


def _names_called(module: ModuleType) -> set[str]:
    functions = vars(vars(module)["OTLPSpanExporter"]).values()
    return {
        name for each in functions if hasattr(each, "__code__") for name in each.__code__.co_names
    }
