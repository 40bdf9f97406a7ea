"""Stub workers: many in one process.

    python -m benchmarks.fleet.stubs PORT RECORDING PREFIX COUNT

Each takes, and finishes, as a worker does: with the product's own `Consumer`, on a connection and
in a thread of its own. In place of its heartbeat it sends, on another connection and once a second,
what a real worker was recorded to send. Its inference is a pause. Nothing of it is told to
OpenTelemetry. Prints `ready` once all are registered, and works until SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

from redis import Redis
from rq.worker import BaseWorker

from benchmarks.fleet.recording import Recording
from benchmarks.throughput.process import HOST
from pipeline.job import DetectionResult, ImageInfo, Timings
from pipeline.queue.consumer import Consumer
from pipeline.queue.keys import QUEUES
from pipeline.queue.workers import facts
from worker.loop import HEARTBEAT_S, WORKER_TTL_S
from worker.taking import IDLE_WAIT_S

#: Seconds that an image is said to take, and images of a batch at most.
INFERENCE_S, BATCH_MAX = 0.005, 8
#: Of a thread: hundreds of them do next to nothing.
STACK_BYTES = 256 * 1024


class Stub:
    """One of them."""

    def __init__(self, redis: Redis, name: str) -> None:
        worker = BaseWorker(list(QUEUES.values()), name=name, connection=redis, serializer="json")
        worker.register_birth()
        redis.hset(worker.key, mapping=FACTS)  # type: ignore[arg-type]
        redis.expire(worker.key, 4 * WORKER_TTL_S)  # until its first beat
        self._name = name
        self._consumer = Consumer(redis, name, result_ttl_s=60)
        self._consumer.pace_s = INFERENCE_S

    def work(self, stopping: threading.Event) -> None:
        """Take, pause, finish; again and again."""
        while not stopping.is_set():
            jobs = self._consumer.take(BATCH_MAX)
            if not jobs:
                self._consumer.wait(IDLE_WAIT_S)
                continue
            time.sleep(INFERENCE_S * len(jobs))
            self._consumer.finish([(job, self._result(job.job_id)) for job in jobs], 0.0)

    def _result(self, job_id: str) -> bytes:
        result = RESULT.model_copy(update={"job_id": job_id, "worker": self._name})
        return result.model_dump_json().encode()


FACTS = facts(
    model="stub", model_version="0" * 12, provider="CPUExecutionProvider", fallback=False,
    labels=["phone"], score_threshold=0.4, iou_threshold=0.5, input_side=320,
) | {"state": "idle"}  # fmt: skip
RESULT = DetectionResult(
    job_id="", trace_id="", model="stub", provider="cpu", detections=[], batch_size=1, worker="",
    image=ImageInfo(width=160, height=120, format="JPEG", bytes=1),
    timings_ms=Timings(upload=1, queue_wait=1, preprocess=1, inference=1, nms=1, total=5),
)  # fmt: skip


class Beats(asyncio.Protocol):
    """One stub's connection for what was recorded. Answers are not looked at."""

    def __init__(self, recording: Recording, name: str, phase: float) -> None:
        self._recording, self._name, self._phase = recording, name.encode(), phase
        self._second = int(phase * len(recording.seconds))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + self._phase * HEARTBEAT_S
        self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        self._transport.write(self._recording.at(self._second, self._name))
        self._second += 1
        self._due += HEARTBEAT_S
        self._loop.call_at(self._due, self._beat)


async def beat(port: int, recording: Recording, names: list[str]) -> None:
    """Beat for all of them until SIGTERM."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    for number, name in enumerate(names):
        phase = number / len(names)
        await loop.create_connection(partial(Beats, recording, name, phase), HOST, port)
    print("ready", flush=True)
    await stopping.wait()


def main() -> None:
    port, path, prefix, count = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    recording = Recording.read(path)
    width = len(recording.worker) - len(prefix)
    names = [f"{prefix}{number:0{width}}" for number in range(count)]
    stopping = threading.Event()
    threading.stack_size(STACK_BYTES)
    for name in names:
        stub = Stub(Redis(HOST, port), name)
        threading.Thread(target=stub.work, args=[stopping], daemon=True).start()
    asyncio.run(beat(port, recording, names))
    stopping.set()


if __name__ == "__main__":
    main()
