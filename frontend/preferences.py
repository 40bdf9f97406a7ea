"""The language and the theme that somebody has chosen on the pages: cookies of their browser.

The pages' own scripts set them, and the login, which has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

#: What can be chosen, by what is chosen: cookies are called `damoscope_language` and so on.
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "language": ("en", "zh"),
    "theme": ("light", "dark"),
}
#: Seconds that a choice is kept: a year.
KEPT_S: Final = 31_536_000


def chosen(scope: Scope, what: str) -> str | None:
    """What this browser has chosen of `language` or `theme`; None where it has not."""
    name = f"damoscope_{what}"
    for field, value in scope["headers"]:
        if field == b"cookie" and name.encode() in value:
            found = cookie_parser(value.decode("latin-1")).get(name)
            if found in CHOICES[what]:
                return found
    return None


def keep(response: Response, scope: Scope, what: str, value: str) -> None:
    """Have the browser keep a choice, under the path that the service is known by."""
    response.set_cookie(
        f"damoscope_{what}",
        value,
        max_age=KEPT_S,
        path=scope.get("root_path") or "/",
        secure=scope.get("scheme") == "https",
        samesite="lax",
    )


class ChosenLanguage:
    """Layer around what answers in a language: for who has chosen one, it is what their browser
    asks for."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (language := chosen(scope, "language")):
            scope = {**scope, "headers": list(scope["headers"])}
            MutableHeaders(scope=scope)["accept-language"] = language
        await self.app(scope, receive, send)
