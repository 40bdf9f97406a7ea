"""What so many workers cost: Redis' own counts, and what a frontend's look at all of them takes."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from benchmarks.throughput.process import HOST
from pipeline.job import DetectJob, DetectOptions, ImageInfo
from pipeline.queue.producer import Producer
from pipeline.queue.workers import look

#: Looks of a frontend that are timed.
LOOKS = 10
#: Channel on which the answers are heard.
REPLIES = "damoscope:replies:benchmark"
#: Seconds in which all that was sent must be answered.
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Counts:
    """Of Redis, since it was started."""

    at_s: float
    #: Those that scripts make included.
    commands: int
    bytes_in: int
    bytes_out: int
    cpu_s: float

    @classmethod
    def of(cls, redis: Redis) -> Counts:
        """Now."""
        told = redis.info()
        cpu_s = told["used_cpu_user_main_thread"] + told["used_cpu_sys_main_thread"]
        return cls(
            time.monotonic(), told["total_commands_processed"], told["total_net_input_bytes"],
            told["total_net_output_bytes"], cpu_s,
        )  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """A second's, or an image's."""

    commands: float
    bytes_in: float
    bytes_out: float
    #: Milliseconds of CPU.
    cpu_ms: float

    @classmethod
    def between(cls, before: Counts, after: Counts, parts: float, idle: Cost | None = None) -> Cost:
        """Of each of so many parts, without what idling costs in that time."""
        seconds = after.at_s - before.at_s

        def part(grown: float, rest: float) -> float:
            return (grown - rest * seconds) / parts

        return cls(
            part(after.commands - before.commands, idle.commands if idle else 0),
            part(after.bytes_in - before.bytes_in, idle.bytes_in if idle else 0),
            part(after.bytes_out - before.bytes_out, idle.bytes_out if idle else 0),
            part(1000 * (after.cpu_s - before.cpu_s), idle.cpu_ms if idle else 0),
        )


def idle(redis: Redis, seconds: float) -> Cost:
    """A second of all workers that have nothing to do."""
    before = Counts.of(redis)
    time.sleep(seconds)
    after = Counts.of(redis)
    return Cost.between(before, after, after.at_s - before.at_s)


def images(redis: Redis, port: int, count: int, rate: float, image: bytes, resting: Cost) -> Cost:
    """One of so many images that come evenly, and are answered. Raises RuntimeError when not."""
    before = Counts.of(redis)
    asyncio.run(_send(port, count, rate, image))
    return Cost.between(before, Counts.of(redis), count, resting)


async def _send(port: int, count: int, rate: float, image: bytes) -> None:
    redis = AsyncRedis(host=HOST, port=port)
    heard = redis.pubsub()
    await heard.subscribe(REPLIES)
    producer = Producer(redis, queue_max=count, job_ttl_s=600, result_ttl_s=60, attempts_max=3)
    info = ImageInfo(width=160, height=120, format="JPEG", bytes=len(image))
    job = DetectJob(options=DetectOptions(), image=info, upload_ms=0.0)
    began = time.monotonic()

    async def send() -> None:
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            job_id = secrets.token_hex(16)
            meta = {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}
            await producer.store_image(job_id, image)
            await producer.enqueue(job_id, job, priority="normal", meta=meta, reply_to=REPLIES)

    sending, answered = asyncio.create_task(send()), 0
    while answered < count:
        if time.monotonic() > began + count / rate + PATIENCE_S:
            raise RuntimeError(f"{answered} of {count} images answered")
        if await heard.get_message(ignore_subscribe_messages=True, timeout=1.0):
            answered += 1
    await sending
    await heard.aclose()  # type: ignore[no-untyped-call]
    await redis.aclose()


async def looks(port: int) -> tuple[int, float]:
    """How many workers a frontend sees, and the CPU that a look takes it, in milliseconds."""
    redis = AsyncRedis(host=HOST, port=port)
    seen = len((await look(redis)).workers)
    began = time.process_time()
    for _ in range(LOOKS):
        await look(redis)
    took_ms = 1000 * (time.process_time() - began) / LOOKS
    await redis.aclose()
    return seen, took_ms
