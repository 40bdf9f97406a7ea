"""The layer that finds out who sends a request."""

from __future__ import annotations

from typing import Final

from opentelemetry.propagate import get_global_textmap
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.identity.keys import KeyRing
from frontend.identity.principal import ANONYMOUS, EVERYTHING, Principal, identified
from frontend.identity.sessions import of_key, of_session
from frontend.identity.start import keys_file, keys_needed, only_here
from frontend.identity.tokens import Tokens, Use, bearer
from pipeline.settings import Settings

KEY_HEADER: Final = "x-api-key"
#: Where the scope says that a key was sent which does not stand.
BAD_KEY: Final = "damoscope.bad_key"
#: What propagators read beside the fields that they list, which are those that they write: those
#: of B3 read either of its forms, and Jaeger's takes baggage from all that begins so.
_READ_TOO: Final = frozenset({b"traceparent", b"tracestate", b"baggage", b"b3", b"uber-trace-id"})
_READ_TOO_PREFIXES: Final = (b"x-b3-", b"uberctx-")
_USES: Final[tuple[Use, ...]] = ("otlp", "webhook")


class Authenticator:
    """Knows keys, logins and tokens."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError when the service may not start like this."""
        self._needed = keys_needed(settings)
        self._only_here = only_here(settings)
        self._trace_context = settings.trace_context
        self.oidc = settings.oidc_issuer is not None
        self.keys = KeyRing(keys_file(settings))
        self.tokens = Tokens(settings)

    @property
    def needed(self) -> bool:
        """Whether one has to say who one is. That only ever becomes stricter: once there was a
        file of keys, its loss opens nothing."""
        self._needed = self._needed or self.keys.look()
        return self._needed

    def who(self, scope: Scope) -> tuple[Principal, bool]:
        """Who sends a request, and whether it has a key that does not stand."""
        headers = Headers(scope=scope)
        for use in _USES:
            if self.tokens.has(use, headers):
                return Principal(use, frozenset(), "internal"), False
        if not self.needed:
            address = scope["client"][0] if scope.get("client") else ""
            return Principal(address, EVERYTHING, "open"), False
        sent = bearer(headers) or headers.get(KEY_HEADER)
        if sent:
            key = self.keys.find(sent)
            return (ANONYMOUS, True) if key is None else (of_key(key), False)
        found = of_session(scope.get("session", {}), self.keys, oidc=self.oidc)
        return found or ANONYMOUS, False

    def continues_traces(self, who: Principal) -> bool:
        """Whether the trace context that somebody sends is continued."""
        match self._trace_context:
            case "all":
                return True
            case "keys":
                return who.known or (who.kind == "open" and self._only_here)
            case "none":
                return False


class Identity:
    """Notes who sends a request, for all inside; and takes away the trace context of those whose
    traces are not continued, before anything has seen it."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self.app, self._authenticator = app, authenticator
        listed = {field.lower().encode() for field in get_global_textmap().fields}
        self._fields = listed | _READ_TOO

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        who, bad_key = self._authenticator.who(scope)
        scope = {**scope, "state": dict(scope.get("state", {})), BAD_KEY: bad_key}
        identified(scope, who)
        if not self._authenticator.continues_traces(who):
            scope["headers"] = [field for field in scope["headers"] if not self._of_trace(field[0])]
        await self.app(scope, receive, send)

    def _of_trace(self, name: bytes) -> bool:
        name = name.lower()
        return name in self._fields or name.startswith(_READ_TOO_PREFIXES)
