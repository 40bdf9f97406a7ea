"""The line above every page: name, pages, and the state of the service."""

from __future__ import annotations

from typing import Annotated

import gradio as gr
from fastapi import APIRouter, Header, Request
from pydantic import BaseModel

from frontend.identity.principal import ROLES, Role, principal
from frontend.pages.error_text import sentence
from frontend.pages.i18n import both, texts
from frontend.pages.theme import script
from frontend.status import Snapshot
from pipeline.errors import Unavailable
from pipeline.queue.pools import DEFAULT

PAGES = {
    "detect": "./", "monitor": "monitor", "traces": "traces", "report": "report", "model": "model",
}  # fmt: skip
#: Whom a page is for; to others its link is not shown.
FOR: dict[str, Role] = {
    "detect": "detect", "monitor": "read", "traces": "read", "report": "read",
    "model": "read",
}  # fmt: skip
#: Workers that do not start of which the line says why.
FAILURES_MOST = 2


class State(BaseModel):
    """The state of the service as one line."""

    ready: bool
    text: str
    #: What to do where images cannot be detected now.
    hint: str = ""


class OfferedModel(BaseModel):
    """A model that images can have."""

    #: What an image asks for; empty for the one that looks at those that ask for none.
    asked: str
    name: str
    version: str
    #: Its own thresholds, where its workers have said.
    score: float | None
    iou: float | None


class Seen(State):
    """The same, with who looks at it."""

    #: What there is to choose from, the default one first; nothing where there is but one.
    models: list[OfferedModel]

    #: Nothing where the service is open, and nobody has to say who they are.
    name: str
    roles: list[Role]
    #: Whether it is a login, which one can end.
    session: bool


def header(page: str) -> None:
    """Add the header to the page that is being built."""
    links = "".join(
        f'<a href="{address}" data-role="{FOR[name]}"'
        f"{' aria-current=page' if name == page else ''}>"
        f"{both('nav.' + name)}</a>"
        for name, address in PAGES.items()
    )
    gr.HTML(
        f'<header class="ds-header"><h1 class="ds-hidden" id="title">{both("nav." + page)}</h1>'
        f'<a class="ds-skip" href="#">{both("header.skip")}</a>'
        '<a class="ds-name" href="./"><i></i>damoscope</a>'
        f'<nav>{links}<a href="docs">{both("nav.api")}</a></nav>'
        '<p class="ds-state" role="status">&nbsp;</p><p class="ds-chosen">'
        f'<button type="button" data-choose="language">{_other_language()}</button>'
        '<button type="button" data-choose="theme">'
        f'<span class="ds-light">{both("header.light")}</span>'
        f'<span class="ds-dark">{both("header.dark")}</span></button></p>'
        '<form class="ds-who" method="post" action="logout" hidden><span></span>'
        f"<button>{both('logout')}</button></form></header>",
        js_on_load=script("header"),
        apply_default_css=False,
        elem_classes="ds-header-block",
    )


def _other_language() -> str:
    """Its name in itself, for who cannot read the one that is seen."""
    return '<span class="en" lang="zh">中文</span><span class="zh" lang="en">English</span>'


def router() -> APIRouter:
    """What the header asks for every few seconds. Nothing is read for it."""
    routes = APIRouter(prefix="/pages", include_in_schema=False)

    @routes.get("/status")
    async def status(
        request: Request, accept_language: Annotated[str | None, Header()] = None
    ) -> Seen:
        who = principal(request.scope)
        seen = state(request.app.state.status.snapshot, accept_language, details=bool(who.roles))
        return Seen(
            ready=seen.ready,
            text=seen.text,
            hint=seen.hint,
            models=offered(request.app.state.status.snapshot) if who.may("detect") else [],
            name=who.name if who.known else "",
            roles=[role for role in ROLES if who.may(role)],
            session=who.kind in ("session", "oidc"),
        )

    return routes


def offered(snapshot: Snapshot) -> list[OfferedModel]:
    """The models that an image can have now, the one that looks at all others first."""
    found = [
        OfferedModel(
            asked=pool.model, name=first.model, version=first.model_version,
            score=first.score_threshold, iou=first.iou_threshold,
        )
        for pool in (DEFAULT, *snapshot.pools)
        for first in snapshot.workers_of(pool)[:1]
    ]  # fmt: skip
    return found if any(each.asked for each in found) else []


def state(snapshot: Snapshot, accept_language: str | None, *, details: bool = True) -> State:
    """One line about workers, model and queue; `details` are for who may see the service."""
    words = texts(accept_language)
    if reason := snapshot.problem or snapshot.full:
        text = sentence(Unavailable(reason), words).rstrip(".。")
        return State(ready=False, text=text, hint=words["down.redis"])
    queue = words["status.queue"].format(depth=sum(snapshot.depth.values()))
    failures = [
        words["status.not_started"].format(host=one.host, reason=one.reason)
        for one in snapshot.start_failures[: FAILURES_MOST if details else 0]
    ]
    workers_of_all = snapshot.workers_of(DEFAULT)
    if not workers_of_all:
        text = " · ".join([words["status.none"], *failures, queue])
        return State(ready=False, text=text, hint=words["down.none"])
    count, first = len(workers_of_all), workers_of_all[0]
    workers = words["status.workers.one" if count == 1 else "status.workers"].format(count=count)
    model = words["status.model"].format(model=first.model, provider=first.provider)
    served = [pool.model for pool in snapshot.pools if snapshot.workers_of(pool)]
    beside = [words["status.beside"].format(models=", ".join(served))] if served else []
    return State(ready=True, text=" · ".join([workers, *failures, model, *beside, queue]))
