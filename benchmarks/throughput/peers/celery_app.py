"""Celery and Redis behind FastAPI: `serve` is the frontend, `work` the prefork worker."""

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import uvicorn
from celery import Celery
from fastapi import FastAPI, Request, Response

from benchmarks.throughput.vision import Vision

BROKER = f"{{}}{os.environ['BENCH_REDIS_SOCKET']}"
app = FastAPI(telemetry={"tracing": False})
celery = Celery(
    "bench", broker=BROKER.format("redis+socket://"), backend=BROKER.format("redis+socket://")
)
celery.conf.update(
    task_serializer="pickle",
    result_serializer="pickle",
    accept_content=["pickle"],
    worker_prefetch_multiplier=1,
    result_expires=60,
)
waiting = ThreadPoolExecutor(64)


@cache
def vision() -> Vision:
    return Vision(os.environ["BENCH_MODEL"])


@celery.task(name="detect")
def detect_task(data: bytes) -> bytes:
    return vision().answer(data)


def ask(data: bytes) -> bytes:
    return detect_task.delay(data).get(timeout=60)


@app.post("/detect")
async def detect(request: Request) -> Response:
    data = await request.body()
    answer = await asyncio.get_running_loop().run_in_executor(waiting, ask, data)
    return Response(answer, media_type="application/json")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        uvicorn.run(app, port=int(os.environ["BENCH_PORT"]), log_level="warning", access_log=False)
    else:
        workers = os.environ["BENCH_WORKERS"]
        celery.worker_main(
            ["worker", "--pool=prefork", f"--concurrency={workers}", "--loglevel=WARNING",
             "--without-gossip", "--without-mingle"]
        )  # fmt: skip
