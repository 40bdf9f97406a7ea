"""Several images at once, run in the background while their page asks how far they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from uuid import uuid4

from frontend.identity.principal import ANONYMOUS, Principal
from frontend.pages.detect_one import Outcome, Runner
from frontend.pages.result_files import Results
from frontend.pages.uploads import Upload, Uploads
from frontend.slots import Slots
from pipeline.job import DetectOptions

#: Images of one batch, and of all together, that wait in the service's queue at once. The others
#: wait here, as files.
CONCURRENCY, CONCURRENCY_ALL = 16, 32
#: Images of one batch that wait there when each is the work of dozens, in tiles.
CONCURRENCY_TILED = 4
#: Batches under way at once, of each client and of all.
EACH, MOST = 8, 64
#: Seconds after which a batch that no page asks for is given up. Browsers let pages that are out
#: of sight ask once a minute.
ABANDONED_S = 180.0
#: Seconds that a batch is kept after it was last asked for, and how many are.
KEEP_S, KEPT = 600.0, 500
#: Seconds between two times that what is done of a batch is kept beyond this process.
KEEP_EVERY_S = 2.0


@dataclass(eq=False)
class Batch:
    """Images that were given together, and what has become of them."""

    owner: str
    #: What they are run with.
    options: DetectOptions
    #: In the order in which they were given; None while one is not done.
    outcomes: list[Outcome | None]
    #: The model that was asked for; empty for the one that runs for all others.
    model: str = ""
    #: Their places there, in the order in which they were done.
    done: list[int] = field(default_factory=list)
    id: str = field(default_factory=lambda: uuid4().hex)
    task: asyncio.Task[None] | None = None
    looked_s: float = field(default_factory=time.monotonic)

    @property
    def ready(self) -> list[Outcome]:
        """What is done so far."""
        return [outcome for outcome in self.outcomes if outcome is not None]

    @property
    def finished(self) -> bool:
        """Whether all is done."""
        return self.task is None or self.task.done()


class Batches:
    """The batches of this process, within their limits."""

    def __init__(
        self,
        runner: Runner,
        uploads: Uploads,
        results: Results,
        keep: Callable[[Batch, bool], Awaitable[None]],
    ) -> None:
        """`keep` is told of a batch from time to time, and at last that it is finished."""
        self._runner, self._uploads, self._results = runner, uploads, results
        self._keep = keep
        self._all: dict[str, Batch] = {}
        self._under_way = Slots("batches of images", each=EACH, most=MOST)
        self._turns = asyncio.Semaphore(CONCURRENCY_ALL)

    def start(
        self,
        uploads: Sequence[Upload],
        options: DetectOptions,
        client: str,
        owner: str,
        who: Principal = ANONYMOUS,
        model: str = "",
    ) -> Batch:
        """Begin a batch. Raises RateLimited or Unavailable where too many are under way."""
        self._under_way.take(client)
        batch = Batch(owner, options, [None] * len(uploads), model)
        batch.task = asyncio.create_task(self._run(batch, uploads, client, who))
        batch.task.add_done_callback(lambda _: self._under_way.free(client))
        self._all[batch.id] = batch
        while len(self._all) > KEPT:
            self.stop(next(iter(self._all.values())))
        return batch

    def find(self, batch_id: str, owner: str) -> Batch | None:
        """A batch of this owner's, which is looked at now."""
        batch = self._all.get(batch_id)
        if batch is None or batch.owner != owner:
            return None
        batch.looked_s = time.monotonic()
        return batch

    def cancel(self, batch: Batch) -> None:
        """Withdraw its images that wait, and begin no more. What is done is kept."""
        if batch.task is not None:
            batch.task.cancel()

    def stop(self, batch: Batch) -> None:
        """Cancel a batch, and forget it."""
        self.cancel(batch)
        self._all.pop(batch.id, None)

    async def sweep(self) -> None:
        """Give up what nobody looks at, for as long as the service runs."""
        while True:
            await asyncio.sleep(min(ABANDONED_S, KEEP_S) / 10)
            now = time.monotonic()
            for batch in list(self._all.values()):
                if now - batch.looked_s > (KEEP_S if batch.finished else ABANDONED_S):
                    self.stop(batch)

    async def _run(
        self,
        batch: Batch,
        uploads: Sequence[Upload],
        client: str,
        who: Principal,
    ) -> None:
        waiting, options = iter(enumerate(uploads)), batch.options
        at_once = CONCURRENCY if options.tiles is None else CONCURRENCY_TILED

        async def some() -> None:
            for position, upload in waiting:
                # In turns, so that a large batch does not keep a small one waiting.
                async with self._turns:
                    outcome = await self._runner.run(
                        upload, options, client, who, model=batch.model
                    )
                self._results.add(outcome, batch.owner)
                batch.outcomes[position] = outcome
                batch.done.append(position)

        keeping = asyncio.create_task(self._keep_on(batch), name="batch-keeping")
        try:
            with ExitStack() as held:
                for upload in uploads:
                    held.enter_context(self._uploads.holding(upload))
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(at_once, len(uploads))):
                        group.create_task(some())
        finally:  # of one that was stopped, what was done until then
            self._results.add_batch(batch.id, batch.ready)
            keeping.cancel()
            await asyncio.wait([keeping])  # or what it keeps might come after what is kept at last
            await self._keep(batch, True)

    async def _keep_on(self, batch: Batch) -> None:
        while True:
            await self._keep(batch, False)
            await asyncio.sleep(KEEP_EVERY_S)
