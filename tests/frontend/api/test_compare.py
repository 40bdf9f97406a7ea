"""frontend.api.compare, and what the Traces page makes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from frontend.api import compare, problems, traces
from frontend.pages import traces as page
from frontend.pages.trace_links import Links
from monitoring.stores.selection import open_stores
from pipeline.settings import Settings
from telemetry import catalogue
from tests.frontend.pages.html import plain
from tests.monitoring import traffic

COUNT, SLOW = 400, 40
PATH = "/api/v1/traces"
NOW_S = int(time.time()) - COUNT - 60


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Over a store of 400 images, one a second: the last forty came by the page and are slow."""
    stores = open_stores(Settings(home=tmp_path_factory.mktemp("home")))
    assert stores.receiver is not None
    for i in range(COUNT):
        is_slow = i >= COUNT - SLOW
        for spans in traffic.image(
            (NOW_S + i) * 10**9,
            duration_ms=900 + i if is_slow else 100 + i / 100,
            job_id=f"{i:032x}",
            route="ui" if is_slow else "api",
            detections=9 if is_slow else 2,
        ):
            stores.receiver.receive_traces(traffic.encoded(spans))
    stores.receiver.flush()  # type: ignore[attr-defined]
    app = FastAPI(telemetry={"tracing": False}, exception_handlers=problems.HANDLERS)
    app.state.stores = stores
    of_no_image = cast(Any, None)  # results and pictures, which comparisons do not have
    pages = page.router(stores.traces, Links(None), of_no_image, of_no_image)
    for router in (compare.router, traces.router, pages):
        app.include_router(router)
    yield TestClient(app)
    stores.close()


def ids(http: TestClient) -> list[str]:
    """Of the slowest and of the oldest image."""
    (slow,) = http.get(PATH, params={"order": "slowest", "limit": 1}).json()
    quick = http.get(PATH, params={"limit": COUNT}).json()[-1]
    return [slow["trace_id"], quick["trace_id"]]


def test_the_slowest(http: TestClient) -> None:
    """A tenth of the images against the others: what they have, and where their time went."""
    body = http.get(f"{PATH}/compare", params={"slowest": 0.1}).json()
    assert (body["selected"], body["rest"]) == (
        {"count": 40, "counted": 40, "sampled": 40, "traced": 40},
        {"count": 360, "counted": 360, "sampled": 360, "traced": 200},
    )
    assert (body["exact"], body["enough"], body["to_ms"]) == (True, True, None)
    assert 1200 < body["from_ms"] <= 1260
    first = body["values"][0]
    assert (first["attribute"], first["share"]) == (catalogue.ATTR_ROUTE, 0.0)
    ui = next(each for each in body["values"] if each["value"] == "ui")
    assert (ui["count"], ui["rest_count"], ui["lift"], ui["sure"]) == (40, 0, None, True)
    (number,) = [each for each in body["numbers"] if each["sure"]]
    assert (number["attribute"], number["median"]) == (catalogue.ATTR_DETECTIONS, 9)
    assert body["stages"][0]["stage"] == "elsewhere"  # the spans of all images are alike
    assert body["stages"][0]["extra_share"] == 1


def test_a_part_of_the_histogram(http: TestClient) -> None:
    """A duration selects; the other filters say what is compared at all."""
    body = http.get(f"{PATH}/compare", params={"min_duration_ms": 1000, "route": "api"}).json()
    assert (body["selected"]["count"], body["rest"]["count"], body["enough"]) == (0, 360, False)
    asked = {"min_duration_ms": 101, "max_duration_ms": 103, "route": "api", "slowest": 0.5}
    body = http.get(f"{PATH}/compare", params=asked).json()
    assert (body["from_ms"], body["to_ms"]) == (101, 103)
    assert (body["selected"]["count"], body["rest"]["count"]) == (200, 160)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"slowest": 0}, "slowest"), ({"slowest": 0.51}, "slowest"),
        ({"slowest": "nan"}, "slowest"),
        ({"limit": 5}, "limit"), ({"window": 60, "to": 100}, "window"),
        ({"min_duration_ms": 5, "max_duration_ms": 5}, "min_duration_ms"),
    ],
)  # fmt: skip
def test_what_is_refused(http: TestClient, parameters: dict[str, object], said: str) -> None:
    """Bounds are those of a search, and none of what only lists take."""
    response = http.get(f"{PATH}/compare", params=parameters)  # type: ignore[arg-type]
    assert response.status_code == 422
    assert said in response.json()["detail"]


def test_two_traces(http: TestClient) -> None:
    """Side by side; one that is not there is said to be missing."""
    slow, quick = ids(http)
    body = http.get(f"{PATH}/{slow}/compare/{quick}").json()
    assert (body["spans"][0]["name"], body["spans"][0]["duration_ms"]) == ("request", 1299)
    unlike = {each["attribute"] for each in body["attributes"] if not each["same"]}
    assert unlike == {catalogue.ATTR_ROUTE, catalogue.ATTR_DETECTIONS}
    missing = http.get(f"{PATH}/{slow}/compare/{'0' * 32}")
    assert missing.status_code == 404
    assert "0" * 32 in missing.json()["detail"]
    assert http.get(f"{PATH}/{slow}/compare/other").status_code == 422


@pytest.mark.parametrize(
    ("language", "said"), [("en", ("The slowest 10 %: 40", "Came by", "Elsewhere", "360")),
                           ("zh", ("最慢的 10 %：40", "入口", "其他", "360"))],
)  # fmt: skip
def test_as_the_page_shows_it(http: TestClient, language: str, said: tuple[str, ...]) -> None:
    """What is sure, how many were looked at, and two traces, in the browser's language."""
    headers = {"accept-language": language}
    shown = plain(http.get("/pages/traces/compare", params={"slowest": 0.1}, headers=headers).text)
    assert [each for each in said if each not in shown] == []
    assert "JPEG" not in shown  # all of them are
    few = http.get("/pages/traces/compare", params={"route": "ui"}, headers=headers).text
    assert "20" in few
    assert "<table" not in few
    slow, quick = ids(http)
    shown = plain(http.get(f"/pages/traces/{slow}/compare/{quick}", headers=headers).text)
    assert "+1.20 s" in shown
    assert catalogue.ATTR_DETECTIONS in shown
    gone = http.get(f"/pages/traces/{slow}/compare/{'0' * 32}", headers=headers)
    assert (gone.status_code, "ds-error" in gone.text) == (200, True)


def test_what_comes_from_outside_is_text(http: TestClient) -> None:
    """A value of an attribute is never HTML."""
    stores = http.app.state.stores  # type: ignore[attr-defined]
    evil = "<script>alert(1)</script>"
    trace_ids = []
    for i in range(2):
        frontend, worker = traffic.image((NOW_S + i) * 10**9, job_id=f"evil-{i}", route=evil)
        for spans in (frontend, worker):
            stores.receiver.receive_traces(traffic.encoded(spans))
        trace_ids.append(traffic.trace_id(frontend))
    stores.receiver.flush()
    shown = http.get(f"/pages/traces/{trace_ids[0]}/compare/{trace_ids[1]}").text
    assert evil not in shown
    assert "&lt;script&gt;" in shown
