"""Logins by OpenID Connect: the code flow with PKCE, state and nonce, by Authlib."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from fastapi import APIRouter, Header, Request
from joserfc.errors import JoseError
from starlette.responses import RedirectResponse, Response

from frontend.identity.login import Logins, page, safe_next
from frontend.identity.principal import ROLES, Principal, Role
from frontend.identity.sessions import begin_with_oidc
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings

log = logging.getLogger("damoscope.frontend")

#: Seconds for each question to the issuer.
ISSUER_S: Final = 10.0
#: Characters of a name that the issuer gives.
NAME_MAX: Final = 64
_NEXT: Final = "oidc_next"


class Issuer:
    """What is asked of the issuer, and what its answers mean here."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError. Nothing is asked before the first login."""
        assert settings.oidc_issuer is not None
        if settings.oidc_client_id is None:
            raise ConfigurationError(
                f"DAMOSCOPE_OIDC_ISSUER={settings.oidc_issuer}: logins need "
                "DAMOSCOPE_OIDC_CLIENT_ID too, which the issuer gives"
            )
        self._host = urlsplit(settings.oidc_issuer).hostname or "oidc"
        self._claim = settings.oidc_roles_claim.split(".")
        self._roles = _mapping(settings.oidc_roles)
        self._public = settings.public_url.rstrip("/") if settings.public_url else None
        secret = settings.oidc_client_secret
        oauth = OAuth()
        oauth.register(
            "issuer",
            client_id=settings.oidc_client_id,
            client_secret=secret.get_secret_value() if secret else None,
            server_metadata_url=f"{settings.oidc_issuer.rstrip('/')}"
            "/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid profile email",
                "code_challenge_method": "S256",
                "timeout": ISSUER_S,
                **({} if secret else {"token_endpoint_auth_method": "none"}),
            },
        )
        self.client: Any = oauth.issuer

    def callback(self, request: Request) -> str:
        """The address that the issuer sends a browser back to."""
        root = self._public or str(request.base_url).rstrip("/")
        return f"{root}/login/oidc/callback"

    def principal(self, claims: Mapping[str, Any]) -> Principal:
        """Whom an identity token is about, and what they may do here."""
        value: Any = claims
        for part in self._claim:
            value = value.get(part) if isinstance(value, Mapping) else None
        given = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        roles = frozenset(role for each in given for role in self._roles.get(str(each), ()))
        name = str(claims.get("preferred_username") or claims.get("email") or claims["sub"])
        # With the host, it is no key's: those have no @.
        name = name if "@" in name else f"{name}@{self._host}"
        shown = "".join(each for each in name if each.isprintable())[:NAME_MAX]
        return Principal(shown, roles, "oidc", f"oidc:{claims['sub']}")


def router(settings: Settings, logins: Logins) -> APIRouter:
    """The way to the issuer, and back."""
    issuer = Issuer(settings)
    routes = APIRouter(prefix="/login/oidc", include_in_schema=False)

    def failed(
        request: Request, language: str | None, error: str, status: int, why: object = ""
    ) -> Response:
        log.warning("a login by OpenID Connect failed: %s", why or error)
        return page(request, "/", language, oidc=True, error=error, status=status)

    @routes.get("")
    async def begin(
        request: Request,
        next: str = "/",
        accept_language: Annotated[str | None, Header()] = None,
    ) -> Response:
        address = request.client.host if request.client else ""
        if not await logins.allowed(address):
            return failed(request, accept_language, "login.often", 429)
        request.session.clear()
        request.session[_NEXT] = safe_next(next)
        try:
            answer: Response = await issuer.client.authorize_redirect(
                request, issuer.callback(request)
            )
        except Exception as error:  # of whichever HTTP client Authlib has found, among others
            return failed(request, accept_language, "login.oidc.away", 503, error)
        return answer

    @routes.get("/callback")
    async def callback(
        request: Request, accept_language: Annotated[str | None, Header()] = None
    ) -> Response:
        address = request.client.host if request.client else ""
        if not await logins.allowed(address):
            return failed(request, accept_language, "login.often", 429)
        after = safe_next(request.session.get(_NEXT))
        try:
            token = await issuer.client.authorize_access_token(request)
            who = issuer.principal(token["userinfo"])
        except (AuthlibBaseError, JoseError, ValueError, KeyError, TypeError) as error:
            request.session.clear()
            await logins.failed(address)
            return failed(request, accept_language, "login.oidc.failed", 401, error)
        except Exception as error:  # of whichever HTTP client Authlib has found, among others
            request.session.clear()
            return failed(request, accept_language, "login.oidc.away", 503, error)
        if not who.roles:
            request.session.clear()
            await logins.failed(address)
            return failed(
                request, accept_language, "login.oidc.roles", 403, f"{who.name} has no role"
            )
        begin_with_oidc(request.session, who)
        root: str = request.scope.get("root_path", "")
        return RedirectResponse(root + after, 303, {"cache-control": "no-store"})

    return routes


def _mapping(text: str | None) -> dict[str, tuple[Role, ...]]:
    """What a value of the claim gives: as `DAMOSCOPE_OIDC_ROLES` says, such as `a=read, b=admin`,
    or roles by their own names. Raises ConfigurationError."""
    if text is None:
        return {role: (role,) for role in ROLES}
    found: dict[str, tuple[Role, ...]] = {}
    for each in text.split(","):
        value, equals, named = each.strip().rpartition("=")
        role = next((role for role in ROLES if role == named.strip().lower()), None)
        if not equals or not value.strip() or role is None:
            raise ConfigurationError(
                f"DAMOSCOPE_OIDC_ROLES={text}: write it like `Exam board=admin, Staff=read`; "
                f"roles are {', '.join(ROLES)}"
            )
        found[value.strip()] = (*found.get(value.strip(), ()), role)
    return found
