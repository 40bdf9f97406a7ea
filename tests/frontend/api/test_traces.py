"""frontend.api.traces and trace_query: how images are asked for, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from frontend.api import problems, traces
from monitoring.stores.selection import open_stores
from pipeline.settings import Settings
from tests.monitoring import traffic

COUNT = 12
PATH = "/api/v1/traces"
NOW_S = int(time.time()) - 60


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Over a store with twelve images, one a second, of which the fourth failed."""
    stores = open_stores(Settings(home=tmp_path_factory.mktemp("home")))
    for i in range(COUNT):
        for spans in traffic.image(
            (NOW_S + i) * 10**9,
            duration_ms=100 + 50 * i,
            outcome="failed" if i == 3 else "ok",
            job_id=f"{i:032x}",
            route="ui" if i % 2 else "api",
        ):
            stores.receiver.receive_traces(traffic.encoded(spans))  # type: ignore[union-attr]
    stores.receiver.flush()  # type: ignore[union-attr]
    app = FastAPI(telemetry={"tracing": False}, exception_handlers=problems.HANDLERS)
    app.state.stores = stores
    app.include_router(traces.router)
    yield TestClient(app)
    stores.close()


def numbers(answer: list[dict[str, object]]) -> list[int]:
    return [int(str(each["job_id"]), 16) for each in answer]


def ask(http: TestClient, **parameters: object) -> list[int]:
    response = http.get(PATH, params=parameters)  # type: ignore[arg-type]
    assert response.status_code == 200, response.text
    return numbers(response.json())


def test_pages_by_their_links(http: TestClient) -> None:
    """Each answer's `Link` leads to the next, with the same filters, until there is none."""
    address, found = f"{PATH}?limit=5&order=slowest&status=ok", list[int]()
    while True:
        response = http.get(address)
        found += numbers(response.json())
        if "next" not in response.links:
            break
        address = f"/api/v1/{response.links['next']['url']}"
        assert "order=slowest" in address
        assert "status=ok" in address
    assert found == [11, 10, 9, 8, 7, 6, 5, 4, 2, 1, 0]
    assert "x-complete" not in response.headers
    assert "x-not-searched" not in response.headers


def test_times(http: TestClient) -> None:
    """From and to in ISO 8601, with a zone or in UTC, or in seconds; each alone as well."""
    moment = datetime.fromtimestamp(NOW_S + 4, UTC)
    for begin in (moment.isoformat(), moment.isoformat()[:-6], str(NOW_S + 4)):
        assert ask(http, **{"from": begin, "to": NOW_S + 7}) == [6, 5, 4]
    assert ask(http, to=NOW_S + 2) == [1, 0]
    assert ask(http, **{"from": NOW_S + 10}) == [11, 10]


def test_filters(http: TestClient) -> None:
    """What is not of the images' time, by what the store's tests do not name."""
    assert ask(http, outcome=["failed", "timeout"]) == [3]
    assert ask(http, code="inference_failed") == [3]
    assert ask(http, worker="worker-1", route="ui", max_duration_ms=250) == [1]
    assert ask(http, id=f"{7:032x}") == [7]
    assert ask(http, model="another") == []
    version = {"model": "damoyolo_ns_phone", "model_version": "0a1b2c3d4e5f"}
    assert len(ask(http, **version)) == len(ask(http, worker="worker-1"))
    assert ask(http, model_version="another") == []
    (image,) = http.get(PATH, params={"id": f"{7:032x}"}).json()
    assert image["worker"] == "worker-1"
    assert image.items() >= version.items()
    assert (image["client"], image["labels"], image["score"]) == (None, [], None)


def test_histogram(http: TestClient) -> None:
    """As many as the list has; the bounds of its buckets ask for what is in them."""
    body = http.get(f"{PATH}/histogram", params={"route": "ui"}).json()
    assert (body["total"], body["exact"], body["not_searched"]) == (6, True, [])
    assert sum(bucket["count"] for bucket in body["buckets"]) == 6
    assert body["buckets"][0]["from_ms"] == 0
    assert body["buckets"][-1]["to_ms"] is None
    (bucket,) = (each for each in body["buckets"] if each["from_ms"] == 200)
    bounds = {"min_duration_ms": bucket["from_ms"], "max_duration_ms": bucket["to_ms"]}
    assert len(ask(http, route="ui", **bounds)) == bucket["count"] == 1


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"order": "oldest"}, "order"),
        ({"labels": "phone"}, "labels"),
        ({"label": ""}, "label"),
        ({"client": "x" * 201}, "client"),
        ({"outcome": "bad"}, "outcome"),
        ({"outcome": ["ok"] * 7}, "outcome"),
        ({"from": "yesterday"}, "from"),
        ({"from": -5}, "from"),
        ({"to": "9999-01-01"}, "to"),
        ({"from": 200, "to": 100}, "from must be less than to"),
        ({"window": 60, "to": 100}, "window"),
        ({"window": 0}, "window"),
        ({"min_score": 1.5}, "min_score"),
        ({"min_score": "nan"}, "min_score"),
        ({"min_score": 0.5, "max_score": 0.4}, "min_score"),
        ({"min_duration_ms": -1}, "min_duration_ms"),
        ({"min_duration_ms": 5, "max_duration_ms": 5}, "min_duration_ms must be less"),
        ({"cursor": "abc"}, "cursor"),
        ({"cursor": "n" * 65}, "cursor"),
    ],
)
def test_what_is_refused(http: TestClient, parameters: dict[str, object], said: str) -> None:
    """A parameter that is unknown, out of its bounds or contradicts another is named."""
    response = http.get(PATH, params=parameters)  # type: ignore[arg-type]
    assert response.status_code == 422
    assert response.json()["type"] == "urn:damoscope:invalid_parameter"
    assert said in response.json()["detail"]
