"""frontend.edge.origins: what pages of other origins may do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from frontend.api.detect import DETECT_PATH
from frontend.edge.origins import Origins
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings, load
from tests.frontend.application import Application, application

HERE = {"host": "localhost:7860"}
OTHER = {"origin": "https://evil.example"}


def status(method: str, fields: dict[str, str], **settings: str) -> int:
    """What a request with these fields is answered; 200 when it gets through."""
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in fields.items()]
    scope = {"type": "http", "method": method, "path": "/", "headers": headers}
    asyncio.run(Origins(app, Settings(**settings))(scope, None, send))  # type: ignore[arg-type]
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, 200, id="a program"),
        pytest.param({"sec-fetch-site": "same-origin"}, 200, id="our own page"),
        pytest.param({"sec-fetch-site": "none"}, 200, id="the user"),
        pytest.param({"sec-fetch-site": "same-site"}, 403, id="a neighbour"),
        pytest.param({"sec-fetch-site": "cross-site"}, 403, id="a stranger"),
        pytest.param({"sec-fetch-site": "x"}, 403, id="rubbish"),
        pytest.param({"sec-fetch-site": "cross-site"} | OTHER, 403, id="a stranger by name"),
        pytest.param(OTHER, 403, id="a stranger in an old browser"),
        pytest.param({"origin": "null"}, 403, id="a sandbox"),
        pytest.param({"origin": ""}, 403, id="an empty origin"),
        pytest.param({"origin": "http://[::1"}, 403, id="no URL"),
        pytest.param({"origin": "http://localhost:7860"}, 200, id="our own in an old browser"),
        pytest.param({"origin": "http://localhost:7861"}, 403, id="another port"),
        pytest.param({"origin": "http://localhost:7860.evil.example"}, 403, id="a longer name"),
    ],
)
def test_who_may_change_something(fields: dict[str, str], expected: int) -> None:
    """Our own pages, and programs, which send neither of the two fields."""
    for method in ("POST", "DELETE", "PUT", "PATCH", "QUERY", "post"):
        assert status(method, HERE | fields) == expected
    assert status("GET", HERE | fields) == 200, "reading is what browsers guard by themselves"


def test_behind_a_proxy() -> None:
    """Where a proxy changes `Host`, the public URL says which origin is ours."""
    fields = {"host": "backend", "origin": "https://exams.example"}
    assert status("POST", fields) == 403
    assert status("POST", fields, public_url="https://exams.example:443/a/b/") == 200
    assert status("POST", fields | OTHER, public_url="https://exams.example/a/b/") == 403


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """A service that lets one other origin in."""
    home = tmp_path_factory.mktemp("origins")
    with application(home, cors_origins="https://Exams.example:443/, http://a.test:8080") as built:
        yield built


def test_an_allowed_origin(app: Application) -> None:
    """Its pages may use the API and read what the API says beside the body."""
    asked = {"origin": "https://exams.example", "sec-fetch-site": "cross-site"}
    image = {"content": b"1", "headers": asked | {"content-type": "image/jpeg"}}
    answer = app.ask("POST", DETECT_PATH, **image)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://exams.example"
    assert "access-control-allow-credentials" not in answer.headers
    readable = answer.headers["access-control-expose-headers"]
    expected = {"x-trace-id", "location", "preference-applied", "retry-after"}
    assert expected <= set(readable.split(", "))
    assert "origin" in answer.headers["vary"].lower()


def test_a_preflight(app: Application) -> None:
    """It is answered before anybody is asked for a key, which it cannot have."""
    asked = {
        "origin": "http://a.test:8080", "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type, idempotency-key, "
        "x-api-key, traceparent",
    }  # fmt: skip
    answer = app.ask("OPTIONS", DETECT_PATH, headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "http://a.test:8080"
    assert answer.headers["x-content-type-options"] == "nosniff"
    refused = app.ask("OPTIONS", DETECT_PATH, headers=asked | OTHER)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    "origins", ["*", "exams.example", "https://exams.example/path", "https://*.example", "null"]
)
def test_origins_that_are_none(origins: str) -> None:
    """Each is named in full, else the setting is refused."""
    with pytest.raises(ConfigurationError, match="DAMOSCOPE_CORS_ORIGINS="):
        load(cors_origins=origins)


def test_nobody_is_allowed_by_default(tmp_path: Path) -> None:
    """Without the setting no answer says anything of CORS, Gradio's neither."""
    with application(tmp_path, pages=True, host="0.0.0.0") as built:
        asked = {"host": "phones.example", **OTHER}
        for address in ("/", "/theme.css", "/api/v1/alerts", "/docs", "/openapi.json"):
            answer = built.ask("GET", address, headers=asked)
            assert not [name for name in answer.headers if name.startswith("access-control")]
        preflight = asked | {"access-control-request-method": "POST"}
        for address in ("/gradio_api/queue/join", DETECT_PATH):
            answer = built.ask("OPTIONS", address, headers=preflight)
            assert not [name for name in answer.headers if name.startswith("access-control")]
