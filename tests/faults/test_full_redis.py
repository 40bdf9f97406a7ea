"""A Redis that is full (`maxmemory`, no eviction): what is queued is worked off all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from rq.suspension import resume

from tests.integration import pictures
from tests.servers import Service, eventually
from tests.suspension import suspend_workers

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
IMAGES = 6


@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", ["Redis", "Valkey"])
def test_the_queue_drains(server: str, tmp_path: Path) -> None:
    """Taking, leases and results need no memory that Redis refuses, not even to a worker that was
    started meanwhile. New images are told the cause at once; with memory back, they are taken."""
    (tmp_path / "empty").mkdir()
    env = {"PATH": str(tmp_path / "empty")} if server == "Valkey" else {}
    with Service(tmp_path / "home", **env) as service:
        service.wait_until_ready()
        with service.redis() as redis, service.client() as client:
            assert ("valkey_version" in redis.info("server")) == (server == "Valkey")
            suspend_workers(redis)
            places = []
            for seed in range(IMAGES):
                image = pictures.jpeg(1600, 1200, seed)
                answer = client.post(
                    DETECT, content=image, headers=JPEG | {"prefer": "respond-async"}
                )
                assert answer.status_code == 202
                places.append(answer.headers["location"])
            # Every byte is too many: nothing that is freed changes that.
            redis.config_set("maxmemory", 1)

            def said() -> bool:
                ready = client.get("/readyz")
                return ready.status_code == 503 and "Redis is full" in ready.json()["detail"]

            eventually(said, "/readyz to name the cause")
            refused = client.post(DETECT, content=pictures.jpeg(), headers=JPEG)
            assert refused.status_code == 503
            assert "Redis is full" in refused.json()["detail"]
            assert "retry-after" in refused.headers

            (worker,) = service.children("worker")
            worker.kill()
            resume(redis)

            def finished() -> bool:
                answers = [client.get(place).json() for place in places]
                return all(answer.get("status") == "finished" for answer in answers)

            eventually(finished, "every image that was queued")
            assert not list(redis.scan_iter("damoscope:image:*"))
            assert redis.zcard("rq:wip:detections") == 0
            assert said()

            redis.config_set("maxmemory", 0)
            eventually(
                lambda: (
                    client.post(DETECT, content=pictures.jpeg(), headers=JPEG).status_code == 200
                ),
                "new images to be taken",
            )
        assert "Traceback" not in service.output, service.output
