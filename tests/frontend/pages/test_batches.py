"""frontend.pages.batches: several images at once, in turns, for as long as somebody looks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from frontend.identity.principal import ANONYMOUS, Principal
from frontend.pages import batches
from frontend.pages.batches import Batch, Batches
from frontend.pages.detect_one import Outcome, Runner
from frontend.pages.result_files import Results
from frontend.pages.uploads import Upload, Uploads
from pipeline.errors import DamoscopeError, RateLimited
from pipeline.job import DetectOptions


class Workers(Runner):
    """Stands for the service: an image is done when the test says so."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.done = asyncio.Event()

    async def run(
        self,
        upload: Upload,
        options: DetectOptions,
        client: str,
        who: Principal = ANONYMOUS,
        gone: object = None,
        model: str = "",
    ) -> Outcome:
        self.begun.append(upload.name)
        await self.done.wait()
        return Outcome(upload, "t" * 32, error=DamoscopeError("x"))


class Desk:
    """Batches with nothing behind them."""

    def __init__(self, folder: Path) -> None:
        self.workers = Workers()
        #: How many images were done of each batch when it was kept, and whether that was all.
        self.kept: list[tuple[int, bool]] = []
        uploads = Uploads(folder, bytes_most=1000)
        self.batches = Batches(self.workers, uploads, Results(), self.keep)

    async def keep(self, batch: Batch, finished: bool) -> None:
        self.kept.append((len(batch.ready), finished))

    def start(self, name: str, count: int, tiles: str | None = None) -> Batch:
        images = [Upload("me", "a", f"{name}{number}") for number in range(count)]
        return self.batches.start(images, DetectOptions(tiles=tiles), "a", "me")


async def settle() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


def test_a_batch(tmp_path: Path) -> None:
    """Its outcomes are in the order of its images, its uploads are held, and only its owner
    finds it."""

    async def test() -> None:
        desk = Desk(tmp_path)
        batch = desk.start("a", 40)
        await settle()
        assert (batch.ready, batch.finished) == ([], False)
        assert len(desk.workers.begun) == batches.CONCURRENCY
        desk.workers.done.set()
        await settle()
        assert batch.finished
        assert [outcome.name for outcome in batch.ready] == [f"a{n}" for n in range(40)]
        assert (desk.kept[0], desk.kept[-1]) == ((0, False), (40, True))
        assert all(outcome.upload.held == 0 for outcome in batch.ready)
        assert desk.batches.find(batch.id, "me") is batch
        assert desk.batches.find(batch.id, "other") is None
        assert desk.batches.find("0" * 32, "me") is None

    asyncio.run(test())


def test_a_large_one_leaves_room(tmp_path: Path) -> None:
    """Batches take turns, so that none waits for all of another's images."""

    async def test() -> None:
        desk = Desk(tmp_path)
        for name in "abc":
            desk.start(name, 500)
        await settle()
        assert len(desk.workers.begun) == batches.CONCURRENCY_ALL
        desk.workers.done.set()
        await asyncio.sleep(0)
        await settle()
        assert {name[0] for name in desk.workers.begun[:100]} == {"a", "b", "c"}
        for batch in list(desk.batches._all.values()):
            desk.batches.stop(batch)
        await settle()

    asyncio.run(test())


def test_images_in_tiles_wait_here(tmp_path: Path) -> None:
    """Each is the work of dozens: few of them are in the queue at once."""

    async def test() -> None:
        desk = Desk(tmp_path)
        batch = desk.start("a", 40, tiles="auto")
        await settle()
        assert len(desk.workers.begun) == batches.CONCURRENCY_TILED
        desk.batches.stop(batch)
        await settle()

    asyncio.run(test())


def test_so_many_at_once(tmp_path: Path) -> None:
    """Of one client; one that was given up makes room."""

    async def test() -> None:
        desk = Desk(tmp_path)
        begun = [desk.start("a", 1) for _ in range(batches.EACH)]
        with pytest.raises(RateLimited, match="batches of images"):
            desk.start("a", 1)
        await settle()
        desk.batches.cancel(begun[0])
        await settle()
        assert begun[0].task is not None
        assert begun[0].task.cancelled()
        assert desk.batches.find(begun[0].id, "me") is begun[0]  # what was done is kept
        assert desk.kept[-1] == (0, True)
        desk.start("a", 1)
        desk.workers.done.set()
        await settle()

    asyncio.run(test())


def test_nobody_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that no page asks for is given up, and its images that wait are not run."""
    monkeypatch.setattr(batches, "ABANDONED_S", 0.2)

    async def test() -> None:
        desk = Desk(tmp_path)
        batch = desk.start("a", 100)
        sweep = asyncio.create_task(desk.batches.sweep())
        async with asyncio.timeout(60):
            while not batch.finished:
                await asyncio.sleep(0.02)
        sweep.cancel()
        assert desk.batches.find(batch.id, "me") is None
        assert len(desk.workers.begun) == batches.CONCURRENCY

    asyncio.run(test())
