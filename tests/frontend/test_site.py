"""frontend.pages.site: what of Gradio can be reached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount, Route

from frontend.api.problems import MEDIA_TYPE
from frontend.pages.site import ADDRESSES, EVENTS, FILE, UPLOAD, UPLOAD_PROGRESS
from tests.frontend.application import Application, application


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with application(tmp_path_factory.mktemp("site"), pages=True) as built:
        yield built


#: Every method and address that is Gradio's, or in the place of one of Gradio's.
USED = {
    **ADDRESSES, EVENTS: "POST", UPLOAD: "POST", UPLOAD_PROGRESS: "GET", FILE: "GET",
}  # fmt: skip


def gradio_addresses(site: Application) -> set[tuple[str, str]]:
    """Every method and address of Gradio's own application, with `x` for what varies."""
    named = next(r for r in site.app.routes if isinstance(r, Route) and r.path == "/monitor").app
    own: Any = named  # its endpoint, and what is around it
    while not isinstance(own, FastAPI):
        own = own.app
    mount = next(route for route in own.routes if isinstance(route, Mount))
    return {
        (method, re.sub(r"{[^}]*}", "x", str(route.path)))
        for route in iter_route_contexts(mount.routes)
        for method in route.methods or {"GET"}
    }


def is_used(method: str, path: str) -> bool:
    """Whether the pages ask for an address."""
    return any(
        method == used and re.fullmatch(re.sub(r"{[^}]*}", ".+", address), path)
        for address, used in USED.items()
    )


def test_only_what_the_pages_use_is_reached(site: Application) -> None:
    """Every other address of Gradio's is answered as one that does not exist."""
    every = gradio_addresses(site)
    assert ("POST", "/gradio_api/run/x") in every
    accounts = {"/login", "/login/", "/logout", "/logout/"}
    ours = {address + "/" for address in USED} | {"/openapi.json"} | accounts
    closed = {
        (method, path)
        for method, path in every
        if not is_used(method, path) and method != "HEAD" and path not in ours
    }
    assert len(closed) > 50
    for method, path in sorted(closed):
        answer = site.ask(method, path)
        assert answer.status_code in (404, 405), (method, path)
        assert answer.headers["content-type"] == MEDIA_TYPE, (method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/run/arrived"), ("POST", "/gradio_api/api/predict"),
        ("POST", "/gradio_api/call/arrived"), ("GET", "/gradio_api/info"), ("GET", "/config"),
        ("GET", "/monitoring"), ("GET", "/gradio_api/heartbeat/x"), ("POST", "/token"),
        ("GET", "/gradio_api/proxy=http://x.hf.space"), ("GET", "/gradio_api/openapi.json"),
    ],
)  # fmt: skip
def test_addresses_that_are_closed(site: Application, method: str, path: str) -> None:
    """Calling events by name, Gradio's own API and its monitoring do not exist."""
    answer = site.ask(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, MEDIA_TYPE)


@pytest.mark.parametrize("path", ["/etc/hostname", "/proc/self/environ", "nothing.jpg"])
def test_files_that_are_not_the_pages(site: Application, path: str) -> None:
    """The address of files reads nothing that was not uploaded."""
    answer = site.ask("GET", f"/gradio_api/file={path}")
    assert answer.status_code in (403, 404)
    assert answer.headers["content-type"] == MEDIA_TYPE


def test_an_unforeseen_error_of_a_page(site: Application) -> None:
    """What Gradio refuses is a problem document too."""
    answer = site.ask("POST", "/gradio_api/run/predict", json={"data": "x"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, MEDIA_TYPE)
    assert site.ask("GET", "/assets/nothing.js").headers["content-type"] == MEDIA_TYPE
