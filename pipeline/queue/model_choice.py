"""Which model workers run, where somebody has said so: `damoscope model use`.

A model is offered first. Once a worker has taken it, it becomes the choice, which Redis keeps:
workers that start go by it. So a model that no worker can load, or over which the first one dies,
is never what the next one starts with.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from uuid import uuid4

from redis import Redis
from redis.lock import Lock

#: What workers run from now on, and start with.
CHOICE = "damoscope:model:choice"
#: What they are to try. It is gone soon after whoever offers it is.
OFFER, OFFER_S = "damoscope:model:offer", 30
#: Who holds it loads a model; so many seconds after its last beat another one may.
LEASE, LEASE_S = "damoscope:model:lease", 15.0
#: A hash for each offer: worker -> what became of it.
OUTCOMES, OUTCOMES_S = "damoscope:model:outcomes:{}", 3600
#: Bytes of an entry that is read, and characters of a reason.
ENTRY_BYTES_MAX, REASON_MAX = 4096, 500


@dataclass(frozen=True)
class ModelChoice:
    """A model by name and version; without a name, the one of each worker's own settings."""

    id: str
    name: str
    version: str

    @staticmethod
    def of(name: str, version: str) -> ModelChoice:
        """A new one: who has tried another of the same model tries this again."""
        return ModelChoice(uuid4().hex, name, version)


@dataclass(frozen=True)
class SwitchOutcome:
    """What became of an offer at one worker."""

    #: Why it runs what it ran before; empty where it took the offer.
    problem: str = ""


def wanted(redis: Redis) -> ModelChoice | None:
    """What workers are to try or run. Raises RedisError."""
    offer, choice = redis.mget(OFFER, CHOICE)
    return choice_in(offer) or choice_in(choice)


def chosen(redis: Redis) -> ModelChoice | None:
    """What workers start with, where somebody has chosen. Raises RedisError."""
    (text,) = redis.mget(CHOICE)
    return choice_in(text)


def offered(redis: Redis) -> ModelChoice | None:
    """What workers are to try at this moment. Raises RedisError."""
    (text,) = redis.mget(OFFER)
    return choice_in(text)


def offer(redis: Redis, choice: ModelChoice) -> None:
    """Have workers try it, from now on for OFFER_S. Raises RedisError."""
    redis.set(OFFER, json.dumps(asdict(choice)), ex=OFFER_S)


def withdraw(redis: Redis) -> None:
    """Offer nothing any more. Raises RedisError."""
    redis.delete(OFFER)


def choose(redis: Redis, choice: ModelChoice) -> None:
    """Have workers start with it. Raises RedisError."""
    redis.set(CHOICE, json.dumps(asdict(choice)))


def lease(redis: Redis) -> Lock:
    """The right to load a model beside the one that runs: one worker has it at a time, and its
    name is the token that it takes it with."""
    return Lock(redis, LEASE, timeout=LEASE_S, blocking=False, thread_local=False)


def holder(redis: Redis) -> str:
    """The worker that loads a model now; empty where none does. Raises RedisError."""
    (token,) = redis.mget(LEASE)
    return token.decode(errors="replace") if isinstance(token, bytes) else ""


def tell(redis: Redis, choice: ModelChoice, worker: str, outcome: SwitchOutcome) -> None:
    """Say what became of an offer at a worker. Raises RedisError."""
    key = OUTCOMES.format(choice.id)
    pipe = redis.pipeline(transaction=False)
    pipe.hset(key, worker, json.dumps({"problem": outcome.problem[:REASON_MAX]}))
    pipe.expire(key, OUTCOMES_S)
    pipe.execute()


def outcomes(redis: Redis, choice: ModelChoice) -> dict[str, SwitchOutcome]:
    """What became of an offer so far, by worker. Raises RedisError."""
    found = {}
    told: dict[bytes, bytes] = redis.hgetall(OUTCOMES.format(choice.id))  # type: ignore[assignment]
    for worker, text in told.items():
        problem = (written(text) or {}).get("problem")
        if isinstance(problem, str):
            found[worker.decode(errors="replace")] = SwitchOutcome(problem[:REASON_MAX])
    return found


def choice_in(text: object) -> ModelChoice | None:
    """What was written; None for nothing, and for what we did not write."""
    said = written(text) or {}
    values = [said.get(field) for field in ("id", "name", "version")]
    if not all(isinstance(value, str) for value in values):
        return None
    return ModelChoice(*map(str, values))


def written(text: object) -> dict[str, object] | None:
    """An entry of Redis as the object that it is; None for what is none."""
    if not isinstance(text, bytes) or len(text) > ENTRY_BYTES_MAX:
        return None
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None
