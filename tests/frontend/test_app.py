"""frontend.app: every layer holds for every address, and detections are traced by the standard."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.api.detect import DETECT_PATH
from frontend.api.problems import MEDIA_TYPE
from frontend.pages.site import ADDRESSES
from pipeline.errors import DamoscopeError, InvalidImage, Unavailable
from tests.frontend.application import Application, application
from tests.paths import ROOT
from tests.servers import environment

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
JPEG = {"content-type": "image/jpeg", "user-agent": "camera 7"}
#: Prints a request's method by the stable and by the old conventions.
ASKED = """
import sys
from pathlib import Path
from tests.frontend.application import application
with application(Path(sys.argv[1])) as built:
    built.ask("POST", "/api/v1/detect", content=b"1", headers={"content-type": "image/jpeg"})
    print(*(built.span().attributes[name] for name in ("http.request.method", "http.method")))
"""
IMAGE = {"content": b"123456", "headers": JPEG}


class RefuseAll:
    """A layer such as one that asks who somebody is, and believes nobody."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("refused", 403)(scope, receive, send)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    """The API alone."""
    with application(tmp_path) as built:
        yield built


def test_a_network_of_ipv6_is_one_client(app: Application) -> None:
    """Whoever has 2^64 addresses has one share of the queue, and one rate; each other has its own,
    and all are counted by their addresses."""
    senders = ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1", "192.0.2.1", "192.0.2.2"]
    for sender in senders:
        assert app.ask("POST", DETECT_PATH, sender=sender, **IMAGE).status_code == 200
    asked = app.detection.asked
    assert [each.client for each in asked] == [
        "2001:db8::/64", "2001:db8::/64", "2001:db8:0:1::/64", "192.0.2.1", "192.0.2.2",
    ]  # fmt: skip
    assert [each.who.name for each in asked] == senders


def test_a_layer_holds_for_every_address(tmp_path: Path) -> None:
    """A layer that refuses everything refuses each operation of OpenAPI, each page, what pages
    ask for, the receiver of telemetry, and addresses that do not exist."""
    with application(tmp_path, pages=True) as built:
        operations = {
            (method.upper(), path)
            for path, methods in built.app.openapi()["paths"].items()
            for method in methods
        }
        routes = {
            (method, str(route.path))
            for route in iter_route_contexts(built.app.routes)
            for method in route.methods or {"GET"}
        }
        built.app.add_middleware(RefuseAll)
        assert ("POST", DETECT_PATH) in operations
        assert {("POST", "/otlp/v1/traces"), ("GET", "/monitor"), ("GET", "/docs")} <= routes
        assert {(method, path) for path, method in ADDRESSES.items()} <= routes
        unknown = {("GET", "/nothing"), ("POST", "/gradio_api/run/other")}
        for method, path in sorted(operations | routes | unknown):
            answer = built.ask(method, path, **(IMAGE if method == "POST" else {}))
            text = "" if method == "HEAD" else "refused"
            assert (answer.status_code, answer.text) == (403, text), (method, path)
        assert built.detection.asked == []


def test_the_span_of_a_request(app: Application) -> None:
    """It is the instrumentation's, by the stable conventions; the answer names its trace."""
    answer = app.ask("POST", f"{DETECT_PATH}?max_detections=3", **IMAGE)
    span = app.span()
    assert span.context
    trace_id = f"{span.context.trace_id:032x}"
    assert (answer.status_code, answer.json()) == (200, {"bytes": 6, "trace_id": trace_id})
    assert answer.headers["x-trace-id"] == trace_id
    assert (span.name, span.kind, span.parent) == (f"POST {DETECT_PATH}", SpanKind.SERVER, None)
    assert span.instrumentation_scope
    assert span.instrumentation_scope.name == "opentelemetry.instrumentation.fastapi"
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": DETECT_PATH,
        "http.response.status_code": 200,
        "url.path": DETECT_PATH,
        "url.query": "max_detections=3",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "cam.localhost",
        "server.port": 8000,
        "client.address": "127.0.0.1",
        "client.port": 123,
        "user_agent.original": "camera 7",
    }


def test_the_callers_trace_goes_on(app: Application) -> None:
    """A `traceparent` of the caller's is the parent of the request's span."""
    headers = JPEG | {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    answer = app.ask("POST", DETECT_PATH, content=b"1", headers=headers)
    parent = app.span().parent
    assert answer.headers["x-trace-id"] == TRACE
    assert parent
    assert (f"{parent.trace_id:032x}", f"{parent.span_id:016x}") == (TRACE, PARENT)


def test_an_unsampled_caller(app: Application) -> None:
    """A caller that is not sampled leaves no span, and still hears its own trace id."""
    headers = JPEG | {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    answer = app.ask("POST", DETECT_PATH, content=b"1", headers=headers)
    assert (answer.status_code, answer.headers["x-trace-id"]) == (200, TRACE)
    assert app.spans() == ()


def test_a_disabled_sdk(tmp_path: Path) -> None:
    """Without an SDK there is no trace to name: no header, and none in a problem document."""
    with application(tmp_path, tracers=NoOpTracerProvider()) as built:
        answer = built.ask("POST", DETECT_PATH, **IMAGE)
        assert (answer.status_code, answer.json()["trace_id"]) == (200, "")
        assert "x-trace-id" not in answer.headers
        refused = built.ask("POST", f"{DETECT_PATH}?max_detections=0", **IMAGE)
        assert "x-trace-id" not in refused.headers
        assert "trace_id" not in refused.json()


def test_the_api_alone_needs_no_gradio() -> None:
    """A frontend without pages does not load what only the pages need."""
    code = "import sys, frontend.main; print({'gradio', 'pandas'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_the_old_conventions_too(tmp_path: Path) -> None:
    """Which conventions the span follows can be chosen by the standard variable."""
    done = subprocess.run(
        [sys.executable, "-c", ASKED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
        check=True, env=environment({"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"}),
    )  # fmt: skip
    assert done.stdout == "POST POST\n"


def test_forwarded_fields_are_not_believed(app: Application) -> None:
    """What a client says of other clients is no fact: nothing but `Host` names the server."""
    lies = {"x-forwarded-for": "10.9.8.7", "x-forwarded-host": "elsewhere", "host": "[::1]"}
    app.ask("POST", DETECT_PATH, content=b"1", headers=JPEG | lies)
    attributes = app.span().attributes or {}
    assert attributes["client.address"] == "127.0.0.1"
    assert (attributes["server.address"], attributes["server.port"]) == ("::1", 80)


@pytest.mark.parametrize("host", ["a:b:c", "x:99999", "[::1"])
def test_a_host_that_is_none(app: Application, host: str) -> None:
    """A `Host` that cannot be read is no name of this service."""
    answer = app.ask("POST", DETECT_PATH, content=b"1", headers=JPEG | {"host": host})
    assert answer.status_code == 421
    assert app.spans() == ()


def test_no_host(app: Application) -> None:
    """Where none is named, the server is the socket's address."""
    answer = app.ask("POST", DETECT_PATH, content=b"1", headers=JPEG | {"host": ""})
    assert answer.status_code == 200
    assert (app.span().attributes or {})["server.port"] == 8000


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        pytest.param(InvalidImage("cut short"), 400, "invalid_image", id="the client's"),
        pytest.param(Unavailable("no worker"), 503, "unavailable", id="foreseen"),
        pytest.param(RuntimeError("a bug"), 500, "internal", id="not foreseen"),
    ],
)
def test_errors_are_problem_documents(
    app: Application,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
    kind: str,
) -> None:
    """Whatever is raised is answered with a problem that names the trace, and no more of a bug.

    The span of what the client got wrong has no error status.
    """
    app.detection.error = error
    answer = app.ask("POST", DETECT_PATH, **IMAGE)
    assert answer.status_code == status
    assert answer.headers["content-type"] == MEDIA_TYPE
    body = answer.json()
    assert body["type"] == f"urn:damoscope:{kind}"
    assert body["trace_id"] == answer.headers["x-trace-id"]
    assert "a bug" not in answer.text
    span = app.span()
    assert (span.attributes or {})["http.response.status_code"] == status
    assert span.status.status_code is (StatusCode.UNSET if status < 500 else StatusCode.ERROR)
    mistake = not isinstance(error, DamoscopeError)
    assert [event.name for event in span.events] == ["exception"] * mistake
    # The log has it, once, and in the request's trace.
    assert [record.message for record in caplog.records] == [f"POST {DETECT_PATH} failed"] * mistake


@pytest.mark.parametrize(
    "query", ["max_detections=0", "scorethreshold=0.5", "timeout=nan", "priority=urgent"]
)
def test_parameters_that_are_refused(app: Application, query: str) -> None:
    """A parameter out of range or unknown is a 422, traced, and counted as a request."""
    answer = app.ask("POST", f"{DETECT_PATH}?{query}", **IMAGE)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert query.partition("=")[0] in answer.json()["detail"]
    assert answer.json()["trace_id"] == answer.headers["x-trace-id"]
    assert [type(error).__name__ for error in app.detection.refused] == ["InvalidParameter"]
    assert app.span().status.status_code is StatusCode.UNSET
    assert app.ask("GET", "/api/v1/jobs/none").status_code == 422
    assert len(app.detection.refused) == 1, "only detections are counted"


def test_labels_are_repeated_or_separated_by_commas(app: Application) -> None:
    """Both ways of naming labels are one."""
    app.ask("POST", f"{DETECT_PATH}?labels=a,%20b&labels=c", **IMAGE)
    (asked,) = app.detection.asked
    assert asked.options.labels == ("a", "b", "c")


@pytest.mark.parametrize("address", ["/healthz", "/openapi.json", "/api/v1/detections"])
def test_only_detections_are_traced(app: Application, address: str) -> None:
    """Other addresses leave no span and name no trace."""
    assert "x-trace-id" not in app.ask("GET", address).headers
    assert app.spans() == ()


def problem_of(answer: Any) -> dict[str, Any]:
    assert answer.headers["content-type"] == MEDIA_TYPE
    body: dict[str, Any] = answer.json()
    assert body["status"] == answer.status_code
    return body


def test_methods_that_are_not_there(app: Application) -> None:
    """405 names the methods that are, HEAD wherever GET is."""
    for method, address, allowed in [
        ("GET", DETECT_PATH, "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("PUT", "/openapi.json", "GET, HEAD"),
        ("POST", "/docs/assets/swagger-ui.css", "GET, HEAD"),
        ("GET", "/api/v1/alerts/silences", "POST"),
    ]:
        answer = app.ask(method, address)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed), address
        assert problem_of(answer)["type"] == "urn:damoscope:method_not_allowed"


def test_the_span_of_another_method(app: Application) -> None:
    """A detection asked for by another method is the client's error: told, not an error status."""
    app.ask("GET", DETECT_PATH)
    span = app.span()
    assert (span.name, span.status.status_code) == (f"GET {DETECT_PATH}", StatusCode.UNSET)
    attributes = span.attributes or {}
    assert attributes["http.response.status_code"] == 405
    assert attributes["damoscope.problem.code"] == "method_not_allowed"


def test_addresses_that_are_not_there(app: Application) -> None:
    """404 is a problem document, whatever stands behind the address."""
    for address in ("/nothing", "/api/v1/nothing", "/docs/assets/nothing.js"):
        body = problem_of(app.ask("GET", address))
        assert (body["status"], body["type"]) == (404, "urn:damoscope:not_found")


def test_head_where_get_is(tmp_path: Path) -> None:
    """HEAD answers as GET does, without the body: API, reference, pages and their files."""
    with application(tmp_path, pages=True) as built:
        for address in ("/healthz", "/docs", "/openapi.json", "/docs/assets/swagger-ui.css", "/",
                        "/monitor", "/theme.css", "/pages/monitor/main.js", "/pages/status",
                        "/readyz", "/api/v1/nothing"):  # fmt: skip
            get, head = built.ask("GET", address), built.ask("HEAD", address)
            assert head.status_code == get.status_code, address
            assert head.headers["content-type"] == get.headers["content-type"], address
            assert head.content == b"", address


def test_openapi_knows_the_problems(app: Application) -> None:
    """Every operation says that it may answer with a problem document: 404, 405, 422, 500."""
    document = app.app.openapi()
    assert "HTTPValidationError" not in document.get("components", {}).get("schemas", {})
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status in ("404", "405", "422", "500"):
                content = operation["responses"][status]["content"]
                assert list(content) == [MEDIA_TYPE], (method, path, status)
                assert content[MEDIA_TYPE]["schema"]["title"] == "Problem"
