"""Stock RQ behind FastAPI: `serve` is the frontend, `work` one SimpleWorker."""

import os
import sys
from functools import cache

import uvicorn
from fastapi import Depends, FastAPI, Request, Response
from redis import Redis
from rq import Queue, SimpleWorker

from benchmarks.throughput.vision import Vision

app = FastAPI(telemetry={"tracing": False})


@cache
def redis() -> Redis:
    return Redis(unix_socket_path=os.environ["BENCH_REDIS_SOCKET"])


@cache
def queue() -> Queue:
    return Queue("images", connection=redis())


@cache
def vision() -> Vision:
    return Vision(os.environ["BENCH_MODEL"])


def detect_job(data: bytes) -> bytes:
    """What a worker runs."""
    return vision().answer(data)


async def body(request: Request) -> bytes:
    return await request.body()


@app.post("/detect")
def detect(data: bytes = Depends(body)) -> Response:
    # In one of the threads of FastAPI, which waits on the result's stream: no polling.
    job = queue().enqueue("benchmarks.throughput.peers.rq_app.detect_job", data, result_ttl=60)
    result = job.latest_result(timeout=60)
    assert result is not None
    return Response(result.return_value, media_type="application/json")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        uvicorn.run(app, port=int(os.environ["BENCH_PORT"]), log_level="warning", access_log=False)
    else:
        from benchmarks.throughput.peers import rq_app  # where the jobs' function is looked up

        rq_app.vision()
        SimpleWorker([queue()], connection=redis()).work(logging_level="WARNING")
