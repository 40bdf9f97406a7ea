"""frontend.identity.access: the table of addresses, against what the application really has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from frontend.identity import keys
from frontend.identity.access import TABLE, Need, needed
from tests.frontend.application import TOKENS, Application, application

#: What stands for the parts of an address that vary.
ID = "0" * 32
WHO = ("nobody", "detect", "read", "admin")
MAY: dict[Need, set[str]] = {
    "open": set(WHO),
    "any": {"detect", "read", "admin"},
    "detect": {"detect", "admin"},
    "read": {"read", "admin"},
    "admin": {"admin"},
    "otlp": set(),
    "webhook": set(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def secrets(folder: Path) -> dict[str, str]:
    """A key of each role, by the role."""
    return {role: keys.add(folder / "keys.json", f"a-{role}", [role]) for role in WHO[1:]}


@pytest.fixture(scope="module")
def guarded(folder: Path, secrets: dict[str, str]) -> Iterator[Application]:
    """The application, with keys."""
    with application(
        folder, pages=True, oidc_issuer="http://localhost:1", oidc_client_id="x"
    ) as app:
        yield app


def routes(app: Application) -> set[tuple[str, str]]:
    """Every method and address that it has."""
    found = set()
    for route in iter_route_contexts(app.app.routes):
        path = str(route.path)
        if isinstance(getattr(route, "route", route), Mount) or not route.methods:
            path = f"{path}/{{path:path}}"
        found |= {(method, path) for method in route.methods or {"GET"} if method != "HEAD"}
    return found


def shape(address: str) -> str:
    """An address as text, with what varies filled in."""
    return re.sub(r"\{[^}]*\}", ID, address)


def test_every_address_is_in_the_table(guarded: Application) -> None:
    """What the application has stands in the table under its method, and what stands there it
    has."""
    found = routes(guarded)
    assert len(found) > 35
    unknown = {(method, path) for method, path in found if needed(method, shape(path)) is None}
    assert unknown == set()
    have = {(method, shape(path)) for method, path in found}
    gone = {
        (method, address)
        for methods, address, _ in TABLE
        for method in methods.split()
        if "plotly" not in address and (method, shape(address)) not in have
    }
    assert gone == set()


@pytest.mark.parametrize("who", WHO)
def test_each_may_what_the_table_says(
    who: str, guarded: Application, secrets: dict[str, str]
) -> None:
    """Every address, asked by nobody and with a key of each role: 401 without a key, 403 without
    the role, and anything else for those who may."""
    headers = {"authorization": f"Bearer {secrets[who]}"} if who in secrets else {}
    for methods, address, need in TABLE:
        for method in methods.split():
            answer = guarded.ask(method, shape(address), headers=headers, token="")
            kind = answer.headers.get("content-type", "")
            said = answer.json().get("type", "") if kind.startswith("application/problem") else ""
            refused = said in ("urn:damoscope:unauthenticated", "urn:damoscope:forbidden")
            assert refused == (who not in MAY[need]), (method, address, answer.status_code, said)
            if refused:
                stranger = who == "nobody" or need in ("otlp", "webhook")
                assert answer.status_code == (401 if stranger else 403), (method, address)
                assert ("www-authenticate" in answer.headers) == stranger


def test_what_is_not_in_the_table_is_for_nobody(
    guarded: Application, secrets: dict[str, str]
) -> None:
    """An address that there is not: 401 for a stranger, 404 for whoever has a key; and one that
    somebody forgot to put into the table is reached by `admin` alone."""

    @guarded.app.get("/forgotten")
    async def forgotten() -> str:
        return "reached"

    assert guarded.ask("GET", "/forgotten").status_code == 401
    for role, secret in secrets.items():
        headers = {"x-api-key": secret}
        assert guarded.ask("GET", "/nothing", headers=headers).status_code == 404
        expected = 200 if role == "admin" else 404
        assert guarded.ask("GET", "/forgotten", headers=headers).status_code == expected


@pytest.mark.parametrize(
    "path",
    ["//api/v1/stats", "/api/v1/stats/", "/API/v1/stats", "/api/v1/../v1/stats", "/healthz/..",
     "/login/../api/v1/stats", "/healthz%2f..%2fapi%2fv1%2fstats", "/api/v1/stats%00",
     "/docs/../api/v1/stats", "/%61pi/v1/stats"],
)  # fmt: skip
def test_other_spellings_open_nothing(guarded: Application, path: str) -> None:
    """No way of writing an address gets a stranger past the table."""
    assert guarded.ask("GET", path).status_code == 401


def test_tokens_open_their_own_address_alone(guarded: Application) -> None:
    """The receiver's token is none at the webhook, nor the other way round, nor a key anywhere."""
    for part, token in TOKENS.items():
        headers = {"authorization": f"Bearer {token}"}
        assert guarded.ask("GET", "/api/v1/stats", headers=headers).status_code == 403
        assert guarded.ask("GET", "/healthz", headers=headers).status_code == 200
        other = next(value for key, value in TOKENS.items() if key != part)
        address = "/otlp/v1/traces" if part == "/otlp/" else "/api/v1/alerts/webhook"
        assert guarded.ask("POST", address, token=other).status_code == 401
        assert guarded.ask("POST", address, token="").status_code == 401
        assert guarded.ask("POST", address).status_code != 401


def test_openapi_says_how_a_key_is_sent(guarded: Application, tmp_path: Path) -> None:
    """*Try it out* asks for a key where one is needed, and only there."""
    schema = guarded.app.openapi()
    assert len(schema["components"]["securitySchemes"]) == 2
    assert len(schema["paths"]["/api/v1/detect"]["post"]["security"]) == 2
    assert {} in schema["paths"]["/healthz"]["get"]["security"]
    with application(tmp_path) as open_to_all:
        assert "securitySchemes" not in open_to_all.app.openapi()["components"]


def test_a_browser_is_led_to_the_login(guarded: Application, secrets: dict[str, str]) -> None:
    """Whoever opens a page without a login comes back to it afterwards; programs, frames and
    scripts get the problem document."""
    page = {"accept": "text/html,*/*;q=0.8", "sec-fetch-dest": "document"}
    answer = guarded.ask("GET", "/traces?trace=1&x=%2F", headers=page)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Ftraces%3Ftrace%3D1%26x%3D%252F"
    for other in ({"accept": "*/*"}, {**page, "sec-fetch-dest": "iframe"}):
        assert guarded.ask("GET", "/traces", headers=other).status_code == 401
    reader = {**page, "x-api-key": secrets["read"]}
    answer = guarded.ask("GET", "/", headers=reader)
    assert (answer.status_code, answer.headers["location"]) == (303, "/monitor")
    detector = {**page, "x-api-key": secrets["detect"], "accept-language": "zh-CN"}
    answer = guarded.ask("GET", "/monitor", headers=detector)
    assert answer.status_code == 403
    assert "没有权限" in answer.text
    assert "a-detect" in answer.text
