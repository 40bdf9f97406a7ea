"""Pictures of images that were answered, kept for a while to be seen beside their traces.

They lie in Redis, which every worker can reach and every frontend reads, on one host or on many.
Each has a key that expires. An index has their sizes: all of them together take so much memory and
no more, and less where Redis is nearly full, for images that wait come first.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any, Final

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import NoPermissionError, ResponseError

from pipeline.queue.keys import KEPT_INDEX, KEPT_KEYS, KEPT_TOTAL, script
from pipeline.queue.malformed import Tally, nobody

MB: Final = 2**20
#: What a picture takes beside its text: its key, and its place in the index.
OVERHEAD_BYTES: Final = 512
#: What Redis' texts have before and after their bytes.
_AROUND_BYTES: Final = 18
#: Of the memory that Redis may take, what pictures leave free.
FULL: Final = 0.75
#: Members of the index that are looked at in one round trip.
AT_ONCE: Final = 1000

_ID = re.compile(r"[0-9a-f]{32}")
_MEMBER = re.compile(r"([0-9a-f]{32}):([0-9a-f]{32}):(\d{1,15}):\d{1,15}", re.ASCII)


def kept_key(trace_id: str, job_id: str) -> str:
    """Redis key of the picture of one image of a trace."""
    return f"{KEPT_KEYS}{trace_id}:{job_id}"


def room_of(size: int) -> int:
    """What a picture of so many bytes takes of Redis' memory. Its allocator gives room in steps,
    four to each doubling: https://jemalloc.net/jemalloc.3.html#size_classes"""
    text = max(size + _AROUND_BYTES, 64)
    step = 1 << ((text - 1).bit_length() - 3)
    return -(-text // step) * step + OVERHEAD_BYTES


class PictureKeeper:
    """Puts pictures in, for one worker. Methods block, and raise RedisError."""

    def __init__(self, redis: Redis, *, hours: float, most_mb: int,
                 tally: Tally = nobody) -> None:  # fmt: skip
        self._redis = redis
        self._ttl_s = max(1, round(hours * 3600))
        self._bound = self._most = most_mb * MB
        self._tally = tally
        self._shortened = False
        self._script = redis.register_script(script("keep"))

    def keep(self, trace_id: str, job_id: str, picture: bytes) -> bool:
        """Keep one; False where there is no room for it, or it has no id of ours."""
        if not (_ID.fullmatch(trace_id) and _ID.fullmatch(job_id)):
            return False
        entry = self._make_room(f"{trace_id}:{job_id}", room_of(len(picture)), self._ttl_s)
        if not entry:
            return False
        # Not in the script: Redis' Lua reads every byte of a text one by one, to hash it.
        pipe = self._redis.pipeline(transaction=False)
        key = kept_key(trace_id, job_id)
        pipe.delete(key)  # whatever else stands there
        pipe.hset(key, "picture", picture)
        pipe.expire(key, self._ttl_s)
        pipe.zscore(KEPT_INDEX, entry)
        *_, noted = pipe.execute()
        if noted is None:  # purged meanwhile, or gone for newer ones: no entry, no picture
            self._redis.delete(key)
        return noted is not None

    def tidy(self) -> None:
        """Let go what is over its time, and what others need the memory of. The first time, what
        was to stay for longer, by a setting of before, is to stay for as long as pictures do now.
        """
        memory = self._redis.info("memory")
        total = self._redis.hget(KEPT_TOTAL, "bytes") or b"0"
        self._most = self._bound
        if allowed := int(memory.get("maxmemory", 0)):
            spare = int(allowed * FULL) - int(memory["used_memory"])
            self._most = max(0, min(self._bound, int(total) + spare))
        self._make_room()
        if not self._shortened:
            self._shorten()
            self._shortened = True

    def _shorten(self) -> None:
        now_s = int(self._redis.time()[0])
        later = []
        entries: Any = self._redis.zrange(KEPT_INDEX, 0, -1, withscores=True)
        for member, until_s in entries:
            found = _MEMBER.fullmatch(member.decode(errors="replace"))
            kept_s = min(int(found[3]), now_s) if found else 0
            if found and kept_s + self._ttl_s < until_s:
                later.append((member, kept_key(found[1], found[2]), kept_s + self._ttl_s))
        for first in range(0, len(later), AT_ONCE):
            pipe = self._redis.pipeline(transaction=False)
            for member, key, until_s in later[first : first + AT_ONCE]:
                pipe.zadd(KEPT_INDEX, {member: until_s}, xx=True)
                pipe.expire(key, until_s - now_s)
            pipe.execute()

    def _make_room(self, *coming: str | int) -> bytes:
        """The entry of the index for what comes; nothing where there is no room for it."""
        entry, _, malformed = self._script(
            keys=[KEPT_INDEX, KEPT_TOTAL], args=[KEPT_KEYS, self._most, *coming]
        )
        if malformed:
            self._tally("key", malformed)
        return bytes(entry)


class KeptPictures:
    """Reads pictures, for frontends. Methods are coroutines, and raise RedisError."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis

    async def picture(self, trace_id: str, job_id: str) -> bytes | None:
        """A picture as it was kept; None where there is none (any more)."""
        if not (_ID.fullmatch(trace_id) and _ID.fullmatch(job_id)):
            return None
        try:
            found = await self._redis.hget(kept_key(trace_id, job_id), "picture")
        except ResponseError as error:
            if "WRONGTYPE" in str(error):  # none of ours
                return None
            raise
        return found if isinstance(found, bytes) and found else None

    async def which(self, trace_id: str, job_ids: Sequence[str]) -> set[str]:
        """Of some images of a trace, those whose pictures are there."""
        known = [job_id for job_id in job_ids if _ID.fullmatch(job_id)]
        if not known or not _ID.fullmatch(trace_id):
            return set()
        pipe = self._redis.pipeline(transaction=False)
        for job_id in known:
            pipe.exists(kept_key(trace_id, job_id))
        there = await pipe.execute()
        return {job_id for job_id, is_there in zip(known, there, strict=True) if is_there}


def purge(redis: Redis, *, trace_id: str | None = None, older_s: float = 0) -> int:
    """Delete the pictures of one trace, those that are older, or all. Returns how many there were.

    Raises RedisError.
    """
    before_s, deleted = time.time() - older_s, 0
    members = _members(redis)
    for first in range(0, len(members), AT_ONCE):
        keys, gone = [], []
        for member in members[first : first + AT_ONCE]:
            found = _MEMBER.fullmatch(member.decode(errors="replace"))
            if found is None:
                gone += [] if trace_id or older_s else [member]
            elif trace_id in (None, found[1]) and (not older_s or int(found[3]) < before_s):
                keys.append(kept_key(found[1], found[2]))
                gone.append(member)
        # Both at once: who keeps one now looks for its entry when it is there.
        pipe = redis.pipeline()
        if keys:
            pipe.delete(*keys)
        if gone:
            pipe.zrem(KEPT_INDEX, *gone)
        done = pipe.execute()
        deleted += int(done[0]) if keys else 0
    if not older_s:  # the index should have named them all; here it must be so
        for key in _named(redis, f"{KEPT_KEYS}{trace_id or ''}*"):
            deleted += redis.delete(key)
    redis.delete(KEPT_TOTAL)  # who keeps the next one counts what is left
    return deleted


def _members(redis: Redis) -> list[bytes]:
    try:
        return redis.zrange(KEPT_INDEX, 0, -1)  # type: ignore[return-value]  # nothing is decoded
    except ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise
        redis.delete(KEPT_INDEX)  # none of ours
        return []


def _named(redis: Redis, pattern: str) -> list[bytes]:
    try:
        return list(redis.scan_iter(match=pattern, count=AT_ONCE))
    except NoPermissionError:  # a user that may not look for keys; the index has named them
        return []


def rewrite_files(redis: Redis) -> bool:
    """Have Redis write its append-only file anew, without what was deleted. Returns whether it
    does: not where it has none, or this user may not ask for it."""
    try:
        if not redis.info("persistence").get("aof_enabled"):
            return False
        redis.bgrewriteaof()
    except ResponseError:
        return False
    return True
