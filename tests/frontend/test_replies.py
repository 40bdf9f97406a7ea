"""frontend.replies: jobs are looked up when they stay silent, and not before they exist."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from frontend import replies
from pipeline import errors
from pipeline.job import JobState
from tests.servers import RedisProcess


def test_a_job_is_looked_up_only_once_it_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that is still on its way up is not taken for one that is gone."""
    monkeypatch.setattr(replies, "SWEEP_AFTER_S", 0.0)
    monkeypatch.setattr(replies, "SWEEP_EVERY_S", 0.01)
    looked_up: list[str] = []

    async def lookup(job_id: str) -> JobState:
        looked_up.append(job_id)
        raise errors.NotFound("no such job")

    async def main(url: str) -> None:
        redis = Redis.from_url(url)
        waiting = replies.Replies(redis, "test", lookup)
        await waiting.start()
        try:
            slow, gone = waiting.expect("slow"), waiting.expect("gone")
            waiting.enqueued("gone")
            reply = await asyncio.wait_for(gone, 30)
            assert reply.error is not None
            assert reply.error.code == errors.JobExpired.code
            assert looked_up == ["gone"]
            assert not slow.done()
        finally:
            await waiting.close()
            await redis.aclose()

    with RedisProcess(tmp_path) as server:
        asyncio.run(main(server.url))
