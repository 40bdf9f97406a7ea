"""What became of the notices about an episode, channel by channel, in Redis.

Written by the jobs that deliver, read with the history of alerts: so every process, and every
one after a restart, says the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Literal, cast

from pydantic import BaseModel, ValidationError
from redis import Redis
from redis.client import Pipeline

#: A hash: `EPISODE:asked` and `EPISODE:told` are lists of kinds, `EPISODE:N` the N-th channel's.
KEY = "damoscope:alerts:deliveries"
#: Characters of a cause that are kept, and channels that are looked at.
CAUSE_MAX, CHANNELS_MAX = 300, 64

State = Literal["no_channel", "queued", "held_back", "sent", "partly", "failed"]


class Delivery(BaseModel):
    """What became of the notice that an alert fires."""

    #: `partly`: some channels took it; `held_back`: over the rate, and sent in a summary.
    state: State
    #: Channels that took it, of how many it is for.
    sent: int
    channels: int
    #: Kind and cause of each channel that refused it, without secrets.
    error: str = ""


class _Outcome(BaseModel):
    kind: str
    state: Literal["held_back", "sent", "failed"]
    error: str = ""
    at: float


class Deliveries:
    """Methods raise RedisError."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def newcomers(self, about: str, kinds: Sequence[str]) -> bool:
        """Whether a channel is there for which nothing was queued yet; from now on, all are."""
        asked = self._kinds(f"{about}:asked")
        if asked is not None and not set(enumerate(kinds)) - set(enumerate(asked)):
            return False
        self._redis.hset(KEY, f"{about}:asked", json.dumps(list(kinds)))
        return asked is not None

    def nobody(self, about: str) -> None:
        """Note that there is no channel; the first that comes is told."""
        self._redis.hset(KEY, f"{about}:told", "[]")

    def untold(self, about: str, kinds: Sequence[str]) -> list[int]:
        """Positions of the channels that the notice was not queued for yet."""
        told = set(enumerate(self._kinds(f"{about}:told") or []))
        return [index for index, kind in enumerate(kinds) if (index, kind) not in told]

    def queued(self, about: str, kinds: Sequence[str], pipe: Pipeline) -> None:
        """Note that it is queued for these channels."""
        pipe.hset(KEY, f"{about}:told", json.dumps(list(kinds)))

    def ended(
        self, about: str, index: int, kind: str, state: Literal["held_back", "sent", "failed"],
        error: str = "",
    ) -> None:  # fmt: skip
        """Note what one channel did with it."""
        outcome = _Outcome(kind=kind, state=state, error=error[:CAUSE_MAX], at=time.time())
        self._redis.hset(KEY, f"{about}:{index}", outcome.model_dump_json())

    def of(self, about: str) -> Delivery | None:
        """What became of it; None when it was never to be sent."""
        told = self._kinds(f"{about}:told")
        if not told and (asked := self._kinds(f"{about}:asked")):
            return Delivery(state="queued", sent=0, channels=len(asked))
        if told is None:
            return None
        if not told:
            return Delivery(state="no_channel", sent=0, channels=0)
        fields = [f"{about}:{index}" for index in range(len(told))]
        found = [_outcome(text) for text in cast("list[bytes]", self._redis.hmget(KEY, fields))]
        ended = [each for each in found if each is not None]
        sent = sum(each.state == "sent" for each in ended)
        causes = [f"{each.kind}: {each.error}" for each in ended if each.state == "failed"]
        state: State = "queued"
        if sent == len(told):
            state = "sent"
        elif sent:
            state = "partly"
        elif causes:
            state = "failed"
        elif len(ended) == len(told):
            state = "held_back"
        return Delivery(state=state, sent=sent, channels=len(told), error="; ".join(causes))

    def forget(self, ids: Iterable[str]) -> None:
        """Of episodes that are kept no longer."""
        suffixes = ["asked", "told", *map(str, range(CHANNELS_MAX))]
        for about in ids:
            self._redis.hdel(KEY, *(f"{about}:{suffix}" for suffix in suffixes))

    def _kinds(self, field: str) -> list[str] | None:
        text = self._redis.hget(KEY, field)
        try:
            found = json.loads(cast("bytes", text)) if text else None
        except ValueError:
            return None
        return [str(kind) for kind in found[:CHANNELS_MAX]] if isinstance(found, list) else None


def _outcome(text: bytes | None) -> _Outcome | None:
    try:
        return _Outcome.model_validate_json(text) if text else None
    except ValidationError:  # somebody else's; what it says is not known
        return None
