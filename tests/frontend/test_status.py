"""frontend.status: what the gauges of queue and workers say, over a real Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from redis.asyncio import Redis

from frontend.status import Status
from pipeline.queue.keys import WORKERS_KEY
from telemetry import catalogue
from telemetry.instruments import Instruments
from tests.servers import RedisProcess


def test_workers_that_fell_back(tmp_path: Path) -> None:
    """Workers say themselves that they run on the CPU of a host with a GPU; they are counted."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)

    async def look(url: str) -> None:
        async with Redis.from_url(url) as redis:
            for name, facts in {
                "a": {"state": "idle", "damoscope_fallback": "1", "damoscope_model": "phone"},
                "b": {"state": "busy", "damoscope_fallback": "0", "damoscope_model": "phone"},
                "old": {"state": "busy"},
            }.items():
                await redis.sadd(WORKERS_KEY, f"rq:worker:{name}")  # type: ignore[misc]
                await redis.hset(f"rq:worker:{name}", mapping=facts)  # type: ignore[misc]
            status = Status(redis)
            status.observe(Instruments(provider.get_meter("test")))
            await status.refresh()
            assert {worker.name for worker in status.snapshot.workers if worker.fallback} == {"a"}

    with RedisProcess(tmp_path) as server:
        asyncio.run(look(server.url))
    data = reader.get_metrics_data()
    assert data is not None
    found = {
        metric.name: [point.value for point in metric.data.data_points]  # type: ignore[union-attr]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }
    assert found[catalogue.WORKERS_FALLBACK.name] == [1]
    assert found[catalogue.WORKERS.name] == [2, 1]
    assert found[catalogue.WORKER_MODELS.name] == [2]  # one says nothing of its model
    provider.shutdown()
