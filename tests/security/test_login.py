"""Logins of a running service: with a key, by a form without scripts, and in a real browser."""

from __future__ import annotations

import base64
import json
from http.cookies import SimpleCookie

import httpx
import pytest

from tests.security.guarded import Guarded, keys, make_key
from tests.servers import eventually

PAGE = {"accept": "text/html", "sec-fetch-dest": "document"}


def test_a_login(guarded: Guarded) -> None:
    """A browser that opens a page is sent to the login, and comes back to the page with a cookie
    that no script reads, no other site sends along, and that holds no key; logging out ends it."""
    with guarded.client() as browser:
        sent = browser.get("/traces?trace=x", headers=PAGE)
        assert (sent.status_code, sent.headers["location"]) == (
            303, "/login?next=%2Ftraces%3Ftrace%3Dx",
        )  # fmt: skip
        form = browser.get(sent.headers["location"])
        assert form.status_code == 200
        assert 'value="/traces?trace=x"' in form.text
        assert "<script" not in form.text
        assert "script" not in form.headers["content-security-policy"]
        wrong = browser.post("/login", data={"key": "damo_no", "next": "/traces?trace=x"})
        assert wrong.status_code == 401
        assert 'role="alert"' in wrong.text
        assert not browser.cookies
        key = guarded.keys["board"]
        right = browser.post("/login", data={"key": f" {key} ", "next": "/traces?trace=x"})
        assert (right.status_code, right.headers["location"]) == (303, "/traces?trace=x")
        cookie = SimpleCookie(right.headers["set-cookie"])["damoscope_session"]
        assert cookie["httponly"]
        assert cookie["samesite"] == "lax"
        assert cookie["path"] == "/"
        assert not cookie["secure"]  # by http no browser would send it back
        held = json.loads(base64.b64decode(cookie.value.partition(".")[0] + "=="))
        assert held["login"]["name"] == "board"
        assert key not in json.dumps(held)
        assert browser.get("/traces", headers=PAGE).status_code == 200
        state = browser.get("/pages/status").json()
        assert (state["name"], state["roles"], state["session"]) == ("board", ["read"], True)
        assert browser.get("/api/v1/stats").status_code == 200
        assert browser.post("/api/v1/alerts/test", json={}).status_code == 403
        out = browser.post("/logout")
        assert (out.status_code, out.headers["location"]) == (303, "/login")
        assert browser.get("/traces", headers=PAGE).status_code == 303


def test_a_language_and_a_theme_for_the_login(guarded: Guarded) -> None:
    """Links on the form, which work without scripts: it is there in the other language and theme,
    and so are all pages from then on. What cannot be chosen changes nothing."""
    with guarded.client() as browser:
        form = browser.get("/login?next=%2Ftraces", headers={"accept-language": "en"})
        assert '<html lang="en" data-theme="">' in form.text
        for what in ("language=zh", "theme=dark", "theme=light"):
            assert f'href="/login?next=%2Ftraces&amp;{what}"' in form.text
        other = browser.get("/login?next=%2Ftraces&language=zh&theme=dark")
        assert '<html lang="zh" data-theme="dark">' in other.text
        assert 'value="/traces"' in other.text
        assert dict(browser.cookies) == {"damoscope_language": "zh", "damoscope_theme": "dark"}
        odd = browser.get("/login?language=fr&theme=%22%3E", headers={"accept-language": "en"})
        assert '<html lang="zh" data-theme="dark">' in odd.text
        browser.post("/login", data={"key": guarded.keys["camera-1"], "next": "/"})
        assert '<html lang="zh" data-theme="dark">' in browser.get("/monitor", headers=PAGE).text


def test_a_login_ends_with_its_key(guarded: Guarded) -> None:
    """Revoking a key ends its logins; a new key of the same name does not bring them back."""
    key = make_key(guarded.home, "guest", "read")
    with guarded.client() as browser:
        eventually(
            lambda: browser.post("/login", data={"key": key}).status_code == 303, "the key is known"
        )
        assert browser.get("/api/v1/stats").status_code == 200
        keys(guarded.home, "revoke", "guest")
        make_key(guarded.home, "guest", "admin")
        eventually(lambda: browser.get("/api/v1/stats").status_code == 401, "the login has ended")
    keys(guarded.home, "revoke", "guest")


def test_cookies_that_nobody_gave(guarded: Guarded) -> None:
    """Neither a changed cookie nor one of another's making is a login."""
    forged = base64.b64encode(
        json.dumps({"login": {"kind": "oidc", "name": "x", "owner": "x", "roles": ["admin"],
                              "at": 2_000_000_000}}).encode()
    ).decode()  # fmt: skip
    for value in (forged, f"{forged}.YWJj.YWJj", "null", "..", "x" * 4000):
        with guarded.client() as client:
            answer = client.get("/api/v1/stats", headers={"cookie": f"damoscope_session={value}"})
        assert answer.status_code == 401


@pytest.mark.parametrize(
    "after",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example",
     "/\t/evil.example", "javascript:alert(1)", "http:evil.example", "/login?next=/x",
     "evil.example", "/%0d%0aset-cookie:x=1", "///evil.example", "/" + "x" * 3000],
)  # fmt: skip
def test_no_way_out(guarded: Guarded, after: str) -> None:
    """A login leads to an address of this service, whatever `next` says."""
    with guarded.client() as browser:
        answer = browser.post("/login", data={"key": guarded.keys["board"], "next": after})
    assert answer.status_code == 303
    there = httpx.URL(guarded.url).join(answer.headers["location"])
    assert f"{there.scheme}://{there.netloc.decode()}" == guarded.url


def test_forms_that_are_none(guarded: Guarded) -> None:
    """Too large, of another kind, or without fields: a page that says so, and no login."""
    with guarded.client() as client:
        for options in (
            {"data": {"key": "x" * 20_000}},
            {"json": {"key": guarded.keys["board"]}},
            {
                "content": b"\xff\xfe",
                "headers": {"content-type": "application/x-www-form-urlencoded"},
            },
            {
                "content": b"&" * 5000,
                "headers": {"content-type": "application/x-www-form-urlencoded"},
            },
        ):
            answer = client.post("/login", **options)
            assert answer.status_code in (400, 401), options
            assert "text/html" in answer.headers["content-type"]
            assert "set-cookie" not in answer.headers


def test_failed_logins_are_limited(guarded: Guarded) -> None:
    """After some the address has to wait, and is told so, in its language; keys sent by programs
    are not held up by that. The last test by a form: it leaves the address waiting."""
    with guarded.client() as client:
        answers = [client.post("/login", data={"key": f"guess-{n}"}) for n in range(15)]
        assert answers[-1].status_code == 429
        assert answers[-1].headers["retry-after"] == "60"
        good = {"key": guarded.keys["board"]}
        waiting = client.post("/login", data=good, headers={"accept-language": "zh-CN"})
        assert waiting.status_code == 429
        assert "登录失败次数过多" in waiting.text
    with guarded.as_("board") as reader:
        assert reader.get("/api/v1/stats").status_code == 200
