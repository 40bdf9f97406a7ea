"""The jobs of the queue of notices, by the names under which `queue` enqueues them.

The settings are read anew for each job: a changed file of addresses counts from the next notice.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any, Literal

from redis import Redis
from redis.exceptions import RedisError
from rq import get_current_job

from monitoring.notify.channels import Attempt, Channels
from monitoring.notify.deliveries import Deliveries
from monitoring.notify.notice import Notice
from monitoring.notify.queue import enqueue_deliveries
from monitoring.notify.rate_limit import Limit
from pipeline.settings import load

log = logging.getLogger("damoscope.watcher")


class NotDelivered(Exception):
    """A channel did not take a notice; the message says which and why, without secrets."""


def fan_out(notice: dict[str, Any]) -> None:
    """Queue the notice for each channel there is now."""
    job_id, redis = _job()
    enqueue_deliveries(redis, job_id, Notice.model_validate(notice), Channels(load()).kinds)


def deliver(notice: dict[str, Any], index: int, kind: str) -> None:
    """Send to one channel, or hold back what is over its rate. Raises NotDelivered."""
    content = Notice.model_validate(notice)
    settings, redis = load(), _job()[1]
    channels = Channels(settings)

    def ended(state: Literal["held_back", "sent", "failed"], error: str = "") -> None:
        if content.about:
            with contextlib.suppress(RedisError):  # what was sent is not to be sent again
                Deliveries(redis).ended(content.about, index, kind, state, error)

    if not _is_there(channels, index, kind):
        ended("failed", "the channel was removed")
        return
    limit = Limit(redis, settings.notify_rate, index, kind)
    if limit.allows(content):
        delivery = channels.send_to(index, content)
        ended("sent" if delivery.ok else "failed", delivery.error)
        _raise_unless(delivery, index)
        limit.count()
    else:
        limit.hold_back(content)
        ended("held_back")


def sum_up(index: int, kind: str) -> None:
    """Send what was held back for a channel as one message. Raises NotDelivered."""
    settings, redis = load(), _job()[1]
    channels = Channels(settings)
    limit = Limit(redis, settings.notify_rate, index, kind)
    content, count = limit.summary()
    if content is not None and _is_there(channels, index, kind):
        _send(channels, index, content)
        limit.count()
    limit.forget(count)


def _send(channels: Channels, index: int, notice: Notice) -> None:
    _raise_unless(channels.send_to(index, notice), index)


def _raise_unless(attempt: Attempt, index: int) -> None:
    if not attempt.ok:
        raise NotDelivered(f"{attempt.kind} (channel {index + 1}): {attempt.error}")


def _is_there(channels: Channels, index: int, kind: str) -> bool:
    """Whether the channel for which the job was made is still the one at this position."""
    if channels.kinds[index : index + 1] == [kind]:
        return True
    log.warning("a notice is dropped: %s is not channel %d any more", kind, index + 1)
    return False


def _job() -> tuple[str, Redis]:
    job = get_current_job()
    assert job is not None, "runs inside an RQ worker only"
    return job.id, job.connection
