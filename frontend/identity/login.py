"""`/login` and `/logout`: sessions for browsers, with the keys that programs send."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Header, Request
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response

from frontend.edge.networks import network_of
from frontend.identity.layer import Authenticator
from frontend.identity.sessions import begin_with_key
from frontend.pages import login as views
from frontend.pages.i18n import texts
from frontend.preferences import CHOICES, chosen, keep
from telemetry import catalogue
from telemetry.instruments import Instruments

#: Bytes of the form: a key, and an address to go on to.
FORM_BYTES_MAX: Final = 16 * 1024
#: Failed logins of one address (of IPv6, of one network): for a person more than enough.
FAILURES: Final = parse("10/minute")
#: Characters of the address that one goes on to.
NEXT_MAX: Final = 2000


class Logins:
    """How many logins failed, by address."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._window = MovingWindowRateLimiter(MemoryStorage())

    async def allowed(self, address: str) -> bool:
        """Whether an address may try."""
        if await self._window.test(FAILURES, "login", network_of(address)):
            return True
        self._instruments.add(catalogue.REFUSALS, 1, {"reason": "login_limit"})
        return False

    async def failed(self, address: str) -> None:
        """Count a failed login."""
        self._instruments.add(catalogue.REFUSALS, 1, {"reason": "login"})
        await self._window.hit(FAILURES, "login", network_of(address))


def router(authenticator: Authenticator, logins: Logins) -> APIRouter:
    """The form, the login with a key, and the end of a session."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/login")
    async def form(
        request: Request,
        next: str = "/",
        language: str = "",
        theme: str = "",
        accept_language: Annotated[str | None, Header()] = None,
    ) -> Response:
        after = safe_next(next)
        if not authenticator.needed:
            return _go(request, after)
        said = {"language": language, "theme": theme}
        made = {what: value for what, value in said.items() if value in CHOICES[what]}
        answer = page(
            request,
            after,
            made.get("language", accept_language),
            oidc=authenticator.oidc,
            theme=made.get("theme"),
        )
        for what, value in made.items():
            keep(answer, request.scope, what, value)
        return answer

    @routes.post("/login")
    async def login(
        request: Request, accept_language: Annotated[str | None, Header()] = None
    ) -> Response:
        address = request.client.host if request.client else ""

        def again(error: str, status: int, after: str = "/") -> Response:
            return page(
                request, after, accept_language, oidc=authenticator.oidc, error=error, status=status
            )

        if not await logins.allowed(address):
            answer = again("login.often", 429)
            answer.headers["retry-after"] = "60"
            return answer
        form = await _form(request)
        if form is None:
            return again("login.cut", 400)
        key, after = (
            authenticator.keys.find(form.get("key", "").strip()),
            safe_next(form.get("next")),
        )
        if key is None:
            await logins.failed(address)
            return again("login.wrong", 401, after)
        begin_with_key(request.session, key)
        return _go(request, after)

    @routes.post("/logout")
    async def logout(request: Request) -> Response:
        request.session.clear()
        return _go(request, "/login")

    return routes


def page(
    request: Request,
    after: str,
    accept_language: str | None,
    *,
    oidc: bool,
    theme: str | None = None,
    error: str = "",
    status: int = 200,
) -> Response:
    """The form, with what went wrong."""
    words = texts(accept_language)
    html = views.login(
        words,
        request.scope.get("root_path", ""),
        after,
        oidc=oidc,
        theme=theme or chosen(request.scope, "theme") or "",
        error=words[error] if error else "",
    )
    return Response(html, status, views.HEADERS, "text/html")


def safe_next(after: str | None) -> str:
    """An address of this service to go on to: the one that was asked for, or the first page.

    Browsers take `\\` for `/`, drop tabs and newlines, and take `//x` and `http:x` for other hosts.
    """
    after = after or "/"
    try:
        parts = urlsplit(after)
    except ValueError:
        return "/"
    foreign = parts.scheme or parts.netloc or not after.startswith("/") or after.startswith("//")
    odd = len(after) > NEXT_MAX or "\\" in after or not after.isascii() or not after.isprintable()
    login = parts.path.startswith(("/login", "/logout"))
    return "/" if foreign or odd or login else after


def _go(request: Request, address: str) -> Response:
    """On to an address of ours. 303: with GET, whatever this request was."""
    root: str = request.scope.get("root_path", "")
    return RedirectResponse(root + address, 303, {"cache-control": "no-store"})


async def _form(request: Request) -> dict[str, str] | None:
    """The fields of the form; None when it is none, or too large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return None
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > FORM_BYTES_MAX:
                return None
        found = parse_qs(body.decode("ascii"), max_num_fields=8)
    except (ValueError, ClientDisconnect):
        return None
    return {name: values[-1] for name, values in found.items()}
