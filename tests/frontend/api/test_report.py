"""frontend.api.report and frontend.clients: the route, and clients as they are counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis as AsyncRedis

from frontend.api import problems, report
from frontend.clients import CLIENTS_MAX, Clients
from monitoring.alerts.ledger import Ledger
from monitoring.reports.schema import Report
from monitoring.stores.embedded.store import EmbeddedStore
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from telemetry import catalogue
from tests.monitoring.readings import Process
from tests.servers import RedisProcess

URL = "http://phones.example/api/v1/report"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def app(tmp_path: Path, redis: RedisProcess) -> Iterator[FastAPI]:
    store, process = EmbeddedStore(tmp_path / "telemetry.db"), Process()
    export = process.counter(catalogue.REQUESTS, time.time() - 60, 39, outcome="ok", route="api")
    store.receive_metrics(export)
    store.flush()
    app = FastAPI(telemetry={"tracing": False}, exception_handlers=problems.HANDLERS)
    app.state.settings = Settings()
    app.state.stores = store
    app.state.alerts = SimpleNamespace(ledger=Ledger(redis.client))

    app.include_router(report.router)
    yield app
    store.close()


def get(app: FastAPI, **options: object) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport) as client:
            headers = options.pop("headers", {})
            return await client.get(URL, params=options, headers=headers)  # type: ignore[arg-type]

    return asyncio.run(ask())


def test_json_is_the_default(app: FastAPI) -> None:
    """Seven days as the documented model, in UTC, with links to where it was asked."""
    answer = get(app)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    found = Report.model_validate_json(answer.content)
    assert (found.days, found.timezone, found.requests) == (7, "UTC", {"ok": 39})
    assert found.alerts.known
    assert found.trace_url == "http://phones.example/traces?trace={trace_id}"


def test_html_and_markdown(app: FastAPI) -> None:
    """In the language that is asked for; the page may run and fetch nothing."""
    page = get(app, format="html", language="zh", days=1)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert 'lang="zh-Hans"' in page.text
    assert 'filename="damoscope-report-1d-' in page.headers["content-disposition"]
    text = get(app, format="md")
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    assert text.text.startswith("# Service report")


def test_language_of_the_browser(app: FastAPI) -> None:
    """Without the parameter, the browser's language."""
    chinese = get(app, format="md", headers={"accept-language": "zh-CN,zh;q=0.9"})
    assert chinese.text.startswith("# 服务报告")


def test_addresses_of_traces(app: FastAPI) -> None:
    """The public address where there is one, else the one that was asked; not Jaeger, to which the
    trace's page leads on."""
    app.state.settings = Settings(public_url="https://phones.example/x/")
    assert get(app).json()["trace_url"] == "https://phones.example/x/traces?trace={trace_id}"
    app.state.settings = Settings(jaeger_ui_url="http://jaeger.example")
    assert get(app).json()["trace_url"] == "http://phones.example/traces?trace={trace_id}"


@pytest.mark.parametrize(
    "options",
    [{"days": 0}, {"days": 31}, {"format": "pdf"}, {"language": "fr"}, {"timezone": "../passwd"}],
)
def test_wrong_parameters(app: FastAPI, options: dict[str, object]) -> None:
    """A problem document that names the parameter."""
    answer = get(app, **options)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert next(iter(options)) in answer.json()["detail"]


def test_redis_away(app: FastAPI) -> None:
    """The report is there without the history of alerts, and says so."""

    class Away:
        def history(self, limit: int = 50) -> list[object]:
            raise Unavailable("Redis does not answer")

    app.state.alerts = SimpleNamespace(ledger=Away())
    answer = get(app)
    assert answer.status_code == 200
    assert answer.json()["alerts"] == {"known": False, "fired": []}


def test_documented(app: FastAPI) -> None:
    """OpenAPI has the model and the three formats."""
    operation = app.openapi()["paths"]["/api/v1/report"]["get"]
    content = operation["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/html", "text/markdown"}
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/Report"}
    assert {"422", "503"} <= set(operation["responses"])


def clients(redis: RedisProcess, counted_as: str, *addresses: str) -> list[str | None]:
    """How one frontend process names these addresses, one after the other."""

    async def named() -> list[str | None]:
        connection = AsyncRedis.from_url(redis.url)
        found = Clients(counted_as, connection)  # type: ignore[arg-type]
        await found.prepare()
        result = [found.name(address) for address in addresses]
        await connection.aclose()
        return result

    return asyncio.run(named())


def test_clients_by_address(redis: RedisProcess) -> None:
    """The address itself; without one the client is unknown."""
    assert clients(redis, "address", "10.0.0.7", "::1", "") == ["10.0.0.7", "::1", "unknown"]


def test_clients_hashed(redis: RedisProcess) -> None:
    """The same hash in every frontend of an installation, and no address in it."""
    first = clients(redis, "hashed", "10.0.0.7", "10.0.0.8", "10.0.0.7")
    assert first == clients(redis, "hashed", "10.0.0.7", "10.0.0.8", "10.0.0.7")
    assert first[0] == first[2] != first[1]
    assert all(name and len(name) == 12 and int(name, 16) >= 0 for name in first)


def test_clients_hashed_by_another_installation(redis: RedisProcess) -> None:
    """Another salt, other hashes: they cannot be looked up in a table."""
    first = clients(redis, "hashed", "10.0.0.7")
    redis.client.delete("damoscope:clients:salt")
    assert clients(redis, "hashed", "10.0.0.7") != first


def test_clients_off(redis: RedisProcess) -> None:
    """Nobody is counted."""
    assert clients(redis, "off", "10.0.0.7") == [None]


def test_many_clients(redis: RedisProcess) -> None:
    """Beyond the first few hundred all are one; those that are known keep their names."""
    addresses = [f"10.1.{i // 250}.{i % 250}" for i in range(CLIENTS_MAX + 50)]
    found = clients(redis, "address", *addresses, addresses[0])
    assert found[:CLIENTS_MAX] == addresses[:CLIENTS_MAX]
    assert set(found[CLIENTS_MAX:-1]) == {"other"}
    assert found[-1] == addresses[0]


def test_hashing_without_redis() -> None:
    """Until the salt is known nobody's address is shown: the client is unknown."""

    async def named() -> str | None:
        connection = AsyncRedis.from_url("redis://127.0.0.1:1")
        found = Clients("hashed", connection)
        await found.prepare()
        await connection.aclose()
        return found.name("10.0.0.7")

    assert asyncio.run(named()) == "unknown"
