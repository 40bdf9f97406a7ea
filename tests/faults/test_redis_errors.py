"""Every error of Redis is survived: each is brought about for real, under workers that are idle,
busy and suspended, and has to be gone seconds after its cause.

A client gets 503 with the cause meanwhile, never 500; nothing is restarted; the log has one line a
minute for each cause.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from rq.suspension import resume

from tests.integration import pictures
from tests.servers import ConfiguredRedis, Service, answers, eventually, free_port
from tests.suspension import next_heartbeats, suspend_workers

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
#: Seconds that each fault lasts at least; those of a lease, a heartbeat and more looks at Redis.
FAULT_S = 5.0


class Faults:
    """A Redis and the service over it. Each fault is a context: within, Redis has it."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.server = ConfiguredRedis(
            folder / "redis", f"port {port}", "bind 127.0.0.1", "enable-debug-command yes",
            "appendonly no", "save ''", "stop-writes-on-bgsave-error yes",
            "user worker on >secret ~* &* +@all",
        )  # fmt: skip
        self.folder = folder / "redis"
        self.redis = Redis(port=port)
        eventually(lambda: answers(self.redis), self.server.output)
        self.service = Service(folder / "home", REDIS_URL=f"redis://worker:secret@127.0.0.1:{port}")

    def close(self) -> None:
        self.service.stop()
        self.redis.close()
        self.server.stop()

    def set(self, name: str, value: str | int) -> None:
        self.redis.config_set(name, value)

    @contextmanager
    def oom(self) -> Iterator[None]:
        self.set("maxmemory", 1)
        yield
        self.set("maxmemory", 0)

    @contextmanager
    def readonly(self) -> Iterator[None]:
        """A replica of nobody: writes are refused, reads are answered."""
        with socket.socket() as nobody:  # bound, and listens not: nothing else gets this port
            nobody.bind(("127.0.0.1", 0))
            self.redis.replicaof("127.0.0.1", nobody.getsockname()[1])
            yield
            self.redis.replicaof("NO", "ONE")

    @contextmanager
    def masterdown(self) -> Iterator[None]:
        """The same, and reads are refused as well."""
        self.set("replica-serve-stale-data", "no")
        with self.readonly():
            yield
        self.set("replica-serve-stale-data", "yes")

    @contextmanager
    def noreplicas(self) -> Iterator[None]:
        self.set("min-replicas-to-write", 1)
        yield
        self.set("min-replicas-to-write", 0)

    @contextmanager
    def misconf(self) -> Iterator[None]:
        """It cannot save: a folder is where its file would be."""
        (self.folder / "dump.rdb").unlink(missing_ok=True)
        (self.folder / "dump.rdb").mkdir()
        self.set("save", "1 1")
        try:
            with suppress(ResponseError):  # it has begun to by itself
                self.redis.bgsave()
            eventually(
                lambda: self.redis.info("persistence")["rdb_last_bgsave_status"] == "err",
                "a save that fails",
            )
            yield
        finally:
            self.set("save", "")
            (self.folder / "dump.rdb").rmdir()

    @contextmanager
    def noperm(self) -> Iterator[None]:
        self.redis.execute_command("ACL", "SETUSER", "worker", "-@all", "+ping")
        yield
        self.redis.execute_command("ACL", "SETUSER", "worker", "+@all")

    @contextmanager
    def loading(self) -> Iterator[None]:
        """It loads a file of many keys, each slowly."""
        filled = self.redis.pipeline(transaction=False)
        for number in range(3000):
            filled.set(f"filler:{number}", "", ex=600)
        filled.execute()
        self.set("key-load-delay", 1500)  # microseconds for each key
        self.set("loading-process-events-interval-bytes", 1024)
        reloading = threading.Thread(target=self._reload)
        reloading.start()
        yield
        reloading.join()
        self.set("key-load-delay", 0)

    def _reload(self) -> None:
        with Redis(port=self.redis.get_connection_kwargs()["port"], socket_timeout=120) as other:
            other.execute_command("DEBUG", "RELOAD")

    @contextmanager
    def busy(self) -> Iterator[None]:
        """A script that does not end."""
        self.set("busy-reply-threshold", 50)
        endless = threading.Thread(target=self._endless)
        endless.start()
        yield
        eventually(self._killed, "the script to be killed")
        endless.join()
        self.set("busy-reply-threshold", 5000)

    def _endless(self) -> None:
        port = self.redis.get_connection_kwargs()["port"]
        with Redis(port=port, socket_timeout=120) as other, pytest.raises(RedisError):
            other.eval("while true do end", 0)

    def _killed(self) -> bool:
        try:
            return bool(self.redis.script_kill())
        except RedisError as error:
            return "NOTBUSY" in str(error)


#: How the context is called, and what is said of it.
FAULTS: dict[str, tuple[Callable[[Faults], object], str]] = {
    "OOM": (Faults.oom, "Redis is full"),
    "READONLY": (Faults.readonly, "Redis takes no writes"),
    "MASTERDOWN": (Faults.masterdown, "Redis is a replica that has lost its primary"),
    "NOREPLICAS": (Faults.noreplicas, "Redis has too few replicas to take writes"),
    "MISCONF": (Faults.misconf, "Redis cannot write to its disk"),
    "NOPERM": (Faults.noperm, "Redis does not let our user do this"),
    "LOADING": (Faults.loading, "Redis is loading its data"),
    "BUSY": (Faults.busy, "Redis is busy with a script"),
}


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faults]:
    made = Faults(tmp_path_factory.mktemp("faults"))
    try:
        made.service.wait_until_ready()
        made.service.wait_for("watching;")
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def undisturbed(faults: Faults) -> Iterator[None]:
    """No process ends for a fault, and nobody says more than a line about it."""
    before, said = pids(faults.service), len(faults.service.output)
    yield
    assert pids(faults.service) == before, faults.service.output
    output = faults.service.output[said:]
    assert " ended with " not in output
    assert "Traceback" not in output, output
    lines = Counter(
        (line.split()[2], sentence)
        for line in output.splitlines()
        for _, sentence in FAULTS.values()
        # What this means for alerts is said beside what it means for the queue of notices.
        if sentence in line and "alerts are not evaluated" not in line
    )
    # Of the frontend's there may be another: the first image that is refused, with its trace.
    assert set(lines.values()) <= {1, 2}, output


def pids(service: Service) -> list[int]:
    names = ("worker", "frontend", "watcher")
    return [process.pid for name in names for process in service.children(name)]


class Client(threading.Thread):
    """Sends an image and looks at /readyz again and again, until it is told to stop."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self._service, self._over = service, threading.Event()
        #: Status and detail of each answer, of images and of /readyz.
        self.images: Counter[tuple[int, str]] = Counter()
        self.ready: Counter[tuple[int, str]] = Counter()

    def run(self) -> None:
        with self._service.client() as client:
            while not self._over.wait(0.2):
                for answer, said in (
                    (client.post(DETECT, content=pictures.jpeg(), headers=JPEG), self.images),
                    (client.get("/readyz"), self.ready),
                ):
                    said[answer.status_code, str(answer.json().get("detail", ""))] += 1

    def stop(self) -> None:
        self._over.set()
        self.join()


def works(service: Service) -> bool:
    with service.client() as client:
        return client.post(DETECT, content=pictures.jpeg(), headers=JPEG).status_code == 200


def works_again(faults: Faults) -> None:
    """Wait until the service works, and goes on to: while Redis took no writes, the workers'
    registrations have aged, and one of them may be about to expire."""
    next_heartbeats(faults.redis)
    eventually(lambda: works(faults.service), "the service to work")


def submitted(service: Service, image: bytes) -> str:
    """Where the state of an image is that nobody waits for."""
    with service.client() as client:
        answer = client.post(DETECT, content=image, headers=JPEG | {"prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    return str(answer.headers["location"])


def finished(service: Service, place: str) -> bool:
    with service.client() as client:
        answer = client.get(place)
    return answer.status_code == 200 and answer.json()["status"] == "finished"


@pytest.mark.parametrize("name", FAULTS)
def test_workers_that_are_busy_and_then_idle(
    faults: Faults, name: str, record_property: Callable[[str, object], None]
) -> None:
    """The images in hand are answered, once each; clients are told the cause meanwhile; then all
    goes on."""
    fault, sentence = FAULTS[name]
    service = faults.service
    works_again(faults)
    places = [submitted(service, pictures.jpeg(2000, 1500, seed=seed)) for seed in range(6)]
    with fault(faults):  # type: ignore[attr-defined]
        client = Client(service)
        client.start()
        time.sleep(FAULT_S)
        eventually(lambda: any(sentence in detail for _, detail in list(client.ready)), sentence)
        client.stop()
    began = time.monotonic()
    eventually(lambda: works(service), "an image to be answered")
    record_property("answers_after_s", round(time.monotonic() - began, 1))
    for place in places:
        eventually(lambda place=place: finished(service, place), f"the image {place}")
    record_property("all_after_s", round(time.monotonic() - began, 1))
    assert {status for status, _ in client.images} <= {200, 503}, client.images
    refusals = [detail for status, detail in client.images if status == 503]
    assert any(sentence in detail for detail in refusals), client.images
    assert faults.redis.zcard("rq:failed:detections") == 0


def test_workers_that_are_suspended(faults: Faults) -> None:
    """The same faults, one after the other, under suspended workers; resumed, they go on."""
    service = faults.service
    works_again(faults)
    suspend_workers(faults.redis)
    place = submitted(service, pictures.jpeg())
    for fault, _ in FAULTS.values():
        with fault(faults):  # type: ignore[attr-defined]
            time.sleep(FAULT_S)
        next_heartbeats(faults.redis)
        eventually(lambda: is_ready(service), "the workers to be seen")
    assert not finished(service, place)
    resume(faults.redis)
    eventually(lambda: finished(service, place), "the image that waited")
    eventually(lambda: works(service), "the service to work")


def is_ready(service: Service) -> bool:
    with service.client() as client:
        return client.get("/readyz").status_code == 200
