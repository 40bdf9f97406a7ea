"""Jobs a second of RQ's own SimpleWorker when the job does nothing: prints the rate."""

import os
import sys
import time

from redis import Redis
from rq import Queue, SimpleWorker


def nothing() -> None:
    """What a worker runs."""


if __name__ == "__main__":
    redis = Redis(unix_socket_path=os.environ["BENCH_REDIS_SOCKET"])
    queue = Queue("nothing", connection=redis)
    count = int(sys.argv[1])
    for _ in range(count):
        queue.enqueue("benchmarks.throughput.peers.rq_nothing.nothing")
    began = time.perf_counter()
    SimpleWorker([queue], connection=redis).work(burst=True, logging_level="ERROR")
    print(count / (time.perf_counter() - began))
