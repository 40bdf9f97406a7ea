"""The pages' scripts that are modules, served from this very service."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import Scope

from frontend.files import CompressedFiles

#: Where those of the Detect page are served, and where they lie.
DETECT: Final = "/pages/detect"
SCRIPTS: Final = Path(__file__).parent / "scripts"


def install(app: FastAPI, address: str, folder: Path) -> None:
    """Serve a folder of modules under an address."""
    app.mount(address, _Modules(directory=folder))


def start(address: str) -> str:
    """`js_on_load` of a component that the module at an address brings to life.

    One that is lost on the way is told as Gradio's own scripts tell of theirs: head.js loads the
    page again.
    """
    return f"""import(new URL(".{address}", document.baseURI)).then(
  (script) => script.start(element, {{ props, trigger }}),
  (error) => {{
    if (dispatchEvent(new Event("vite:preloadError", {{ cancelable: true }}))) throw error;
  }},
);"""


def detect(name: str) -> str:
    """The same with one of the Detect page's."""
    return start(f"{DETECT}/{name}.js")


class _Modules(CompressedFiles):
    """Browsers ask whether a module has changed, so that an update never mixes old and new."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response
