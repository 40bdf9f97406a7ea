"""frontend.replies: jobs are looked up when they stay silent, and not before they exist."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from frontend import replies
from pipeline import errors
from pipeline.job import JobError, JobState
from tests.servers import RedisProcess


def test_several_wait_for_one_job(tmp_path: Path) -> None:
    """A client that sends an image again waits for the same job: each request has the reply, one
    that gives up takes it from nobody, and one that comes late looks for itself."""
    known: dict[str, JobState] = {}

    async def lookup(job_id: str) -> JobState:
        return known.get(job_id, JobState(job_id=job_id, status="queued"))

    async def main(url: str) -> None:
        redis = Redis.from_url(url)
        waiting = replies.Replies(redis, "test", lookup)
        await waiting.start()
        try:
            first, second, third = (waiting.expect("a") for _ in range(3))
            await waiting.look("a")
            assert not first.done()
            waiting.forget("a", first)
            failed = JobError(code="inference_failed", message="no")
            known["a"] = JobState(job_id="a", status="failed", error=failed)
            for future in (second, third):
                assert (await asyncio.wait_for(future, 30)).error == failed
            assert not first.done()
            late = waiting.expect("a")
            await waiting.look("a")
            assert late.result().error == failed
            waiting.forget("a", late)
            waiting.forget("b", late)
        finally:
            await waiting.close()
            await redis.aclose()

    with RedisProcess(tmp_path) as server:
        asyncio.run(main(server.url))


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
