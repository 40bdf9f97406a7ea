"""frontend.pages.browser and frontend.pages.result_files: whose something is."""

from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from frontend.identity.principal import EVERYTHING, Kind, Principal, Role, identified
from frontend.pages.browser import NamesBrowser, owner
from frontend.pages.detect_one import Outcome
from frontend.pages.result_files import KeptResult
from frontend.pages.uploads import Upload

TOKEN = "ab" * 16


def scope(who: Principal | None = None, cookie: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"type": "http", "client": ("10.0.0.1", 5), "headers": []}
    if cookie:
        made["headers"] = [(b"cookie", f"damoscope_browser={cookie}".encode())]
    if who is not None:
        identified(made, who)
    return made


def known(name: str, *roles: Role, kind: Kind = "key") -> Principal:
    return Principal(name, frozenset(roles), kind, f"{kind}:{name}")


def test_whose_it_is() -> None:
    """Somebody who is known has it wherever they are; otherwise the browser has it."""
    everyone = Principal("10.0.0.1", EVERYTHING, "open")
    assert owner(scope(known("cam", "detect"), TOKEN)) == "principal key:cam"
    assert owner(scope(everyone, TOKEN)) == f"browser {TOKEN}"
    nobody = [scope(everyone), scope(everyone, "x"), scope(None, TOKEN + "a")]
    assert [owner(each) for each in nobody] == ["", "", ""]


@pytest.mark.parametrize(
    ("root", "url", "attributes"),
    [
        ("", "http://h", "Path=/; HttpOnly; SameSite=Lax"),
        ("/a/b", "https://h", "Path=/a/b; HttpOnly; SameSite=Lax; Secure"),
    ],
)
def test_the_cookie(root: str, url: str, attributes: str) -> None:
    """Of the service's own path only, and over https only where the page came so. It names the
    browser within the very request that brings it."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(owner(scope))
        await PlainTextResponse("x")(scope, receive, send)

    browser = TestClient(NamesBrowser(app), base_url=url, root_path=root)
    given = browser.get("/").headers["set-cookie"]
    found = re.fullmatch(rf"damoscope_browser=([0-9a-f]{{32}}); {re.escape(attributes)}", given)
    assert found
    cookie = {"cookie": f"damoscope_browser={found[1]}"}
    assert "set-cookie" not in TestClient(NamesBrowser(app)).get("/", headers=cookie).headers
    assert seen == [f"browser {found[1]}"] * 2


@pytest.mark.parametrize(
    ("who", "cookie", "may"),
    [
        (known("cam", "detect"), "", True), (known("other", "detect"), "", False),
        (known("boss", "read"), "", True), (known("root", "admin"), "", True),
        (known("cam", "detect", kind="session"), "", False),
        (Principal("10.0.0.1", EVERYTHING, "open"), TOKEN, False), (None, TOKEN, False),
    ],
)  # fmt: skip
def test_who_may_see_a_result(who: Principal | None, cookie: str, may: bool) -> None:
    """Whose it is, and who may see everybody's traces; in the open service that is nobody."""
    outcome = Outcome(Upload(None, "", "x"), "t" * 32)
    found = KeptResult("principal key:cam", outcome.upload, None)  # type: ignore[arg-type]
    assert found.may_see(scope(who, cookie)) is may
