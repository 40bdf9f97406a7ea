"""Who may ask for what: one table of all addresses. What is not in it, only `admin` may."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.api.problems import problem
from frontend.edge.layer import route_path
from frontend.identity.layer import BAD_KEY
from frontend.identity.principal import Principal, principal
from frontend.identity.tokens import Use
from frontend.pages import login as views
from frontend.pages.i18n import texts
from frontend.preferences import chosen
from pipeline import errors
from telemetry import catalogue
from telemetry.instruments import Instruments

#: `open` is everybody, `any` whoever has a role at all, the last two are tokens.
Need = Literal["open", "any", "detect", "read", "admin"] | Use

#: Methods, address, and what it takes. `{x}` is one part of an address, `{x:path}` all the rest.
#: Where an address has no such method, the strictest of its rows decides who is told so.
TABLE: Final[tuple[tuple[str, str, Need], ...]] = (
    # Probes, and the way in.
    ("GET", "/healthz", "open"),
    ("GET", "/readyz", "open"),
    ("GET POST", "/login", "open"),
    ("GET", "/login/oidc", "open"),
    ("GET", "/login/oidc/callback", "open"),
    ("POST", "/logout", "open"),
    ("GET", "/favicon.ico", "open"),
    # The API.
    ("POST", "/api/v1/detect", "detect"),
    ("GET DELETE", "/api/v1/jobs/{job_id}", "detect"),
    ("GET", "/api/v1/traces", "read"),
    ("GET", "/api/v1/traces/histogram", "read"),
    ("GET", "/api/v1/traces/compare", "read"),
    ("GET", "/api/v1/traces/{trace_id}", "read"),
    ("GET", "/api/v1/traces/{trace_id}/compare/{other_id}", "read"),
    ("GET", "/api/v1/traces/{trace_id}/images/{job_id}", "read"),
    ("GET", "/api/v1/stats", "read"),
    ("GET", "/api/v1/stats/series", "read"),
    ("GET", "/api/v1/stats/marks", "read"),
    ("GET", "/api/v1/report", "read"),
    ("GET", "/metrics", "read"),
    ("GET", "/api/v1/alerts", "read"),
    ("GET", "/api/v1/slo", "read"),
    ("GET", "/api/v1/models", "read"),
    ("POST", "/api/v1/models/use", "admin"),
    ("POST", "/api/v1/alerts/silences", "admin"),
    ("DELETE", "/api/v1/alerts/silences/{id}", "admin"),
    ("POST", "/api/v1/alerts/test", "admin"),
    ("POST", "/api/v1/alerts/webhook", "webhook"),
    ("POST", "/otlp/v1/traces", "otlp"),
    ("POST", "/otlp/v1/metrics", "otlp"),
    ("POST", "/otlp/v1/logs", "otlp"),
    ("GET", "/openapi.json", "any"),
    ("GET", "/docs", "any"),
    ("GET", "/docs/assets/{path:path}", "any"),
    # The pages, and what they ask for.
    ("GET", "/", "detect"),
    ("GET", "/monitor", "read"),
    ("GET", "/traces", "read"),
    ("GET", "/report", "read"),
    ("GET", "/model", "read"),
    ("GET", "/pages/model", "read"),
    ("GET", "/pages/status", "any"),
    # Results are one's own, or for `read`: frontend.pages.result_files looks whose they are.
    ("GET", "/pages/results/{job_id}", "any"),
    ("GET", "/pages/results/{job_id}/image", "any"),
    ("GET", "/pages/results/{job_id}/preview", "any"),
    ("GET", "/pages/results/{job_id}/boxes.jpg", "any"),
    ("GET", "/pages/results/{job_id}/result.json", "any"),
    ("GET", "/pages/results/batch/{batch_id}/results.json", "any"),
    ("GET", "/pages/results/batch/{batch_id}/images.zip", "any"),
    ("GET DELETE", "/pages/batches/{batch_id}", "detect"),
    ("GET", "/pages/batches/{batch_id}/view", "detect"),
    ("GET", "/pages/examples/{name}", "detect"),
    ("POST", "/pages/address", "detect"),
    ("GET", "/pages/traces", "read"),
    ("GET", "/pages/traces/histogram", "read"),
    ("GET", "/pages/traces/compare", "read"),
    ("GET", "/pages/traces/known", "read"),
    ("GET", "/pages/traces/{trace_id}", "read"),
    ("GET", "/pages/traces/{trace_id}/compare/{other_id}", "read"),
    ("GET", "/pages/detect/{path:path}", "any"),
    ("GET", "/pages/monitor/{path:path}", "any"),
    ("GET", "/pages/plotly-{version}", "any"),
    ("GET", "/theme.css", "any"),
    ("GET", "/assets/{path:path}", "any"),
    ("GET", "/static/{path:path}", "any"),
    ("GET", "/gradio_api/file={upload_id}", "detect"),
    ("POST", "/gradio_api/upload", "detect"),
    ("GET", "/gradio_api/upload_progress", "detect"),
    ("POST", "/gradio_api/run/predict", "detect"),
)
_STRICTNESS: Final[tuple[Need, ...]] = (
    "open", "any", "detect", "read", "admin", "webhook", "otlp",
)  # fmt: skip
#: Where somebody goes who may not open the first page.
_SECOND_PAGE: Final = "/monitor"


@dataclass(frozen=True)
class _Rule:
    methods: frozenset[str]
    pattern: re.Pattern[str]
    need: Need


def _pattern(address: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+(?::path)?\})", address)
    return re.compile(
        "".join(
            re.escape(part) if not part.startswith("{")
            else ".*" if part.endswith(":path}") else "[^/]+"
            for part in parts
        ),
        re.DOTALL,
    )  # fmt: skip


_RULES: Final = tuple(
    _Rule(frozenset(methods.split()), _pattern(address), need) for methods, address, need in TABLE
)


@lru_cache(maxsize=1024)
def needed(method: str, path: str) -> Need | None:
    """What it takes to ask for an address; None where there is none of this name."""
    method = "GET" if method == "HEAD" else method
    found = [rule for rule in _RULES if rule.pattern.fullmatch(path)]
    exact = [rule.need for rule in found if method in rule.methods]
    others = exact or [rule.need for rule in found]
    return max(others, key=_STRICTNESS.index, default=None)


def may(who: Principal, need: Need) -> bool:
    """Whether somebody may ask for what takes this."""
    match need:
        case "open":
            return True
        case "any":
            return bool(who.roles)
        case "detect" | "read" | "admin":
            return who.may(need)
        case "otlp" | "webhook":
            return who.kind == "internal" and who.name == need


class Access:
    """Lets through who may. It stands outside of the tracing: whoever is refused here leaves no
    trace, and costs next to nothing."""

    def __init__(self, app: ASGIApp, instruments: Instruments) -> None:
        self.app, self._instruments = app, instruments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks WebSocket
            await send({"type": "websocket.close", "code": 1008})
            return
        need, who = needed(scope["method"], route_path(scope)), principal(scope)
        if may(who, need or "admin"):  # who may do everything is told what there is not
            await self.app(scope, receive, send)
            return
        await self._refusal(scope, who, need)(scope, receive, send)

    def _refusal(self, scope: Scope, who: Principal, need: Need | None) -> Response:
        if need in ("otlp", "webhook"):
            self._count("token")
            return _problem(errors.Unauthenticated(_TOKENS[need]))
        if who.kind == "anonymous":
            self._count("bad_key" if scope.get(BAD_KEY) else "no_key")
            return _who_are_you(scope)
        if need is None:
            return _problem(errors.NotFound(f"there is no address {route_path(scope)}"))
        self._count("role")
        return _not_yours(scope, who, need)

    def _count(self, reason: str) -> None:
        self._instruments.add(catalogue.REFUSALS, 1, {"reason": reason})


_TOKENS: Final[dict[str, str]] = {
    "otlp": "this receiver takes telemetry from processes that know its token: see "
    "DAMOSCOPE_OTLP_TOKEN in docs/access.md",
    "webhook": "this webhook takes alerts from who knows its token: see DAMOSCOPE_WEBHOOK_TOKEN",
}


def _problem(error: errors.DamoscopeError) -> Response:
    return problem(error.code, error.title, error.status, str(error), error.headers)


def _who_are_you(scope: Scope) -> Response:
    if _for_eyes(scope) and not scope.get(BAD_KEY):
        path = route_path(scope)
        if query := scope.get("query_string", b"").decode("latin-1"):
            path += f"?{query}"
        address = f"{scope.get('root_path', '')}/login?next={quote(path, safe='')}"
        return RedirectResponse(address, 303, {"cache-control": "no-store"})
    return _problem(
        errors.Unauthenticated(
            "this key is not valid: it was revoked, has expired, or never existed"
            if scope.get(BAD_KEY)
            else "send a key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
        )
    )


def _not_yours(scope: Scope, who: Principal, need: Need) -> Response:
    if not _for_eyes(scope):
        return _problem(errors.Forbidden(f"{who.name} has not the role that this takes: {need}"))
    root = scope.get("root_path", "")
    if route_path(scope) == "/" and who.may("read"):
        return RedirectResponse(root + _SECOND_PAGE, 303, {"cache-control": "no-store"})
    words = texts(Headers(scope=scope).get("accept-language"))
    page = views.forbidden(words, root, who.name, chosen(scope, "theme") or "")
    return Response(page, 403, views.HEADERS, "text/html")


def _for_eyes(scope: Scope) -> bool:
    """Whether a browser asks for a page to show it by itself, not for a part of one."""
    headers = Headers(scope=scope)
    return (
        scope["method"] in ("GET", "HEAD")
        and "text/html" in headers.get("accept", "")
        and headers.get("sec-fetch-dest", "document") == "document"
    )
