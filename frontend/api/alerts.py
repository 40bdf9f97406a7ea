"""`/api/v1/alerts`: how alerts stand, silences, a test of the channels, Alertmanager's webhook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from frontend.api.problems import responses
from monitoring.alerts.burn_rules import every
from monitoring.alerts.ledger import Ledger
from monitoring.alerts.notices import Announcer
from monitoring.alerts.overview import overview
from monitoring.alerts.schema import Alerts, Silence
from monitoring.alerts.webhook import Intake, Posted
from monitoring.messages import Message
from monitoring.notify.channels import Channels, Kinds
from monitoring.notify.notice import Notice
from monitoring.notify.queue import enqueue
from monitoring.stores.selection import Stores
from pipeline import errors
from pipeline.connection import connect, explain
from pipeline.queue.malformed import Tally, nobody
from pipeline.settings import Settings

T = TypeVar("T")

#: The longest silence, in minutes: 30 days.
SILENCE_MAX_MIN = 30 * 24 * 60
TEST = Notice(
    kind="test",
    severity="info",
    title=Message(en="Test notification", zh="测试通知"),
    body=Message(
        en="Somebody pressed the test button: this channel works.",
        zh="有人按下了测试按钮：此通知渠道工作正常。",
    ),
)


class Alerting:
    """The rules, what is known of them, and the channels. Its methods block: call them from a
    thread. They raise Unavailable when Redis is away."""

    def __init__(self, settings: Settings, stores: Stores, tally: Tally = nobody) -> None:
        """Raises ConfigurationError when rules or channels cannot be used."""
        self._settings = settings
        self._rules = every(settings)
        self._channels = Channels(settings)
        self._redis = connect(settings)
        self.ledger = Ledger(self._redis, tally)
        announcer = Announcer(
            self.ledger, self._rules.cooldown, lambda notice: enqueue(self._redis, notice),
            settings, Kinds(settings),
        )  # fmt: skip
        self._intake = Intake(self._rules, self.ledger, announcer, stores.traces)

    def close(self) -> None:
        """Close the connections to Redis."""
        self._redis.close()

    def overview(self, history: int = 50) -> Alerts:
        """Everything about alerts at this moment."""
        return _asked(lambda: self._overview(history))

    def _overview(self, history: int) -> Alerts:
        url, kinds = self._settings.prometheus_url, self._channels.kinds
        found = overview(self._rules, self.ledger, url, kinds, history)
        if found.source == "prometheus" and not found.problem:
            self._intake.settle({each.name for each in found.alerts if each.state == "inactive"})
        return found

    def silence(self, name: str, minutes: float, comment: str) -> Silence:
        """Silence a rule, or all of them by `*`."""
        # Prometheus has rules of its own, which are not in the file.
        ours = name == "*" or self._rules.find(name) is not None
        if not ours and self._settings.prometheus_url is None:
            raise errors.InvalidParameter(f"name={name!r}: there is no rule of this name")
        return _asked(lambda: self.ledger.silence(name, minutes, comment))

    def unsilence(self, id: str) -> None:
        """End a silence."""
        if not _asked(lambda: self.ledger.unsilence(id)):
            raise errors.NotFound(f"no silence {id}: it has ended, or never was")

    def take(self, message: Posted) -> None:
        """Take what Alertmanager posts."""
        _asked(lambda: self._intake.take(message))

    def test(self) -> list[DeliveryOutcome]:
        """Send a test notice to every channel, now and past the queue."""
        sent = self._channels.send(TEST)
        return [DeliveryOutcome(channel=each.kind, ok=each.ok, error=each.error) for each in sent]


def _asked(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except (RedisError, OSError) as error:
        raise errors.Unavailable(explain(error)) from error


class Wish(BaseModel):
    """A silence that is wanted."""

    name: str = Field(max_length=64, description="Name of a rule; `*` is every one.")
    minutes: float = Field(gt=0, le=SILENCE_MAX_MIN)
    comment: str = Field("", max_length=500)


class DeliveryOutcome(BaseModel):
    """What became of a test notice on one channel, known by its kind."""

    channel: str
    ok: bool
    error: str


class AlertsQuery(BaseModel):
    """How much of the past."""

    model_config = {"extra": "forbid"}

    history: int = Field(50, ge=0, le=500, description="Past episodes, newest first.")


def _json_only(request: Request) -> None:
    """Another site's page can post forms here unasked, but no JSON."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise errors.UnsupportedImage("the body must be application/json")


router = APIRouter(tags=["alerts"], prefix="/api/v1/alerts")
JSON_ONLY = [Depends(_json_only)]


@router.get("", summary="Alerts", responses=responses(errors.Unavailable))
async def read(request: Request, asked: Annotated[AlertsQuery, Query()]) -> Alerts:
    """Every rule and its state, what fired before, silences, and kinds of channels."""
    return await run_in_threadpool(_of(request).overview, asked.history)


@router.post(
    "/silences", status_code=201, summary="Silence a rule", dependencies=JSON_ONLY,
    responses=responses(errors.UnsupportedImage, errors.Unavailable),
)  # fmt: skip
async def silence(request: Request, wish: Wish) -> Silence:
    """Send nothing about a rule for some minutes; it fires and is recorded all the same."""
    return await run_in_threadpool(_of(request).silence, wish.name, wish.minutes, wish.comment)


@router.delete(
    "/silences/{id}", status_code=204, summary="End a silence",
    responses=responses(errors.NotFound, errors.Unavailable),
)  # fmt: skip
async def unsilence(request: Request, id: str) -> None:
    """What fires still is sent from now on."""
    await run_in_threadpool(_of(request).unsilence, id)


@router.post(
    "/webhook", summary="For Alertmanager", dependencies=JSON_ONLY,
    responses=responses(errors.UnsupportedImage, errors.Unavailable),
)  # fmt: skip
async def webhook(request: Request, message: Posted) -> dict[str, str]:
    """Alertmanager's webhook, format version 4, with the token of `DAMOSCOPE_WEBHOOK_TOKEN`.
    Repetitions change nothing."""
    await run_in_threadpool(_of(request).take, message)
    return {"status": "ok"}


@router.post(
    "/test", summary="Test the channels", dependencies=JSON_ONLY,
    responses=responses(errors.UnsupportedImage),
)  # fmt: skip
async def test(request: Request) -> list[DeliveryOutcome]:
    """Send a test notification to every channel, and say what became of it."""
    return await run_in_threadpool(_of(request).test)


def _of(request: Request) -> Alerting:
    alerting: Alerting = request.app.state.alerts
    return alerting
