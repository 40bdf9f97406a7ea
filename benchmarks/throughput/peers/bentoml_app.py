"""BentoML: one worker, a pool of threads that share one session.

The route is mounted as an ASGI app, so that the raw body arrives as it does everywhere else;
BentoML's own file inputs go through a temporary file, which costs more.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.throughput.vision import Vision

WORKERS = int(os.environ["BENCH_WORKERS"])
vision = Vision(os.environ["BENCH_MODEL"])
pool = ThreadPoolExecutor(WORKERS)


async def detect(request: Request) -> Response:
    data = await request.body()
    answer = await asyncio.get_running_loop().run_in_executor(pool, vision.answer, data)
    return Response(answer, media_type="application/json")


@bentoml.asgi_app(Starlette(routes=[Route("/", detect, methods=["POST"])]), path="/detect")
@bentoml.service(workers=1, threads=WORKERS, traffic={"timeout": 60})
class Detect:
    @bentoml.api
    def ready(self) -> bool:
        """A service must have an API of BentoML's own."""
        return True
