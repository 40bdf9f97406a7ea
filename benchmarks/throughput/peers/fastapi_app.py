"""FastAPI, one process, a pool of threads that share one session."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from fastapi import FastAPI, Request, Response

from benchmarks.throughput.vision import Vision

vision = Vision(os.environ["BENCH_MODEL"])
pool = ThreadPoolExecutor(int(os.environ["BENCH_WORKERS"]))
app = FastAPI(telemetry={"tracing": False})


@app.post("/detect")
async def detect(request: Request) -> Response:
    data = await request.body()
    answer = await asyncio.get_running_loop().run_in_executor(pool, vision.answer, data)
    return Response(answer, media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["BENCH_PORT"]), log_level="warning", access_log=False)
