"""Logins by OpenID Connect, against a small issuer of this test's own on loopback."""

from __future__ import annotations

import base64
import hashlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Form, Header
from fastapi.responses import JSONResponse, RedirectResponse
from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from pipeline.errors import ConfigurationError
from tests.frontend.application import HOST, Application, application
from tests.servers import eventually

CLIENT, SECRET = "damoscope", "the-secret-of-the-client"


class Issuer:
    """The code flow with PKCE. `claims` are those of whoever logs in; `spoil` changes a token."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, parameters={"kid": "one"})
        self.signing = self.key
        self.claims: dict[str, Any] = {}
        self.spoil: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(self._app(), log_level="error"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()
        eventually(lambda: self._server.started, "the issuer")

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _app(self) -> FastAPI:
        app = FastAPI(telemetry={"tracing": False})

        @app.get("/.well-known/openid-configuration")
        def configuration() -> dict[str, Any]:
            return {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
            }

        @app.get("/keys")
        def keys() -> dict[str, Any]:
            return {"keys": [self.key.as_dict(private=False)]}

        @app.get("/authorize")
        def authorize(
            client_id: str, redirect_uri: str, state: str, nonce: str, code_challenge: str,
            code_challenge_method: str, response_type: str, scope: str,
        ) -> RedirectResponse:  # fmt: skip
            assert (client_id, response_type) == (CLIENT, "code")
            assert (code_challenge_method, "openid" in scope) == ("S256", True)
            code = secrets.token_urlsafe(8)
            self.codes[code] = {"nonce": nonce, "challenge": code_challenge, "uri": redirect_uri}
            return RedirectResponse(f"{redirect_uri}?code={code}&state={state}", 302)

        @app.post("/token")
        def token(
            code: str = Form(), code_verifier: str = Form(), redirect_uri: str = Form(),
            authorization: str = Header(),
        ) -> JSONResponse:  # fmt: skip
            known = self.codes.pop(code, None)
            digest = hashlib.sha256(code_verifier.encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
            if known is None or (known["challenge"], known["uri"]) != (challenge, redirect_uri):
                return JSONResponse({"error": "invalid_grant"}, 400)
            if authorization != f"Basic {basic}":
                return JSONResponse({"error": "invalid_client"}, 401)
            now = int(time.time())
            claims = {
                "iss": self.url, "aud": CLIENT, "sub": "s-1", "iat": now, "exp": now + 60,
                "nonce": known["nonce"],
            } | self.claims | self.spoil  # fmt: skip
            return JSONResponse({
                "access_token": "x", "token_type": "Bearer", "expires_in": 60,
                "id_token": jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.signing),
            })  # fmt: skip

        return app


@pytest.fixture(scope="module")
def running() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def issuer(running: Issuer) -> Issuer:
    """The issuer, as it was at first."""
    running.claims, running.spoil, running.signing = {}, {}, running.key
    return running


@pytest.fixture
def app(issuer: Issuer, tmp_path: Path) -> Iterator[Application]:
    """The application that knows it."""
    with application(
        tmp_path, oidc_issuer=issuer.url, oidc_client_id=CLIENT,
        oidc_client_secret=SecretStr(SECRET), oidc_roles_claim="access.groups",
        oidc_roles="Exam board=admin, Invigilators=read, Invigilators=detect",
    ) as built:  # fmt: skip
        yield built


class Browser:
    """Keeps the cookies of the service."""

    def __init__(self, app: Application) -> None:
        self._app, self.cookies = app, {}

    def get(self, address: str) -> httpx.Response:
        held = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self._app.ask("GET", address, headers={"cookie": held, "accept": "text/html"})
        for name, value in answer.cookies.items():
            self.cookies[name] = value
        return answer

    def login(self, after: str = "/docs") -> httpx.Response:
        """To the issuer and back; the answer of the way back."""
        away = self.get(f"/login/oidc?next={after}")
        assert away.status_code == 302, away.text
        back = httpx.get(away.headers["location"], trust_env=False, timeout=60).headers["location"]
        assert back.startswith(f"{HOST}/login/oidc/callback?")
        return self.get(back.removeprefix(HOST))


def test_a_login(app: Application, issuer: Issuer) -> None:
    """Roles come from the claim, and the name has the issuer's host, so that it is no key's."""
    issuer.claims = {"preferred_username": "wang", "access": {"groups": ["Invigilators", "x"]}}
    browser = Browser(app)
    assert "/login/oidc?next=%2Fdocs" in browser.get("/login?next=/docs").text
    answer = browser.login()
    assert (answer.status_code, answer.headers["location"]) == (303, "/docs")
    assert browser.get("/docs").status_code == 200
    assert browser.get("/api/v1/stats").status_code == 200
    assert browser.get("/api/v1/jobs/" + "0" * 32).status_code != 403
    assert app.ask("POST", "/api/v1/alerts/test", json={}, headers={
        "cookie": f"damoscope_session={browser.cookies['damoscope_session']}"
    }).status_code == 403  # fmt: skip
    held = base64.b64decode(browser.cookies["damoscope_session"].partition(".")[0] + "==")
    assert b"wang@127.0.0.1" in held
    assert b"oidc:s-1" in held
    assert b"access_token" not in held


def test_who_has_no_role(app: Application, issuer: Issuer) -> None:
    """Somebody is known there, and may do nothing here."""
    for groups in ([], ["admin"], "nobody", None, {"Exam board": True}, [["Exam board"]]):
        issuer.claims = {"access": {"groups": groups}}
        browser = Browser(app)
        answer = browser.login()
        assert answer.status_code == 403, groups
        assert "nobody has given you a role" in answer.text
        assert browser.get("/docs").status_code == 303


@pytest.mark.parametrize(
    "spoil",
    [
        {"iss": "https://evil.example"}, {"aud": "another"}, {"nonce": "another"},
        {"exp": 1_000_000_000}, "other key",
    ],
)  # fmt: skip
def test_tokens_that_prove_nothing(app: Application, issuer: Issuer, spoil: Any) -> None:
    """Of another issuer, for another client, from another login, too old, or signed by another."""
    issuer.claims = {"access": {"groups": ["Exam board"]}}
    if spoil == "other key":
        issuer.signing = RSAKey.generate_key(2048, parameters={"kid": "one"})
    else:
        issuer.spoil = spoil
    browser = Browser(app)
    answer = browser.login()
    assert answer.status_code == 401, answer.text
    assert browser.get("/docs").status_code == 303


def test_ways_back_that_nobody_began(app: Application, issuer: Issuer) -> None:
    """Another's code, an invented state, one that was used before: no login."""
    issuer.claims = {"access": {"groups": ["Exam board"]}}
    victim, attacker = Browser(app), Browser(app)
    away = attacker.get("/login/oidc").headers["location"]
    back = httpx.get(away, trust_env=False, timeout=60).headers["location"].removeprefix(HOST)
    assert victim.get(back).status_code == 401
    query = parse_qs(urlsplit(back).query)
    assert attacker.get(f"/login/oidc/callback?code={query['code'][0]}&state=x").status_code == 401
    assert attacker.get("/login/oidc/callback").status_code == 401
    assert attacker.get("/login/oidc/callback?error=access_denied&state=x").status_code == 401
    for browser in (victim, attacker):
        assert browser.get("/docs").status_code == 303


def test_an_issuer_that_is_away(tmp_path: Path) -> None:
    """The page says so, and keys go on working."""
    with application(tmp_path, oidc_issuer="http://127.0.0.1:1", oidc_client_id="x") as app:
        answer = Browser(app).get("/login/oidc")
        assert answer.status_code == 503
        assert "does not answer" in answer.text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"oidc_client_id": None}, "DAMOSCOPE_OIDC_CLIENT_ID"),
        ({"oidc_roles": "a=b"}, "DAMOSCOPE_OIDC_ROLES=a=b"),
        ({"oidc_roles": "admin"}, "DAMOSCOPE_OIDC_ROLES=admin"),
    ],
)
def test_settings_that_make_no_sense(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    """The start is refused, and the line names the setting."""
    settings = {"oidc_issuer": "http://127.0.0.1:1", "oidc_client_id": "x"} | given
    with (
        pytest.raises(ConfigurationError, match=said),
        application(tmp_path, **settings),
    ):
        pass
