"""The whole service on a Redis where each kind of process has a user of its own.

The users are those of deploy/redis/users.conf. Redis itself keeps a log of what it has refused: it
must be empty.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import cast
from uuid import uuid4

import httpx
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import NoPermissionError, RedisError

from frontend.detection import DetectionService
from frontend.pages import kept_batches
from frontend.pages.kept_batches import KeptBatches
from monitoring.notify.message import test_notice as notice
from monitoring.notify.queue import enqueue
from monitoring.notify.rate_limit import Limit
from pipeline.errors import NotFound
from pipeline.queue.keys import IMAGE_KEYS
from tests.frontend.pages.test_kept_batches import MINE, Gone, batch
from tests.integration import pictures
from tests.paths import ROOT
from tests.run.models.test_command import install
from tests.servers import (
    ConfiguredRedis,
    Process,
    answers,
    damoscope,
    eventually,
    free_port,
    run,
    worker,
)

USERS = ("admin", "frontend", "worker", "watcher", "reader")


class Site:
    """Redis with users, a frontend, two workers and a watcher, each with its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redis_port, self.port = free_port(), free_port()
        self.passwords = {name: uuid4().hex for name in USERS}
        text = (ROOT / "deploy" / "redis" / "users.conf").read_text()
        for name, password in self.passwords.items():
            text = text.replace(f">{name.upper()}-PASSWORD", f">{password}")
        assert "-PASSWORD " not in re.sub(r"^#.*", "", text, flags=re.MULTILINE)
        (folder / "users.conf").write_text(text)
        self.processes: list[Process] = []
        self.start(
            ConfiguredRedis(
                folder / "redis", f"port {self.redis_port}", "bind 127.0.0.1", "appendonly yes",
                f"include {folder / 'users.conf'}",
            )
        )  # fmt: skip
        self.admin = self.redis("admin")
        eventually(lambda: answers(self.admin), "Redis")
        self.frontend = self.start(
            Process(
                [sys.executable, "-m", "run", "frontend"],
                folder / "frontend",
                {"REDIS_URL": self.url("frontend"), "DAMOSCOPE_PORT": str(self.port),
                 "DAMOSCOPE_RATE_LIMIT": "1000/minute", "DAMOSCOPE_CLIENTS": "hashed"},
            )
        )  # fmt: skip
        self.workers = [
            self.start(
                worker(
                    self.url("worker"),
                    folder / f"worker{number}",
                    DAMOSCOPE_WORKERS="2",
                    DAMOSCOPE_KEEP_IMAGES="thumbnails",
                )
            )
            for number in range(2)
        ]
        self.watcher = self.start(
            Process(
                [sys.executable, "-m", "run", "watcher"],
                folder / "watcher",
                {"REDIS_URL": self.url("watcher"), "DAMOSCOPE_NOTIFY": "json://127.0.0.1:1",
                 "DAMOSCOPE_NOTIFY_RATE": "1/hour", "DAMOSCOPE_REPORT_SCHEDULE": "* * * * *",
                 "DAMOSCOPE_HOME": str(folder / "frontend" / "var")},
            )
        )  # fmt: skip

    def start(self, process: Process) -> Process:
        self.processes.append(process)
        return process

    def url(self, user: str) -> str:
        return f"redis://{user}:{self.passwords[user]}@127.0.0.1:{self.redis_port}/0"

    def redis(self, user: str) -> Redis:
        return Redis.from_url(self.url(user))

    def ready(self) -> None:
        with self.client() as client:

            def ready() -> bool:
                try:
                    return client.get("/readyz").status_code == 200
                except httpx.TransportError:
                    return False

            eventually(ready, "the frontend and a worker")
        for each in self.workers:
            each.wait_for("ready: ")
        self.watcher.wait_for("watching;")

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=120, trust_env=False)

    def refused(self) -> list[str]:
        return [f"{each['username']}: {each['reason']} {each['object']} ({each['context']})"
                for each in self.admin.acl_log()]  # fmt: skip

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("users"))
    try:
        found.ready()
        yield found
    finally:
        found.stop()


def test_everything_works_and_nothing_is_refused(site: Site) -> None:
    """Images, results to be fetched, statistics, pages, alerts, silences, notices; a worker that is
    killed in the midst of an image, whose image another one answers."""
    image = {"content": pictures.jpeg(), "headers": {"content-type": "image/jpeg"}}
    with site.client() as client:
        answer = client.post("/api/v1/detect", **image)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text + site.frontend.output
        trace_id, job_id = answer.json()["trace_id"], answer.json()["job_id"]
        picture = f"/api/v1/traces/{trace_id}/images/{job_id}"
        eventually(lambda: client.get(picture).status_code == 200, "its picture")
        headers = image["headers"] | {"prefer": "respond-async"}  # type: ignore[operator]
        later = client.post("/api/v1/detect", content=image["content"], headers=headers)  # type: ignore[arg-type]
        assert later.status_code == 202
        eventually(
            lambda: client.get(later.headers["location"]).json()["status"] == "finished", "a result"
        )
        for path in ("/", "/api/v1/stats", "/api/v1/alerts", "/api/v1/report", "/monitor"):
            assert client.get(path, follow_redirects=True).status_code == 200, path
        silence = client.post(
            "/api/v1/alerts/silences", json={"name": "*", "minutes": 1, "comment": ""}
        )
        assert silence.status_code in (200, 201), silence.text
        assert client.delete(f"/api/v1/alerts/silences/{silence.json()['id']}").is_success

        posted = [
            client.post("/api/v1/detect", content=pictures.slow(), headers=headers)  # type: ignore[arg-type]
            for _ in range(6)
        ]
        places = [each.headers["location"] for each in posted]
        first = site.workers[0]
        eventually(
            lambda: site.admin.zcard("rq:wip:detections") >= 2, "both workers to have an image"
        )
        first.send(signal.SIGKILL)
        eventually(
            lambda: all(client.get(place).json()["status"] == "finished" for place in places),
            "every image to be answered",
        )
    # A notice that is sent, one that is over the rate and summed up, the report of this minute.
    for _ in range(3):
        enqueue(site.admin, notice().model_copy(update={"kind": "firing", "severity": "warning"}))
    site.watcher.wait_for("json (channel 1)")
    eventually(lambda: site.admin.hexists("damoscope:alerts:meta", "evaluated_at"), "evaluations")
    eventually(lambda: list(site.admin.scan_iter("rq:job:damoscope-report-*")), "the report's turn")
    assert site.refused() == []


def test_windows_of_rates_that_are_over(site: Site) -> None:
    """What was counted in one becomes, under another name, what counted before it: a client's
    images, and a channel's notices."""
    image = {"content": pictures.jpeg(), "headers": {"content-type": "image/jpeg"}}

    def half_over(pattern: str, seconds: int) -> None:
        for key in site.admin.scan_iter(pattern):
            site.admin.expire(key, seconds)

    with site.client() as client:
        assert client.post("/api/v1/detect", **image).status_code == 200  # type: ignore[arg-type]
        half_over("LIMITS:*", 30)
        answer = client.post("/api/v1/detect", **image)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
    assert len(list(site.admin.scan_iter("LIMITS:*"))) == 2
    warning = notice().model_copy(update={"kind": "firing", "severity": "warning"})
    with site.redis("watcher") as redis:
        limit = Limit(redis, "2/hour", 7, "json")
        limit.count()
        half_over("damoscope:notify:*/7/json/*", 1800)
        assert limit.allows(warning)
    assert len(list(site.admin.scan_iter("damoscope:notify:*/7/json/*"))) == 2
    assert site.refused() == []


def test_images_are_withdrawn(site: Site) -> None:
    """By their clients, while they wait: the frontend takes them out of the queue."""
    headers = {"content-type": "image/jpeg", "prefer": "respond-async"}
    for each in site.workers[1:]:
        each.send(signal.SIGSTOP)
    try:
        with site.client() as client:
            posted = [
                client.post("/api/v1/detect", content=pictures.jpeg(), headers=headers)
                for _ in range(6)
            ]
            last = client.delete(posted[-1].headers["location"])
            assert (last.status_code, last.json()["status"]) == (200, "cancelled"), last.text
    finally:
        for each in site.workers[1:]:
            each.send(signal.SIGCONT)
    assert site.refused() == []


def test_a_model_that_images_ask_for(site: Site) -> None:
    """A worker of it registers, takes what asks for it, and answers."""
    home = site.folder / "beside" / "var"
    home.mkdir(parents=True)
    install(home)
    with worker(site.url("worker"), site.folder / "beside", DAMOSCOPE_SERVES="mine") as beside:
        beside.wait_for("ready: mine")
        with site.client() as client:
            image = {"content": pictures.jpeg(), "headers": {"content-type": "image/jpeg"}}
            asks = {"model": "mine", "timeout": 120}

            def answered() -> bool:
                answer = client.post("/api/v1/detect", params=asks, **image)  # type: ignore[arg-type]
                return answer.status_code == 200 and answer.json()["model"] == "mine"

            eventually(answered, "an image of that model")
            # And in the shadow, with what another worker has sent on.
            with worker(
                site.url("worker"), site.folder / "sends", DAMOSCOPE_SHADOW="mine",
                DAMOSCOPE_SHADOW_SHARE="1",
            ) as sends:  # fmt: skip
                sends.wait_for("ready:")

                def compared() -> bool:
                    client.post("/api/v1/detect", params={"timeout": 120}, **image)  # type: ignore[arg-type]
                    return bool(client.get("/api/v1/models").json()["shadows"])

                eventually(compared, "a comparison")
    assert site.refused() == []


def test_several_images_keep_their_address(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frontend's user keeps what is done of them, finds it again, and drops the oldest of too
    many."""
    monkeypatch.setattr(kept_batches, "MOST", 2)
    made = [batch() for _ in range(3)]

    async def kept() -> None:
        async with AsyncRedis.from_url(site.url("frontend")) as redis:
            batches = KeptBatches(redis, cast(DetectionService, Gone()), 3600)
            for each in made:
                await batches.keep(each, True)
            with pytest.raises(NotFound):
                await batches.find(made[0].id, MINE)
            assert (await batches.find(made[-1].id, MINE)).count == 3

    asyncio.run(kept())
    assert site.refused() == []


def test_another_model(site: Site) -> None:
    """`damoscope model use`, as the frontend's user, has workers load another one, and go back."""
    for part in ("frontend", "worker0", "worker1"):
        install(site.folder / part / "var")
    for words in (["mine"], ["--reset"]):
        answer = damoscope(
            "model", "use", *words, folder=site.folder / "frontend", REDIS_URL=site.url("frontend")
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
    assert site.refused() == []


def test_every_key_is_in_the_docs(site: Site) -> None:
    """docs/redis.md names all that the tests above have left in Redis, by patterns as `KEYS` has
    them."""
    page = (ROOT / "docs" / "redis.md").read_text(encoding="utf-8")
    table = page.partition("## What is in there")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    patterns = [pattern for row in rows for pattern in re.findall(r"`([^`]+)`", row)]
    keys = {key.decode() for key in site.admin.scan_iter()}
    unnamed = {key for key in keys if not any(fnmatchcase(key, each) for each in patterns)}
    assert len(keys) > 30
    assert unnamed == set()


def test_rq_info(site: Site) -> None:
    """RQ's own view, by a user who can only read: once a worker has cleaned up after those that
    died, which RQ would do itself."""
    registry = "rq:workers:detections"
    eventually(
        lambda: all(site.admin.exists(key) for key in site.admin.smembers(registry)),
        "the killed worker to be forgotten",
    )
    said = run(
        [sys.executable, "-m", "rq.cli", "info", "--url", site.url("reader"), "--raw"], site.folder
    )
    assert said.returncode == 0, said.stderr
    assert "queue detections " in said.stdout
    assert site.refused() == []


FORBIDDEN = {
    "frontend": [
        ("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("ACL", "LIST"), ("MONITOR",),
        ("GET", "other"), ("SORT", "rq:queues", "BY", "nosort", "GET", "*"),
        ("DEL", "rq:worker:x"), ("PUBLISH", "rq:pubsub:x", "y"), ("SHUTDOWN",),
    ],
    "worker": [
        ("FLUSHDB",), ("KEYS", "*"), ("SCAN", "0"), ("HGETALL", "damoscope:alerts:silences"),
        ("RPUSH", "rq:queue:damoscope-notices", "x"), ("GET", "damoscope:clients:salt"),
        ("SET", "damoscope:image:x", "y"), ("SUBSCRIBE", "damoscope:replies:x"),
        ("MODULE", "LIST"), ("REPLICAOF", "127.0.0.1", "1"), ("GET", f"{kept_batches.KEYS}x"),
        ("ZRANGE", kept_batches.INDEX, "0", "1"),
    ],
    "watcher": [
        ("GET", f"{IMAGE_KEYS}x"), ("RPUSH", "rq:queue:detections", "x"), ("KEYS", "*"),
        ("GET", "damoscope:clients:salt"), ("FLUSHALL",), ("SLAVEOF", "NO", "ONE"),
        ("GET", f"{kept_batches.KEYS}x"),
    ],
    "reader": [
        ("SET", "rq:x", "y"), ("DEL", "rq:queues"), ("GET", f"{IMAGE_KEYS}x"),
        ("HGETALL", "damoscope:alerts:states"), ("EVAL", "return 1", "0"), ("PUBLISH", "x", "y"),
        ("GET", f"{kept_batches.KEYS}x"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("user", FORBIDDEN)
def test_what_a_user_may_not(site: Site, user: str) -> None:
    """Each of them: other keys, other channels, and whatever an administrator does."""
    with site.redis(user) as client:
        for command in FORBIDDEN[user]:
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)
    with pytest.raises(RedisError, match=r"NOAUTH|authenticate"):
        Redis(port=site.redis_port).get("x")
