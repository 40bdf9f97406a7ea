"""mosec: its HTTP server in Rust, worker processes over a socket."""

import os

from mosec import Server, Worker

from benchmarks.throughput.vision import Vision


class Detect(Worker):
    def __init__(self) -> None:
        super().__init__()
        self._vision = Vision(os.environ["BENCH_MODEL"])

    def deserialize(self, data: bytes) -> bytes:
        return data

    def serialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: bytes) -> bytes:
        return self._vision.answer(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Detect, num=int(os.environ["BENCH_WORKERS"]))
    server.run()
