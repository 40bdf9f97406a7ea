"""Ray Serve: replicas of one core each behind its proxy."""

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

WORKERS = int(os.environ["BENCH_WORKERS"])


@serve.deployment(num_replicas=WORKERS, max_ongoing_requests=2, ray_actor_options={"num_cpus": 1})
class Detect:
    def __init__(self) -> None:
        from benchmarks.throughput.vision import Vision

        self._vision = Vision(os.environ["BENCH_MODEL"])
        # One inference at a time; the next request is received meanwhile.
        self._pool = ThreadPoolExecutor(1)

    async def __call__(self, request: Request) -> Response:
        data = await request.body()
        answer = await asyncio.get_running_loop().run_in_executor(
            self._pool, self._vision.answer, data
        )
        return Response(answer, media_type="application/json")


if __name__ == "__main__":
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["BENCH_PORT"])})
    serve.run(Detect.bind(), route_prefix="/detect")
    ended.wait()
    serve.shutdown()
    ray.shutdown()
