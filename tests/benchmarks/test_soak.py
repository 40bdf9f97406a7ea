"""The soak: what it counts, and a few seconds of it."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak import ledger
from benchmarks.soak.__main__ import main
from benchmarks.soak.kills import WEIGHTS, order
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.usage import Usage
from run.load.connection import HttpAnswer, Target
from tests.paths import ROOT
from tests.run.load.stub import answer
from tests.servers import RedisProcess

JOBS = [f"00000000-0000-0000-0000-{number:012d}" for number in range(6)]


def place(job: str) -> str:
    return f"/api/v1/jobs/{job}"


def accepted(job: str) -> HttpAnswer:
    return HttpAnswer(202, {b"location": place(job).encode()}, b"{}", 2)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "FIRST_S", 0.0)
    monkeypatch.setattr(ledger, "ROUND_S", 0.05)


@pytest.mark.usefixtures("at_once")
def test_what_became_of_each_image(tmp_path: Path) -> None:
    """Answered, answered twice, forgotten, failed, and one that is never begun; a frontend that
    breaks a connection or refuses is asked again."""
    states = {
        JOBS[0]: [b'{"status": "started"}', b'{"status": "finished"}'],
        JOBS[1]: [None, b'{"status": "finished"}'],
        JOBS[2]: [b"404"],
        JOBS[3]: [b'{"status": "failed"}'],
        JOBS[4]: [b"503", b'{"status": "queued"}'],
    }
    asked = dict.fromkeys(states, 0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                line = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
                job = line.rpartition("/")[2]
                said = states[job][min(asked[job], len(states[job]) - 1)]
                asked[job] += 1
                if said is None:
                    break
                status = int(said) if said.isdigit() else 200
                body = b'{"type": "urn:damoscope:x"}' if said.isdigit() else said
                writer.write(answer(status, body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def settled(redis: RedisProcess) -> Ledger:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        book, over = Ledger(Target.of(url), redis.client), asyncio.Event()
        for job in states:
            assert book.judge(accepted(job)) == ("202", "")
        body = json.dumps({"job_id": JOBS[5], "detections": []}).encode()
        assert book.judge(HttpAnswer(200, {}, body, len(body))) == ("200", "")
        over.set()
        await book.settle(over, patience_s=1.0)
        server.close()
        return book

    with RedisProcess(tmp_path / "redis") as redis:
        for job, count in ((JOBS[0], 1), (JOBS[1], 2), (JOBS[5], 2)):
            for _ in range(count):
                redis.client.xadd(f"rq:results:{job}", {"type": "1"})
        account = asyncio.run(settled(redis)).account
    assert (account.at_once, account.accepted, account.answered) == (1, 5, 2)
    assert (account.lost, account.doubled) == (3, 2)
    assert account.reasons == {"404 urn:damoscope:x": 1, "failed": 1, "queued": 1}


def test_each_is_killed_early_and_workers_most() -> None:
    """The first four are one of each, in an order by the seed; the same seed, the same kills."""
    for seed in range(5):
        assert sorted(itertools.islice(order(seed), 4)) == sorted(WEIGHTS)
    first = list(itertools.islice(order(7), 300))
    assert first == list(itertools.islice(order(7), 300))
    assert max(WEIGHTS, key=first.count) == "worker"


def test_readings_of_a_stretch() -> None:
    """First, last and highest from a moment on; what could not be read is left out."""
    usage = Usage(list, 1.0, at_s=[0, 1, 2, 3])
    usage.memory = {"worker": [90, 5, None, 7], "redis": [None] * 4}
    usage.handles = {"worker": [9, 3, None, 2], "redis": [None] * 4}
    assert usage.between(1) == {"worker": {"memory": (5, 7, 7), "handles": (3, 2, 3)}}


def test_what_it_does_not_take(tmp_path: Path) -> None:
    """Said before anything is started."""
    for arguments in (["--minutes", "0"], ["--share", "nan"], ["--output", "/nowhere/at/all.json"]):
        with pytest.raises(SystemExit):
            main(arguments)


@pytest.mark.timeout(600)
def test_a_few_seconds_of_it(tmp_path: Path) -> None:
    """Processes are killed under load; what was accepted is answered, once; memory and open
    files of each part are told."""
    options = [
        *("--minutes", "0.1", "--capacity", "6", "--workers", "1"),
        *("--kill-every", "1", "--back", "300"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", *options,
         "--folder", tmp_path / "soak", "-o", tmp_path / "soak.json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "soak.json").read_text())
    images, load = told["images"], told["load"]
    assert images["accepted"] == images["answered"] > 0
    assert (images["lost"], images["doubled"], told["whole"]) == (0, 0, True)
    assert sum(load["counts"].values()) == load["requests"]
    assert load["counts"]["ok"] == images["at_once"] + images["accepted"]
    assert {kill["role"] for kill in told["kills"]} <= set(WEIGHTS)
    assert told["kills"]
    for role in (*WEIGHTS, "up"):
        assert any(told["usage"]["memory_bytes"][role])
        assert any(told["usage"]["open_files"][role])
    for line in ("requests", "lost 0", "with two results 0", "open files"):
        assert line in done.stdout
