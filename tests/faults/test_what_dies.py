"""Worker, watcher and Redis are killed under clients that wait: each request is counted once, as
what its client was told."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.faults.test_clients import DETECT, JPEG, eventually_counted, waiting
from tests.integration.pictures import jpeg
from tests.servers import Service, caught, eventually

CLIENTS, EACH = 8, 4
#: What a client is told, and what its request counts as.
OUTCOMES = {200: "ok", 500: "failed", 503: "rejected", 504: "timeout"}


def redis_of(service: Service) -> psutil.Process:
    """The Redis that the service has started."""
    (found,) = (
        each for each in service.family() if each.name() in ("redis-server", "valkey-server")
    )
    return found


@pytest.mark.timeout(600)
def test_all_are_counted_whatever_dies(tmp_path: Path) -> None:
    """With images in hand and others that wait. Afterwards it works, and that counts as well."""
    with (
        Service(tmp_path / "home", DAMOSCOPE_WORKERS="1").wait_until_ready() as service,
        service.client() as client,
    ):

        def post(seed: int, **params: float) -> str:
            image = jpeg(1600, 1200, seed)
            answer = client.post(DETECT, content=image, headers=JPEG, params=params)
            return OUTCOMES[answer.status_code]

        def one_after_another(number: int) -> Counter[str]:
            return Counter(post(EACH * number + each, timeout=60) for each in range(EACH))

        with ThreadPoolExecutor(CLIENTS) as pool, service.redis() as redis:
            told = [pool.submit(one_after_another, number) for number in range(CLIENTS)]
            (worker,) = service.children("worker")
            caught(worker, lambda: redis.zcard("rq:wip:detections"), "an image in hand")
            for name in ("worker", "watcher"):
                for process in service.children(name):
                    process.kill()
            assert waiting(redis) + int(redis.zcard("rq:wip:detections")) > 0  # type: ignore[arg-type]
            redis_of(service).kill()
            counted = sum((each.result() for each in told), Counter[str]())
        assert counted.total() == CLIENTS * EACH

        def works() -> bool:
            outcome = post(0)
            counted[outcome] += 1
            return outcome == "ok"

        eventually(works, "an image afterwards")
        eventually_counted(client, {}, dict(counted))
