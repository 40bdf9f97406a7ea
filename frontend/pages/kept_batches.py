"""Several images that were run at once, in Redis: their address holds after a restart, and before
another frontend. What was found in each is read where every result lies."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from typing import Annotated, Final

from pydantic import BaseModel, Field, ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from frontend.detection import DetectionService
from frontend.identity.principal import Principal
from frontend.intake import away
from frontend.pages.batches import KEEP_EVERY_S, Batch
from frontend.pages.detect_one import Outcome
from frontend.pages.uploads import ID, Upload
from pipeline.complaints import complaints
from pipeline.errors import NotFound, from_code
from pipeline.job import DetectOptions

#: Each batch has a key that begins so, and a place in the index, by the time at which it was kept.
KEYS: Final = "damoscope:batch:"
INDEX: Final = "damoscope:batches"
#: Batches that are kept at most, and bytes of each: 64 MB together. A thousand images with names of
#: a usual length take some 150 kB.
MOST, BYTES_MOST = 128, 2**19
#: Seconds that Redis is waited for. A batch goes on without it.
WAIT_S = 1.0
#: Seconds after which a batch that was not kept anew is under way no more: its process has died.
SILENT_S = 5 * KEEP_EVERY_S

log = logging.getLogger("damoscope.frontend")


class KeptImage(BaseModel):
    """One image of a batch that is done: its job, or what went wrong."""

    place: Annotated[int, Field(ge=0)]
    name: str
    trace: str
    job: Annotated[str, Field(pattern=ID)] | None = None
    #: Milliseconds of the whole request, which the frontend alone has measured.
    ms: float = 0.0
    code: str = ""
    message: str = ""


class KeptBatch(BaseModel):
    """What the cards of a batch are drawn from."""

    id: Annotated[str, Field(pattern=ID)]
    #: The SHA-256 of whose it is: a browser's name is a secret.
    owner: str
    options: DetectOptions
    model: str
    count: int
    finished: bool
    #: In the order in which they were done.
    images: list[KeptImage]


class KeptBatches:
    """The latest batches of all frontends, for as long as results are kept."""

    def __init__(self, redis: Redis, detection: DetectionService, ttl_s: int) -> None:
        self._redis, self._detection, self._ttl_s = redis, detection, ttl_s

    async def keep(self, batch: Batch, finished: bool) -> None:
        """Keep what is done of a batch. Never raises: it is seen here all the same."""
        body = _record(batch, finished).model_dump_json(exclude_defaults=True).encode()
        if len(body) > BYTES_MOST:
            log.warning("a batch of %d images is too large to be kept", len(batch.outcomes))
            return
        try:
            async with asyncio.timeout(WAIT_S):
                await self._put(batch.id, body)
        except (RedisError, OSError) as error:
            if not isinstance(error, TimeoutError):
                complaints.of_redis(log, error, "keeping several images' address")

    async def _put(self, batch_id: str, body: bytes) -> None:
        now = time.time()
        pipe = self._redis.pipeline(transaction=True)
        pipe.set(KEYS + batch_id, body, ex=self._ttl_s)
        pipe.zadd(INDEX, {batch_id: now})
        pipe.zremrangebyscore(INDEX, "-inf", now - self._ttl_s)
        pipe.expire(INDEX, self._ttl_s)
        pipe.zrange(INDEX, 0, -MOST - 1)
        if oldest := [name.decode() for name in (await pipe.execute())[-1]]:
            pipe = self._redis.pipeline(transaction=True)
            pipe.unlink(*(KEYS + name for name in oldest))
            pipe.zrem(INDEX, *oldest)
            await pipe.execute()

    async def find(self, batch_id: str, owner: str) -> KeptBatch:
        """A batch of this owner's. Raises NotFound or Unavailable."""
        try:
            pipe = self._redis.pipeline(transaction=False)
            pipe.get(KEYS + batch_id)
            pipe.pttl(KEYS + batch_id)
            body, left_ms = await pipe.execute()
        except RedisError as error:
            raise away(error) from error
        try:
            kept = KeptBatch.model_validate_json(body or b"")
        except ValidationError:
            kept = None
        if kept is None or not owner or kept.owner != _digest(owner):
            raise NotFound(f"no images {batch_id}: they are kept no longer, or are not yours")
        if self._ttl_s - left_ms / 1000 > SILENT_S:
            kept.finished = True
        return kept

    async def outcome(self, batch: KeptBatch, image: KeptImage, who: Principal) -> Outcome:
        """One of its images as it was. Raises Unavailable."""
        upload = Upload(None, "", image.name)
        if image.job is None:
            return Outcome(upload, image.trace, error=from_code(image.code, image.message))
        try:
            result = (await self._detection.state(image.job, who)).result
        except NotFound:
            result = None
        if result is None:
            return Outcome(upload, image.trace, error=NotFound("the result is kept no longer"))
        timings = result.timings_ms.model_copy(update={"total": image.ms})
        result = result.model_copy(update={"timings_ms": timings})
        return Outcome(upload, image.trace, result, options=batch.options, model=batch.model)


def _record(batch: Batch, finished: bool) -> KeptBatch:
    done = [(place, batch.outcomes[place]) for place in batch.done]
    return KeptBatch(
        id=batch.id,
        owner=_digest(batch.owner),
        options=batch.options,
        model=batch.model,
        count=len(batch.outcomes),
        finished=finished,
        images=[_image(place, outcome) for place, outcome in done if outcome is not None],
    )


def _image(place: int, outcome: Outcome) -> KeptImage:
    image = KeptImage(place=place, name=outcome.name, trace=outcome.trace_id)
    if outcome.result is not None:
        image.job, image.ms = outcome.result.job_id, outcome.result.timings_ms.total
    elif outcome.error is not None:
        image.code, image.message = outcome.error.code, str(outcome.error)
    return image


def _digest(owner: str) -> str:
    return hashlib.sha256(owner.encode()).hexdigest()
