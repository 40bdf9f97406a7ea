"""Requests that a client sends again with the same Idempotency-Key, because it does not know what
became of the first: they get the first one's job."""

from __future__ import annotations

import asyncio
from functools import partial

from frontend.image_request import ImageRequest
from pipeline.errors import KeyReused, NotFound
from pipeline.queue.idempotency import First, Once, fingerprint, key_of
from pipeline.queue.producer import Producer

#: Fingerprints of images above this are taken in a thread.
LARGE_BYTES = 256 * 1024
#: States of jobs that came to nothing, without any fault of the image: the next request with the
#: same key begins anew.
GIVEN_UP = ("cancelled", "expired")


class Resends:
    """Recognises what was sent before."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    async def recognise(self, request: ImageRequest, image: bytes, sent: str) -> None:
        """Note with a request that came with a key what it asks for, and the job that it asked for
        before, if there is one. Raises KeyReused or RedisError."""
        take = partial(fingerprint, image, request.options, request.priority, request.pool.model)
        taken = await asyncio.to_thread(take) if len(image) > LARGE_BYTES else take()
        # Where nobody is told apart by a key or a login, by the address.
        key = key_of(request.who.owner or f"address:{request.who.name}", sent)
        request.once = Once(key, taken)
        first = await self._producer.first(key)
        if first is None:
            return
        if first.fingerprint == taken and await self._came_to_nothing(first):
            request.once = Once(key, taken, given_up=first.job_id)
        else:
            self.follow(request, first)

    def follow(self, request: ImageRequest, first: First) -> None:
        """Give a request the job of the one that came first. Raises KeyReused."""
        assert request.once is not None
        if first.fingerprint != request.once.fingerprint:
            raise KeyReused(
                "this Idempotency-Key came before with another image or other parameters; take a "
                "new one for each image"
            )
        request.job_id, request.resent = first.job_id, True

    async def _came_to_nothing(self, first: First) -> bool:
        try:
            return (await self._producer.state(first.job_id)).status in GIVEN_UP
        except NotFound:
            return True
