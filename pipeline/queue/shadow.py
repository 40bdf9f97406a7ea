"""Images that another model looks at as well, once they are answered: a shadow run.

They lie in a short list of that model's, apart from all queues. Nothing counts them, nothing waits
for them, and what there is no room for is dropped. Who takes one has it alone: it is lost with a
worker that dies over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis import Redis
from redis.exceptions import ResponseError

from pipeline.job import Detections, DetectJob
from pipeline.queue.pools import Pool

#: Images that wait for a model at most, and bytes of one: together 64 MB.
WAITING_MAX: Final = 16
IMAGE_BYTES_MAX: Final = 4 * 2**20
#: Seconds after which one that waits is no longer of use.
LATE_S: Final = 30
#: Differences that are kept to be looked at, and seconds for which all that is noted is kept.
RECENT_MAX: Final = 20
KEPT_S: Final = 30 * 86_400
#: Workers of a model that are looked for.
_WORKERS_LOOKED: Final = 16
_FOUND: Final = ("images", "agreed", "failed", "both", "only_answer", "only_shadow")
#: Sum of the differences of scores, of all boxes that both have.
_DIFFERENCES: Final = "score_differences"

Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Corner = Annotated[float, Field(allow_inf_nan=False)]
FoundBox = tuple[
    Annotated[str, Field(max_length=1000)], Score, tuple[Corner, Corner, Corner, Corner]
]
Name = Annotated[str, Field(max_length=300)]


class ShadowImage(BaseModel):
    """An image that was answered, and what was found in it."""

    model_config = ConfigDict(frozen=True)

    job_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    #: With the image's trace context.
    meta: dict[str, str]
    job: DetectJob
    #: By which model it was answered.
    model: Name
    version: Name
    #: What the answer has, best first.
    boxes: Annotated[list[FoundBox], Field(max_length=1000)]
    #: When it was sent, in Unix nanoseconds by Redis' clock, and how far that of the frontend which
    #: took the image is ahead of it.
    sent_ns: Annotated[int, Field(ge=0, lt=2**63)]
    frontend_ahead_ns: Annotated[int, Field(gt=-(2**62), lt=2**62)]

    @property
    def found(self) -> Detections:
        """The boxes, as a run has them."""
        labels, scores, corners = zip(*self.boxes, strict=True) if self.boxes else ((), (), ())
        return Detections(list(labels), list(scores), [list(each) for each in corners])


def boxes_of(found: Detections) -> list[FoundBox]:
    """What a run has found, as it is sent."""
    every = zip(found.labels, found.scores, found.corners, strict=True)
    return [(label, score, (x1, y1, x2, y2)) for label, score, (x1, y1, x2, y2) in every]


def read_entry(entry: bytes) -> tuple[ShadowImage, bytes]:
    """What a list has, and the file. Raises ValueError for what is none of ours."""
    head, newline, image = entry.partition(b"\n")
    if not newline or not image:
        raise ValueError("no image")
    try:
        return ShadowImage.model_validate(orjson.loads(head)), image
    except (ValidationError, orjson.JSONDecodeError) as error:
        raise ValueError("no image of ours") from error


class ShadowSender:
    """Puts images in for one model. Its methods block, and raise RedisError."""

    def __init__(self, redis: Redis, model: str) -> None:
        self._redis, self._pool = redis, Pool(model)

    def send(self, answered: ShadowImage, image: bytes) -> bool:
        """Send one; False where there is no room for it, or nobody who would take it."""
        key, read = self._pool.shadow_waiting, self._redis.pipeline(transaction=False)
        read.llen(key)
        read.srandmember(self._pool.workers_key, _WORKERS_LOOKED)
        waiting, workers = read.execute()
        # A worker that was killed leaves its name there.
        if waiting >= WAITING_MAX or not workers or not self._redis.exists(*workers):
            return False
        write = self._redis.pipeline(transaction=False)
        write.rpush(key, answered.model_dump_json().encode() + b"\n" + image)
        write.expire(key, LATE_S)
        write.execute()
        return True

    def dropped(self, count: int) -> None:
        """Note how many were not sent."""
        _count(self._redis, self._pool, {"dropped": count})


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two models have found in one image."""

    #: Boxes that both have, that only the answer has, and that only the shadow run has.
    both: int
    only_answer: int
    only_shadow: int
    #: Of the scores of boxes that both have, the sum of the differences.
    score_differences: float = 0.0

    @property
    def agree(self) -> bool:
        """Whether each has every box of the other."""
        return not self.only_answer and not self.only_shadow


class ShadowNotes:
    """Notes what came of the images, for workers of one model. Its methods block, and raise
    RedisError."""

    def __init__(self, redis: Redis, pool: Pool) -> None:
        self._redis, self._pool = redis, pool

    def compared(self, answered: ShadowImage, by: tuple[str, str], comparison: Comparison | None,
                 *, trace_id: str, now_ns: int) -> None:  # fmt: skip
        """An image was run `by` this model and version; without a comparison that has failed.

        What is noted is of two versions: with another of either it begins anew.
        """
        names = (answered.model, answered.version, *by)
        pair = orjson.dumps(names).decode()
        totals, recent = self._pool.shadow_totals, self._pool.shadow_recent
        if self._redis.hget(totals, "pair") != pair.encode():
            self._redis.delete(totals, recent)
            self._redis.hset(totals, mapping={"pair": pair, "since": now_ns // 10**9})
        more: dict[str, float] = {"images": 1}
        if comparison is None:
            more["failed"] = 1
        else:
            more |= {
                "agreed": int(comparison.agree), "both": comparison.both,
                "only_answer": comparison.only_answer, "only_shadow": comparison.only_shadow,
                _DIFFERENCES: comparison.score_differences,
            }  # fmt: skip
        _count(self._redis, self._pool, more)
        if comparison is not None and not comparison.agree:
            row = Difference(
                trace_id=trace_id, job_id=answered.job_id, unix_s=now_ns // 10**9,
                both=comparison.both, only_answer=comparison.only_answer,
                only_shadow=comparison.only_shadow,
            )  # fmt: skip
            pipe = self._redis.pipeline(transaction=False)
            pipe.lpush(recent, row.model_dump_json())
            pipe.ltrim(recent, 0, RECENT_MAX - 1)
            pipe.expire(recent, KEPT_S)
            pipe.execute()

    def dropped(self) -> None:
        """Note that one waited too long."""
        _count(self._redis, self._pool, {"dropped": 1})


def _count(redis: Redis, pool: Pool, more: dict[str, float]) -> None:
    pipe = redis.pipeline(transaction=False)
    for name, value in more.items():
        if name == _DIFFERENCES:
            pipe.hincrbyfloat(pool.shadow_totals, name, value)
        else:
            pipe.hincrby(pool.shadow_totals, name, int(value))
    pipe.expire(pool.shadow_totals, KEPT_S)
    pipe.execute()


class Difference(BaseModel):
    """An image in which the two have found different boxes."""

    trace_id: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")]
    job_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    unix_s: Annotated[int, Field(ge=0, lt=2**40)]
    both: int
    only_answer: int
    only_shadow: int


class ShadowReport(BaseModel):
    """How a model has done beside the one that answers, since both are what they are."""

    #: The model that looks as well, and its version.
    name: str
    version: str
    #: The one that has answered.
    answered_by: str
    answered_by_version: str
    since: datetime
    #: Images that it has looked at, those in which both have found the same, and those that it has
    #: failed on.
    images: int
    agreed: int
    failed: int
    #: Images that were to be looked at, and were not: it was away, or too slow.
    dropped: int
    #: Boxes that both have found, that only the answer has, and that only the shadow run has.
    both: int
    only_answer: int
    only_shadow: int
    #: By how much the scores of boxes differ that both have, on average.
    score_difference: float | None
    #: The latest images in which they have found different boxes.
    recent: list[Difference]


def report(redis: Redis, pool: Pool) -> ShadowReport | None:
    """What was noted of a model; None where nothing is. Raises RedisError."""
    pipe = redis.pipeline(transaction=False)
    pipe.hgetall(pool.shadow_totals)
    pipe.lrange(pool.shadow_recent, 0, RECENT_MAX - 1)
    answers: list[Any] = pipe.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE"):
            return None  # none of ours; its workers remove it
        if isinstance(answer, Exception):
            raise answer
    totals, rows = answers
    try:
        answered_by, answered_by_version, name, version = map(str, orjson.loads(totals[b"pair"]))
        counted = {key: int(totals.get(key.encode(), 0)) for key in (*_FOUND, "dropped")}
        total = float(totals.get(_DIFFERENCES.encode(), 0))
        return ShadowReport(
            name=name, version=version,
            answered_by=answered_by, answered_by_version=answered_by_version,
            since=datetime.fromtimestamp(int(totals[b"since"]), UTC),
            score_difference=total / counted["both"] if counted["both"] else None,
            recent=_differences(rows),
            **counted,
        )  # fmt: skip
    except (ValueError, LookupError, OverflowError, OSError):
        return None


def _differences(rows: Sequence[bytes]) -> list[Difference]:
    found = []
    for row in rows:
        try:
            found.append(Difference.model_validate_json(row))
        except ValidationError:
            continue
    return found
