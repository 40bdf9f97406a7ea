"""Logins: what a browser's signed cookie holds, and whom it stands for.

The cookie is Starlette's, signed and not encrypted: it holds names and times, no key and no token
of anybody's.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from starlette.middleware.sessions import SessionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.identity.keys import Key, KeyRing
from frontend.identity.principal import ROLES, Principal
from pipeline.errors import ConfigurationError
from pipeline.setting_values import SESSION_SECRET_MIN
from pipeline.settings import Settings

COOKIE: Final = "damoscope_session"
FILE_NAME: Final = "session.secret"
#: Seconds after which one logs in anew: a working day.
SESSION_S: Final = 12 * 3600
_LOGIN: Final = "login"


class Sessions:
    """Layer that reads and writes the cookie; with `Secure` for those who come by https."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Raises ConfigurationError when what signs it cannot be read or made."""
        secret = _secret(settings)

        def layer(https: bool) -> ASGIApp:
            return SessionMiddleware(
                app,
                secret,
                COOKIE,
                max_age=SESSION_S,
                path=settings.public_path or "/",
                https_only=https,
            )

        self._plain, self._secure = layer(False), layer(True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._secure if scope.get("scheme") in ("https", "wss") else self._plain
        await app(scope, receive, send)


def begin_with_key(session: MutableMapping[str, Any], key: Key) -> None:
    """From now on the session is that of a key's holder."""
    session.clear()
    session[_LOGIN] = {"kind": "key", "name": key.name, "id": key.id, "at": int(time.time())}


def begin_with_oidc(session: MutableMapping[str, Any], who: Principal) -> None:
    """From now on the session is that of somebody whom the issuer knows."""
    session.clear()
    session[_LOGIN] = {
        "kind": "oidc", "name": who.name, "owner": who.owner, "roles": sorted(who.roles),
        "at": int(time.time()),
    }  # fmt: skip


def of_session(session: Mapping[str, Any], keys: KeyRing, *, oidc: bool) -> Principal | None:
    """Whom a session stands for now: nobody once it is too old, its key was taken away, or
    logins by OpenID Connect are off."""
    login = session.get(_LOGIN)
    if login is None or not 0 <= time.time() - login["at"] < SESSION_S:
        return None
    if login["kind"] == "oidc":
        roles = frozenset(role for role in ROLES if role in login["roles"])
        return Principal(login["name"], roles, "oidc", login["owner"]) if oidc else None
    key = keys.named(login["name"], login["id"])
    return None if key is None else of_key(key, "session")


def of_key(key: Key, kind: str = "key") -> Principal:
    """Whom a key stands for; the same, whether it was sent or logged in with."""
    return Principal(
        key.name, frozenset(key.roles), "session" if kind == "session" else "key", f"key:{key.name}"
    )


def _secret(settings: Settings) -> str:
    if settings.session_secret is not None:
        return settings.session_secret.get_secret_value()
    path = settings.home / FILE_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = _read(path) or _made(path)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path} cannot be read or made: {error}; set DAMOSCOPE_SESSION_SECRET"
        ) from error
    if len(found) < SESSION_SECRET_MIN:
        raise ConfigurationError(f"{path} is damaged; remove it, and everybody logs in anew")
    return found


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            return file.read(1024).strip()
    except FileNotFoundError:
        return ""


def _made(path: Path) -> str:
    """Make the file, whole at once: several frontends may start at the same moment."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        with suppress(FileExistsError):  # another was first: its secret is everybody's
            os.link(new, path)
    finally:
        new.unlink()
    return _read(path)
