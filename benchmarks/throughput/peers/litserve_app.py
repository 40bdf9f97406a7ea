"""LitServe: worker processes behind its FastAPI server, with its faster queue."""

import os
from typing import Annotated

import litserve
from fastapi import Body, Response

from benchmarks.throughput.vision import Vision


class Detect(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self._vision = Vision(os.environ["BENCH_MODEL"])

    # The annotation makes FastAPI hand over the raw body; LitServe's default parses JSON.
    def decode_request(self, request: Annotated[bytes, Body()]) -> bytes:
        return request

    def predict(self, data: bytes) -> bytes:
        return self._vision.answer(data)

    def encode_response(self, answer: bytes) -> Response:
        return Response(answer, media_type="application/json")


if __name__ == "__main__":
    server = litserve.LitServer(
        Detect(api_path="/detect"),
        accelerator="cpu",
        workers_per_device=int(os.environ["BENCH_WORKERS"]),
        fast_queue=True,
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        generate_client_file=False,
        log_level="warning",
    )
