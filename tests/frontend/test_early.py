"""frontend.early: what is refused, or dropped, before a byte of its image is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.trace import StatusCode
from starlette.types import Message

from frontend.api.detect import DETECT_PATH
from frontend.early import TRACED_PER_S, Terms, _terms
from frontend.server.protocol import CONNECTION
from pipeline.errors import Overloaded
from pipeline.queue.admission import Throughput
from pipeline.queue.pools import DEFAULT
from tests.frontend.application import Application, application

JPEG = {"content-type": "image/jpeg", "user-agent": "camera 7"}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    """The API alone."""
    with application(tmp_path) as built:
        yield built


def overload(app: Application) -> None:
    """A thousand images are ahead of this client's next, and the workers do ten a second."""
    admission = app.app.state.admissions.of(DEFAULT)
    admission._throughput = lambda: Throughput(images_per_s=10.0, workers=1)
    admission.told("127.0.0.1", "normal", ahead=1000, held=1000, full=False)


@pytest.mark.parametrize(
    "settings", [{}, {"public_url": "https://here.example/cams", "trace_context": "all"}]
)
def test_the_span_of_what_is_refused(tmp_path: Path, settings: dict[str, str]) -> None:
    """It says what the instrumentation says of a refusal, in its client's trace."""
    with application(tmp_path, **settings) as app:
        headers = JPEG | {"traceparent": PARENT}
        address = f"{DETECT_PATH}?timeout=2"
        app.detection.error = Overloaded("by who enqueues it")
        assert app.ask("POST", address, content=b"1", headers=headers).status_code == 503
        overload(app)
        answer = app.ask("POST", address, content=b"1", headers=headers)
        late, early = app.spans()
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:damoscope:overloaded")
        assert answer.headers["x-trace-id"] == answer.json()["trace_id"] == PARENT.split("-")[1]
        assert int(answer.headers["retry-after"]) > 60 - 1
        assert (early.name, early.kind, early.parent) == (late.name, late.kind, late.parent)
        assert early.status.status_code is late.status.status_code is StatusCode.ERROR
        assert dict(early.attributes or {}) == dict(late.attributes or {})
        assert [type(error).__name__ for error in app.detection.refused] == ["Overloaded"]
        assert len(app.detection.asked) == 1


def test_a_flood_of_refusals_is_traced_in_part(app: Application) -> None:
    """Each is counted and answered in full; beyond a few in a second they have no trace, and name
    none."""
    overload(app)
    began_s = time.monotonic()
    answers = [app.ask("POST", DETECT_PATH, content=b"1", headers=JPEG) for _ in range(60)]
    seconds = int(time.monotonic()) - int(began_s) + 1
    assert {answer.status_code for answer in answers} == {503}
    assert len(app.detection.refused) == len(answers)
    named = [answer.headers["x-trace-id"] for answer in answers if "x-trace-id" in answer.headers]
    assert [
        answer.json().get("trace_id") for answer in answers if "trace_id" in answer.json()
    ] == named
    assert len(app.spans()) == len(named)
    assert TRACED_PER_S <= len(named) <= min(60, TRACED_PER_S * seconds)


def test_a_request_begins_when_it_came(app: Application) -> None:
    """Its span, its time and its count begin with its first byte, also where it waits its turn."""
    for _ in range(3):
        app.ask("POST", DETECT_PATH, content=b"1", headers=JPEG)
    begins = [span.start_time for span in app.spans()]
    assert begins == [asked.received_ns for asked in app.detection.asked]


@pytest.mark.parametrize("gone", [True, False])
def test_who_has_gone_costs_nothing(app: Application, gone: bool) -> None:
    """A client that hung up before its turn is counted; its image is not read, nothing is traced,
    and nothing is sent."""
    dropped, counted = [], []

    async def delivered() -> bool:
        return True

    connection = SimpleNamespace(gone=gone, drop=lambda: dropped.append(True), delivered=delivered)
    app.detection.gone = counted.append  # type: ignore[method-assign]
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        assert not gone
        return {"type": "http.request", "body": b"1", "more_body": False}

    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": DETECT_PATH, "raw_path": DETECT_PATH.encode(),
        "query_string": b"", "scheme": "http", "http_version": "1.1", "root_path": "",
        "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 5),
        "state": {CONNECTION: connection},
        "headers": [(b"host", b"127.0.0.1:8000"), (b"content-type", b"image/jpeg")],
    }  # fmt: skip
    asyncio.run(app.served(scope, receive, send))
    assert (len(dropped), len(counted), len(app.spans())) == ((1, 1, 0) if gone else (0, 0, 1))
    assert bool(sent) is not gone


@pytest.mark.parametrize(
    ("query", "prefer", "terms"),
    [
        ("", "", Terms("normal", 30.0)),
        ("timeout=2&priority=high", "", Terms("high", 2.0)),
        ("timeout=20", "wait=5", Terms("normal", 5.0)),
        ("timeout=2", "wait=5", Terms("normal", 2.0)),
        ("timeout=2", "handling=lenient", Terms("normal", 2.0)),
        ("", "respond-async", None),  # it does not wait
        ("", "respond-async, wait=5", None),
        ("timeout=soon", "", None),  # said by who reads all parameters
        ("timeout=nan", "", None),
        ("timeout=1&timeout=2", "", None),
        ("priority=urgent", "", None),
        ("timeout=601", "", None),
        ("timeout=0", "", None),
    ],
)
def test_what_a_request_asks_for(query: str, prefer: str, terms: Terms | None) -> None:
    """Time and queue as the operation itself reads them; nothing where it would refuse, or where
    the client does not wait."""
    headers = [(b"prefer", prefer.encode())] if prefer else []
    assert _terms({"query_string": query.encode(), "headers": headers}) == terms
