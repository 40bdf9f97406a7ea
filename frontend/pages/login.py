"""The login, and what somebody reads who may not: pages without scripts, and without Gradio."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

from frontend.pages.i18n import Texts
from frontend.preferences import CHOICES

STYLE = (Path(__file__).parent / "login.css").read_text(encoding="utf-8")
#: Nothing is run, nothing is fetched; forms go to ourselves.
HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
}


def login(
    texts: Texts, root: str, after: str, *, oidc: bool, theme: str = "", error: str = ""
) -> str:
    """The form for a key and, where there is an issuer, the way to it. `after` is the address to
    go to then; `root` is the path under which the service is known; `theme` is `light`, `dark`, or
    the system's where it is empty."""
    said = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    other = (
        f'<p class="or"><span>{escape(texts["login.or"])}</span></p>'
        f'<a class="button" href="{escape(root)}/login/oidc?next={escape(quote(after, safe=""))}">'
        f"{escape(texts['login.oidc'])}</a>"
        if oidc
        else ""
    )
    return _page(
        texts,
        texts["login"],
        f"<h1>{escape(texts['login'])}</h1>{said}"
        f'<form method="post" action="{escape(root)}/login">'
        f'<input type="hidden" name="next" value="{escape(after)}">'
        f'<label for="key">{escape(texts["login.key"])}</label>'
        '<input id="key" name="key" type="password" required autofocus '
        'autocomplete="current-password" spellcheck="false" maxlength="512">'
        f"<button>{escape(texts['login'])}</button></form>{other}"
        f'<p class="hint">{escape(texts["login.hint"])}</p>',
        theme,
        _choices(texts, root, after, theme),
    )


def _choices(texts: Texts, root: str, after: str, theme: str) -> str:
    """Links to the same form in the other language, and in the other theme or in both."""
    form = f"{escape(root)}/login?next={escape(quote(after, safe=''))}"
    language, name = ("zh", "中文") if texts["lang"] == "en" else ("en", "English")
    links = [f'<a href="{form}&amp;language={language}" lang="{language}">{name}</a>']
    links += [
        f'<a href="{form}&amp;theme={each}">{escape(texts[f"header.{each}"])}</a>'
        for each in CHOICES["theme"]
        if each != theme
    ]
    return f'<p class="chosen">{"".join(links)}</p>'


def forbidden(texts: Texts, root: str, name: str, theme: str = "") -> str:
    """Somebody is known, and may not see this."""
    return _page(
        texts,
        texts["forbidden"],
        f"<h1>{escape(texts['forbidden'])}</h1>"
        f"<p>{escape(texts['forbidden.hint'].format(name=name))}</p>"
        f'<form method="post" action="{escape(root)}/logout">'
        f"<button>{escape(texts['logout'])}</button></form>",
        theme,
    )


def _page(texts: Texts, title: str, content: str, theme: str, below: str = "") -> str:
    return (
        f'<!doctype html><html lang="{texts["lang"]}" data-theme="{escape(theme)}">'
        '<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · damoscope</title><style>{STYLE}</style></head>"
        f'<body><main><p class="name"><i></i>damoscope</p>{content}{below}'
        "</main></body></html>"
    )
