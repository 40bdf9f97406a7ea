"""`/docs`: the interactive API reference, with its scripts from our own server, not a CDN."""

from __future__ import annotations

import importlib.util
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from fastapi import FastAPI, Request, Security
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.responses import HTMLResponse

from frontend.files import CompressedFiles
from frontend.preferences import chosen

ASSETS = "/docs/assets"
#: How OpenAPI, and so *Try it out*, says in which ways a key is sent. They decide nothing:
#: `frontend.identity` does, before any operation is reached.
KEYS = [
    Security(HTTPBearer(scheme_name="key", auto_error=False)),
    Security(APIKeyHeader(name="x-api-key", scheme_name="key in a field", auto_error=False)),
]
#: Beyond this page's own script, Swagger UI needs styles in attributes and icons as `data:`.
POLICY = (
    "default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
#: Where there are pages, a link leads to them. The title is for who has the page read out.
_STYLE = """
  body > header { max-width: 1420px; margin: 0 auto; padding: 14px 20px 0; }
  body > header a { font: 600 17px sans-serif; }
  body > header a { color: #4338ca; }
  h1 { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
"""
#: Swagger UI knows the light theme alone: what it draws is turned round.
_DARK = """
  html { color-scheme: dark; }
  body { background: #0b1220; }
  body > header a { color: #a5b4fc; }
  main { filter: invert(0.9) hue-rotate(180deg); }
"""
_BY_SYSTEM = f"@media (prefers-color-scheme: dark) {{{_DARK}}}"


def install(app: FastAPI, *, with_pages: bool) -> None:
    """Add the page. FastAPI's own must be switched off (`docs_url=None`)."""
    # Only the wheel's files are wanted; its Python code is never imported.
    spec = importlib.util.find_spec("swagger_ui")
    assert spec is not None
    assert spec.origin is not None
    app.mount(ASSETS, CompressedFiles(directory=Path(spec.origin).parent / "static"))

    html = _page(app, with_pages)
    own_script = html.rpartition("<script>")[2].partition("</script>")[0]
    digest = b64encode(sha256(own_script.encode()).digest()).decode()
    headers = {"Content-Security-Policy": POLICY.format(digest=digest)}

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        theme = {"light": "", "dark": _DARK, None: _BY_SYSTEM}[chosen(request.scope, "theme")]
        styled = html.replace("</head>", f"<style>{_STYLE}{theme}</style></head>", 1)
        return HTMLResponse(styled, headers=headers)


def _page(app: FastAPI, with_pages: bool) -> str:
    """Swagger UI's page, of assets of our own."""
    assets = ASSETS.lstrip("/")  # relative, as the page may lie under any path
    page = get_swagger_ui_html(
        openapi_url=str(app.openapi_url).lstrip("/"),
        title=f"{app.title} API",
        swagger_js_url=f"{assets}/swagger-ui-bundle.js",
        swagger_css_url=f"{assets}/swagger-ui.css",
        swagger_favicon_url=f"{assets}/favicon-32x32.png",
    )
    html = bytes(page.body).decode()
    back = f'<a href="./">← {app.title}</a>' if with_pages else ""
    for wanting, whole in (
        ("<html>", '<html lang="en">'),
        # Swagger UI's own title is no heading of the first order.
        (
            '<div id="swagger-ui">\n    </div>',
            f'<header>{back}<h1>{app.title} API</h1></header><main id="swagger-ui"></main>',
        ),
    ):
        html = html.replace(wanting, whole)
    return html
