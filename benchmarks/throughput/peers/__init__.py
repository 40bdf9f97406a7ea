"""The same work behind other servers; each module runs in an environment of its own.

They read BENCH_MODEL, BENCH_PORT, BENCH_WORKERS and, where they need Redis, BENCH_REDIS_SOCKET.
"""
