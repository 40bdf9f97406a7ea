"""A frontend that is told to stop finishes what it has in hand, for a while, and says so."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from rq.job import Job
from rq.suspension import resume

from pipeline.queue.keys import QUEUE_KEYS
from tests.integration import pictures
from tests.servers import PATIENCE_S, Process, RedisProcess, eventually, free_port, worker
from tests.suspension import suspend_workers

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
#: Longer than any test takes.
FOREVER_S = "600"


class Site:
    """A Redis and a worker, which can be told to take nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._workers = folder, 0
        self.redis = RedisProcess(folder / "redis")
        self.worker = self._start_worker()

    def _start_worker(self) -> Process:
        self._workers += 1
        started = worker(self.redis.url, self._folder / f"worker-{self._workers}")
        started.wait_for("ready:")
        return started

    def take_nothing(self) -> None:
        """Images that come from now on stay in the queue, though a worker is there."""
        if not self.worker.running:
            self.worker = self._start_worker()
        suspend_workers(self.redis.client)

    def waiting(self) -> int:
        """Images in the queue."""
        return sum(self.redis.client.llen(key) for key in QUEUE_KEYS)

    def close(self) -> None:
        self.worker.stop()
        self.redis.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.close()


class Frontend(Process):
    """`damoscope frontend`, without pages."""

    def __init__(self, site: Site, folder: Path, drain_s: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        env = {
            "REDIS_URL": site.redis.url,
            "DAMOSCOPE_PORT": str(self.port),
            "DAMOSCOPE_PAGES": "false",
            "DAMOSCOPE_DRAIN_S": drain_s,
        }
        super().__init__([sys.executable, "-m", "run", "frontend"], folder, env)

    def get(self, path: str) -> httpx.Response | None:
        try:
            return httpx.get(f"{self.url}{path}", timeout=PATIENCE_S)
        except httpx.TransportError:
            return None

    def wait_until_ready(self) -> Frontend:
        eventually(lambda: (a := self.get("/readyz")) and a.status_code == 200, "the frontend")
        return self

    def begin_to_stop(self) -> None:
        self.send(signal.SIGTERM)

        def stops() -> bool:  # where it may take two seconds only, it may have stopped by now
            answer = self.get("/readyz")
            return not self.running if answer is None else answer.status_code == 503

        eventually(stops, "it to stop")

    def post(self) -> httpx.Response:
        return httpx.post(
            f"{self.url}{DETECT}", params={"timeout": 120}, content=pictures.jpeg(), headers=JPEG,
            timeout=PATIENCE_S,
        )  # fmt: skip


class Client:
    """One that waits for its answer, on another thread."""

    def __init__(self, site: Site, frontend: Frontend) -> None:
        waiting = site.waiting()
        self._pool = ThreadPoolExecutor(1)
        self.answer: Future[httpx.Response] = self._pool.submit(frontend.post)
        eventually(lambda: self.answer.done() or site.waiting() > waiting, "the image in the queue")
        self._pool.shutdown(wait=False)


@pytest.fixture
def taking_nothing(site: Site) -> Iterator[Site]:
    site.take_nothing()
    yield site
    resume(site.redis.client)


def test_what_is_in_hand_is_finished(taking_nothing: Site, tmp_path: Path) -> None:
    """After SIGTERM whoever waits is answered with a result; new images are refused, with
    `Retry-After`, on connections that close; `/readyz` says why, `/healthz` is well."""
    with Frontend(taking_nothing, tmp_path, FOREVER_S).wait_until_ready() as frontend:
        with httpx.Client(base_url=frontend.url, timeout=PATIENCE_S) as kept:
            assert "connection" not in kept.get("/healthz").headers
            client = Client(taking_nothing, frontend)
            frontend.begin_to_stop()
            refused = kept.post(DETECT, content=pictures.jpeg(), headers=JPEG)
            assert refused.status_code == 503
            assert "the service stops" in refused.json()["detail"]
            assert int(refused.headers["retry-after"]) > 0
            assert refused.headers["connection"] == "close"
            assert kept.get("/healthz").status_code == 200
            assert "the service stops" in kept.get("/readyz").json()["detail"]
        assert not client.answer.done()
        resume(taking_nothing.redis.client)
        answer = client.answer.result(PATIENCE_S)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close"), answer.text
        assert frontend.wait() == 0
        assert "Traceback" not in frontend.output


@pytest.mark.parametrize("why", ["the limit", "a second signal", "nobody works"])
def test_what_cannot_be_finished(taking_nothing: Site, tmp_path: Path, why: str) -> None:
    """After the limit, at a second signal, or when there is no worker whose answer could come:
    503 with the job's address, where it goes on; uploads that are under way get theirs, too."""
    drain_s = "2" if why == "the limit" else FOREVER_S
    with Frontend(taking_nothing, tmp_path, drain_s).wait_until_ready() as frontend:
        client = Client(taking_nothing, frontend)
        with socket.create_connection(("127.0.0.1", frontend.port), PATIENCE_S) as uploading:
            uploading.sendall(
                f"POST {DETECT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
                "Content-Length: 1000\r\n\r\nhalf".encode()
            )
            frontend.begin_to_stop()
            if why == "a second signal":
                frontend.send(signal.SIGTERM)
            elif why == "nobody works":
                taking_nothing.worker.send(signal.SIGTERM)
            told = uploading.recv(65536).decode().lower()
        answer = client.answer.result(PATIENCE_S)
        assert answer.status_code == 503, answer.text
        assert "the image stays queued" in answer.json()["detail"]
        assert told.startswith("http/1.1 503")
        assert "retry-after: " in told
        assert "connection: close" in told
        assert frontend.wait() == 0
        assert "Traceback" not in frontend.output
    job_id = answer.headers["location"].rpartition("/")[2]
    job = Job.fetch(job_id, connection=taking_nothing.redis.client, serializer="json")
    assert job.get_status() == "queued"
