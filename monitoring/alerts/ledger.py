"""What is known of alerts, in Redis: shared by the watcher and every frontend.

Redis keeps its data on disk, so states, history and silences outlive restarts.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast
from uuid import uuid4

from pydantic import BaseModel
from redis import Redis

from monitoring.alerts.schema import Episode, Silence
from monitoring.alerts.states import Standing
from monitoring.notify.deliveries import Deliveries
from pipeline.queue.malformed import Tally, nobody

PREFIX = "damoscope:alerts"
#: Episodes kept; the oldest that are over go first.
HISTORY_MAX = 500
#: A silence that ended is kept for a day, then forgotten.
FORGOTTEN_S = 86400.0

#: What each of our keys must be.
_TYPES = {
    **dict.fromkeys(
        ("states", "meta", "episodes", "open", "heard", "sent", "silences", "deliveries"), "hash"
    ),
    "history": "zset",
    "leader": "string",
}

log = logging.getLogger("damoscope.alerts")

M = TypeVar("M", bound=BaseModel)


class Ledger:
    """States of the rules, episodes by time, silences. Raises redis' errors when it is away.

    An episode is open under a key while its alert fires: the rule's name, or the fingerprint
    that Alertmanager gives each alert.
    """

    def __init__(self, redis: Redis, tally: Tally = nobody) -> None:
        self.redis, self._tally = redis, tally
        self.deliveries = Deliveries(redis)

    def mend(self) -> None:
        """Remove keys of another type than ours, and a leader's lock that would never end."""
        for name, kind in _TYPES.items():
            found = _text(self.redis.type(f"{PREFIX}:{name}"))
            endless = kind == "string" and self.redis.pttl(f"{PREFIX}:{name}") == -1
            if found != "none" and (found != kind or endless):
                self.redis.delete(f"{PREFIX}:{name}")
                self._refuse(1, name)

    # -- states ---------------------------------------------------------------------------

    def standings(self) -> dict[str, Standing]:
        """How things stand with each rule, as of the last evaluation."""
        return self._all("states", Standing)

    def evaluated(self) -> tuple[float | None, str]:
        """When the rules were last evaluated, and why they could not be since."""
        at, problem = self._hash("meta", "evaluated_at", "problem")
        return _seconds(at), problem or ""

    def save(self, standings: Mapping[str, Standing], now_s: float) -> None:
        """Keep the outcome of an evaluation, at once and in place of the one before."""
        pipe = self.redis.pipeline()
        pipe.delete(f"{PREFIX}:states")
        if standings:
            states: dict[Any, Any] = {
                name: standing.model_dump_json() for name, standing in standings.items()
            }
            pipe.hset(f"{PREFIX}:states", mapping=states)
        pipe.hset(f"{PREFIX}:meta", mapping={"evaluated_at": repr(now_s), "problem": ""})
        pipe.execute()

    def fail(self, problem: str) -> None:
        """Note why the rules could not be evaluated."""
        self.redis.hset(f"{PREFIX}:meta", "problem", problem)

    # -- episodes -------------------------------------------------------------------------

    def open(self) -> dict[str, Episode]:
        """The episodes that go on, by key."""
        ids = self._texts("open")
        found = {key: self.episode(id) for key, id in ids.items()}
        return {key: episode for key, episode in found.items() if episode is not None}

    def episode(self, id: str) -> Episode | None:
        """One episode."""
        (text,) = self._hash("episodes", id)
        return self._read(Episode, text) if text else None

    def begin(self, key: str, episode: Episode) -> None:
        """Open an episode."""
        pipe = self.redis.pipeline()
        pipe.hset(f"{PREFIX}:episodes", episode.id, episode.model_dump_json())
        pipe.zadd(f"{PREFIX}:history", {episode.id: episode.fired_at})
        pipe.hset(f"{PREFIX}:open", key, episode.id)
        pipe.execute()
        self._trim()

    def update(self, episode: Episode) -> None:
        """Keep what has changed in an episode."""
        self.redis.hset(f"{PREFIX}:episodes", episode.id, episode.model_dump_json())

    def end(self, key: str, episode: Episode) -> None:
        """Close an episode, which has its `resolved_at`."""
        pipe = self.redis.pipeline()
        pipe.hset(f"{PREFIX}:episodes", episode.id, episode.model_dump_json())
        pipe.zadd(f"{PREFIX}:history", {episode.id: episode.fired_at})
        pipe.hdel(f"{PREFIX}:open", key)
        pipe.hdel(f"{PREFIX}:heard", key)
        pipe.execute()

    def hear(self, key: str, now_s: float) -> None:
        """Note that an open episode was heard of."""
        self.redis.hset(f"{PREFIX}:heard", key, repr(now_s))

    def heard(self) -> dict[str, float]:
        """When each open episode was last heard of, by key."""
        found = {key: _seconds(at) for key, at in self._texts("heard").items()}
        return {key: at for key, at in found.items() if at is not None}

    def history(self, limit: int = 50, since_s: float | None = None) -> list[Episode]:
        """Episodes, newest first: the last `limit`, of those that fired since `since_s`."""
        least = "-inf" if since_s is None else since_s
        ids = self.redis.zrevrangebyscore(f"{PREFIX}:history", "+inf", least, 0, limit)
        if not ids:
            return []
        texts = self.redis.hmget(f"{PREFIX}:episodes", cast("list[str]", ids))
        found = [self._read(Episode, text) for text in cast("list[bytes]", texts) if text]
        return [
            episode.model_copy(update={"delivery": self.deliveries.of(episode.id)})
            for episode in found
            if episode is not None
        ]

    def _trim(self) -> None:
        surplus = self.redis.zcard(f"{PREFIX}:history") - HISTORY_MAX
        if surplus <= 0:
            return
        going_on = set(self._texts("open").values())
        oldest = cast("list[bytes]", self.redis.zrange(f"{PREFIX}:history", 0, surplus - 1))
        if over := [id for id in map(_text, oldest) if id not in going_on]:
            self.redis.zrem(f"{PREFIX}:history", *over)
            self.redis.hdel(f"{PREFIX}:episodes", *over)
            self.deliveries.forget(over)

    # -- what was sent, and silences --------------------------------------------------------

    def sent_at(self, key: str) -> float | None:
        """When an alert of this key was last sent to the channels."""
        (at,) = self._hash("sent", key)
        return _seconds(at)

    def sent(self, key: str, episode: Episode, now_s: float) -> Episode:
        """Note that an episode was sent; returns it so marked."""
        episode = episode.model_copy(update={"notified": True})
        pipe = self.redis.pipeline()
        pipe.hset(f"{PREFIX}:sent", key, repr(now_s))
        pipe.hset(f"{PREFIX}:episodes", episode.id, episode.model_dump_json())
        pipe.execute()
        return episode

    def silences(self, now_s: float | None = None) -> list[Silence]:
        """Silences that have not ended, the first to end first."""
        now_s = time.time() if now_s is None else now_s
        found = self._all("silences", Silence)
        if old := [id for id, each in found.items() if each.until_at < now_s - FORGOTTEN_S]:
            self.redis.hdel(f"{PREFIX}:silences", *old)
        left = (each for each in found.values() if each.until_at > now_s)
        return sorted(left, key=lambda each: each.until_at)

    def silenced_until(self, name: str, now_s: float) -> float | None:
        """Until when nothing is sent about a rule; None when it is not silenced."""
        return silenced_until(self.silences(now_s), name)

    def silence(
        self, name: str, minutes: float, comment: str = "", now_s: float | None = None
    ) -> Silence:
        """Silence one rule, or `*`, from now on."""
        now_s = time.time() if now_s is None else now_s
        made = Silence(
            id=uuid4().hex, name=name, until_at=now_s + 60 * minutes, created_at=now_s,
            comment=comment,
        )  # fmt: skip
        self.redis.hset(f"{PREFIX}:silences", made.id, made.model_dump_json())
        return made

    def unsilence(self, id: str) -> bool:
        """End a silence; False when there is none of this id."""
        return bool(self.redis.hdel(f"{PREFIX}:silences", id))

    # -- Redis' answers as texts ------------------------------------------------------------

    def _texts(self, key: str) -> dict[str, str]:
        found = cast("Mapping[bytes, bytes]", self.redis.hgetall(f"{PREFIX}:{key}"))
        return {_text(field): _text(value) for field, value in found.items()}

    def _all(self, key: str, kind: type[M]) -> dict[str, M]:
        found = {field: self._read(kind, value) for field, value in self._texts(key).items()}
        if bad := [field for field, value in found.items() if value is None]:
            self.redis.hdel(f"{PREFIX}:{key}", *bad)
        return {field: value for field, value in found.items() if value is not None}

    def _read(self, kind: type[M], text: str | bytes) -> M | None:
        """What was kept; None for what cannot be read, which costs nothing else anything."""
        try:
            return kind.model_validate_json(text)
        except ValueError:
            self._refuse(1, kind.__name__)
            return None

    def _refuse(self, count: int, what: str) -> None:
        self._tally("alert", count)
        log.warning("%d malformed entries of the alerts are refused: %s", count, what)

    def _hash(self, key: str, *fields: str) -> list[str | None]:
        found = cast("list[bytes | None]", self.redis.hmget(f"{PREFIX}:{key}", list(fields)))
        return [None if value is None else _text(value) for value in found]


def silenced_until(silences: Iterable[Silence], name: str) -> float | None:
    """The last end of those silences that concern a rule."""
    return max((each.until_at for each in silences if each.name in (name, "*")), default=None)


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _seconds(text: str | None) -> float | None:
    """A moment that was kept; None where none was, or no number."""
    try:
        moment = float(text) if text else None
    except ValueError:
        return None
    return moment if moment is not None and math.isfinite(moment) else None
