"""Images that pages have sent, kept for minutes in a private folder under ids of our making.

No client ever names a path: it names the id that it was given for its upload, and only the
browser or the person that sent it can use that id. Each upload is the beginning of its image's
trace, so the moment of its first byte is kept with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

from opentelemetry.context import Context

from pipeline.errors import DamoscopeError, InvalidImage, RateLimited, Unavailable

log = logging.getLogger("damoscope.frontend")

#: An upload's id as a pattern: 122 random bits.
ID: Final = r"^[0-9a-f]{32}$"
#: Seconds that an upload is kept after it was last detected on, shown or downloaded.
KEEP_S = 600.0
#: Seconds that an upload is kept on which nothing was ever detected. A page does so at once.
UNUSED_S = 120.0
#: Seconds in which an event must follow its upload; a later one is a new run of the image.
FRESH_S = 10.0
SWEEP_EVERY_S = 20.0
#: Uploads at most, of each client and of all together; a page sends up to 1,000 files at once.
FILES_EACH, FILES_MOST = 2000, 8000
#: How much of the space for uploads one client may fill.
SHARE_EACH = 4
#: Bytes that are left free on the disk for what matters more: the queue, and telemetry.
RESERVE_BYTES = 256 * 2**20

#: Characters of a name that is shown.
NAME_MOST = 200

GONE = "the uploaded file is kept no longer; choose it again"


@dataclass(slots=True, eq=False)
class Upload:
    """One image that a page has sent."""

    #: Who may use it; None: everybody.
    owner: str | None
    #: By which name its sender is limited.
    client: str
    #: The file's name as the browser gave it, without folders. Untrusted: see `name`.
    given: str
    #: Unix nanoseconds of the first byte of it.
    first_byte_ns: int = 0
    #: The trace that the browser's request continues; empty when it names none.
    parent: Context = field(default_factory=Context)
    path: Path | None = None
    #: Why there is no file.
    error: DamoscopeError | None = None
    id: str = field(default_factory=lambda: uuid4().hex)
    size: int = 0
    #: The host from which it was fetched, where it was.
    host: str = ""
    #: On the monotonic clock: when it was complete (0 until then), and when it was last used.
    stored_s: float = 0.0
    used_s: float = field(default_factory=time.monotonic)
    #: Whether it was ever detected on.
    run: bool = False
    #: How many are using it now.
    held: int = 0

    @property
    def name(self) -> str:
        """The file's name to show."""
        return shown_name(self.given)

    def arrival(self) -> tuple[int, Context]:
        """When the image to be run now came, and what its trace continues: with its first run,
        the upload; any later run is a request of its own."""
        fresh = not self.run and time.monotonic() - self.stored_s < FRESH_S
        self.run = True
        return (self.first_byte_ns, self.parent) if fresh else (time.time_ns(), Context())

    async def read(self) -> bytes:
        """The bytes. Raises DamoscopeError where there are none."""
        if self.error is not None:
            raise self.error
        try:
            assert self.path is not None
            return await asyncio.to_thread(self.path.read_bytes)
        except FileNotFoundError:
            raise InvalidImage(GONE) from None


def shown_name(given: str) -> str:
    """A file's name to show and to give to downloads: no folders, no control characters, and no
    longer than a file system takes."""
    last = re.split(r"[/\\]", given)[-1]
    printable = "".join(c for c in last if c.isprintable()).strip(" .")
    return printable[-NAME_MOST:] or "image"


def gone() -> Upload:
    """Stands for an upload that is not there, or is another's: nobody is told which."""
    return Upload(None, "", "", error=InvalidImage(GONE), run=True)


class Uploads:
    """All uploads of this process, within their limits."""

    def __init__(
        self,
        folder: Path,
        *,
        bytes_most: int,
        keep_s: float = KEEP_S,
        unused_s: float = UNUSED_S,
        files_each: int = FILES_EACH,
        files_most: int = FILES_MOST,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        self.bytes_each = bytes_most // SHARE_EACH
        self.keep_s = keep_s
        self._folder, self._bytes_most = folder, bytes_most
        self._unused_s, self._reserve = unused_s, reserve_bytes
        self._files_each, self._files_most = files_each, files_most
        self._all: dict[str, Upload] = {}
        self._bytes: Counter[str] = Counter()
        self._files: Counter[str] = Counter()

    def begin(self, upload: Upload) -> None:
        """Take an upload in, before its first byte. Raises RateLimited or Unavailable."""
        if self._files[upload.client] >= self._files_each and not self._drop_one(upload.client):
            raise RateLimited(f"this client has {self._files_each} images here; try again later")
        if len(self._all) >= self._files_most and not self._drop_one(self._largest()):
            raise Unavailable("the pages hold all the images they can; try again in some minutes")
        self._all[upload.id] = upload
        self._files[upload.client] += 1

    async def write(self, upload: Upload, data: bytes) -> None:
        """Append to an upload's file. What stands in the way becomes the upload's error."""
        if upload.error is not None:
            return
        try:
            self._make_room(upload.client, len(data))
            # Counted before it is written: others write meanwhile.
            upload.size += len(data)
            self._bytes[upload.client] += len(data)
            path = self._folder / upload.id
            upload.path = path
            await asyncio.to_thread(self._append, path, data)
        except DamoscopeError as error:
            self.fail(upload, error)
        except OSError as error:
            log.warning("an upload of a page cannot be stored: %s", error)
            self.fail(upload, Unavailable("the upload cannot be stored; try again in some minutes"))

    def fail(self, upload: Upload, error: DamoscopeError) -> None:
        """Keep of an upload only why it cannot be used."""
        upload.error = error
        self._forget_file(upload)

    def complete(self, upload: Upload) -> None:
        """All bytes are there."""
        upload.stored_s = upload.used_s = time.monotonic()

    def find(self, upload_id: str, owner: str) -> Upload | None:
        """A complete upload that `owner` may use."""
        upload = self._all.get(upload_id)
        if upload is None or not upload.stored_s or upload.owner not in (None, owner):
            return None
        return upload

    @contextmanager
    def holding(self, upload: Upload) -> Iterator[None]:
        """Keep an upload from being dropped while it is used."""
        upload.held += 1
        try:
            yield
        finally:
            upload.held -= 1
            upload.used_s = time.monotonic()

    def discard(self, upload: Upload) -> None:
        """Forget an upload, and delete its file."""
        if self._all.pop(upload.id, None) is None:
            return
        self._forget_file(upload)
        _less(self._files, upload.client, 1)

    async def sweep(self) -> None:
        """Delete what was kept long enough, for as long as the service runs."""
        await asyncio.to_thread(self._clear_folder)
        while True:
            await asyncio.sleep(min(SWEEP_EVERY_S, self._unused_s))
            now = time.monotonic()
            for upload in list(self._all.values()):
                keep_s = self.keep_s if upload.run else self._unused_s
                # One that is on its way lives as long as its request.
                if upload.stored_s and not upload.held and now - upload.used_s > keep_s:
                    self.discard(upload)

    def close(self) -> None:
        """Delete all."""
        for upload in list(self._all.values()):
            self.discard(upload)

    def _make_room(self, client: str, size: int) -> None:
        while self._bytes[client] + size > self.bytes_each:
            if not self._drop_one(client):
                raise RateLimited(
                    f"this client's images here have more than {self.bytes_each:,} bytes; "
                    "try again in some minutes"
                )
        while self._bytes.total() + size > self._bytes_most:
            if not self._drop_one(self._largest()):
                raise Unavailable("the space for uploads is full; try again in some minutes")

    def _drop_one(self, client: str) -> bool:
        """Drop what a client has not used for longest, of what was run already."""
        idle = (u for u in self._all.values() if u.client == client and u.run and not u.held)
        oldest = min(idle, key=lambda upload: upload.used_s, default=None)
        if oldest is not None:
            self.discard(oldest)
        return oldest is not None

    def _largest(self) -> str:
        """The client that fills the most."""
        counts = self._bytes if self._bytes.total() else self._files
        return counts.most_common(1)[0][0] if counts else ""

    def _append(self, path: Path, data: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(self._folder).free - len(data) < self._reserve:
            raise Unavailable("the disk is full; uploads are not taken until there is room")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(data)

    def _forget_file(self, upload: Upload) -> None:
        _less(self._bytes, upload.client, upload.size)
        upload.size = 0
        if upload.path is not None:
            with contextlib.suppress(OSError):
                upload.path.unlink(missing_ok=True)

    def _clear_folder(self) -> None:
        """Delete what a process has left that was killed, or an earlier release."""
        oldest = time.time() - 2 * max(self.keep_s, self._unused_s)
        with contextlib.suppress(OSError):
            for entry in self._folder.iterdir():
                with contextlib.suppress(OSError):
                    if entry.lstat().st_mtime >= oldest:
                        continue  # of another process, which may still run
                    if entry.is_dir() and not entry.is_symlink():
                        shutil.rmtree(entry, ignore_errors=True)
                    else:
                        entry.unlink()


def _less(counts: Counter[str], client: str, by: int) -> None:
    counts[client] -= by
    if counts[client] <= 0:
        del counts[client]
