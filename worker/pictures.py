"""Keeps pictures of the images that were answered, in a thread of its own: no answer waits for one.

A thumbnail is made of the pixels that the model was given, so nothing is decoded again, it is
upright as they are, and it has nothing of the file's metadata. Whatever fails costs the picture.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import simplejpeg
from opentelemetry.trace import get_current_span
from redis import Redis
from redis.exceptions import RedisError

from pipeline.complaints import complaints
from pipeline.errors import Cancelled
from pipeline.queue.kept import PictureKeeper
from pipeline.queue.malformed import Tally, nobody
from pipeline.settings import Settings
from worker.batch import BatchItem
from worker.model.preprocess import Pixels, Prepared

log = logging.getLogger("damoscope.worker")

#: Longer side of a thumbnail in pixels, and the quality of its JPEG.
SIDE: Final = 320
QUALITY: Final = 80
#: What waits to be kept may take so many bytes; where images come faster, some go without.
WAITING_BYTES: Final = 32 * 2**20
#: Seconds between looks at what has to go, and that a worker which stops waits for its last ones.
TIDY_S: Final = 10.0
LAST_S: Final = 1.0
#: Beginnings of files that no browser shows; of these a thumbnail is kept.
UNSHOWN: Final = (b"II", b"MM")


@dataclass(frozen=True, slots=True)
class _Offered:
    trace_id: str
    job_id: str
    prepared: Prepared
    #: The file as it came; None where a thumbnail is wanted.
    encoded: bytes | None

    @property
    def bytes(self) -> int:
        return self.prepared.pixels.nbytes + len(self.encoded or b"")


class Pictures:
    """What one worker keeps; nothing at all unless the settings say so."""

    def __init__(self, settings: Settings, redis: Redis, tally: Tally = nobody) -> None:
        self.wanted = settings.keep_images in ("thumbnails", "full")
        #: Whether items have to hold on to their files.
        self.whole = settings.keep_images == "full"
        self._keeper = PictureKeeper(
            redis, hours=settings.keep_images_hours, most_mb=settings.keep_images_mb, tally=tally
        )
        self._waiting: deque[_Offered] = deque()
        self._bytes = self._lost = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="pictures", daemon=True)

    def start(self) -> None:
        """Begin to keep what is offered."""
        if self.wanted:
            self._thread.start()

    def offer(self, items: Iterable[BatchItem]) -> None:
        """Keep pictures of images whose outcome is stored. Returns at once."""
        if not self.wanted:
            return
        for item in items:
            if item.prepared is None or not _is_seen(item):
                continue
            encoded = item.encoded if self.whole else None
            found = _Offered(item.trace_id, item.taken.job_id, item.prepared, encoded)
            with self._changed:
                if self._waiting and self._bytes + found.bytes > WAITING_BYTES:
                    self._lost += 1
                    continue
                self._waiting.append(found)
                self._bytes += found.bytes
                self._changed.notify()

    def close(self) -> None:
        """Keep what waits, if that takes no more than a moment, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(LAST_S)

    # -- the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        tidied_s = -TIDY_S
        while True:
            try:
                found = self._next()
                if found is not None:
                    self._keeper.keep(found.trace_id, found.job_id, _picture(found))
                elif self._closed:
                    return
                if time.monotonic() - tidied_s >= TIDY_S:
                    tidied_s = time.monotonic()
                    self._keeper.tidy()
                    self._tell()
            except RedisError as error:
                complaints.of_redis(log, error, "keeping pictures", then="some are not kept")
            except Exception as error:  # the next image must be kept all the same
                if complaints.due("keeping pictures"):
                    log.error("keeping a picture failed", exc_info=error)

    def _next(self) -> _Offered | None:
        """What is to be kept next; None when there was nothing for a while."""
        with self._changed:
            if not self._waiting and not self._closed:
                self._changed.wait(TIDY_S)
            if not self._waiting:
                return None
            found = self._waiting.popleft()
            self._bytes -= found.bytes
            return found

    def _tell(self) -> None:
        with self._changed:
            lost, self._lost = self._lost, 0
        if lost:
            log.info("%d picture(s) were not kept: images come faster than they are", lost)


def thumbnail(prepared: Prepared) -> bytes:
    """A JPEG of 320 pixels at most along its longer side, of an image as a person sees it."""
    share = min(1.0, SIDE / max(prepared.width, prepared.height))
    width, height = (max(1, round(side * share)) for side in (prepared.width, prepared.height))
    small = _stretched(prepared.pixels, width, height)
    jpeg: bytes = simplejpeg.encode_jpeg(small, QUALITY, "RGB", "420")
    return jpeg


def _stretched(pixels: Pixels, width: int, height: int) -> Pixels:
    """Back to the proportions of the image, which the model's input has not."""
    own_height, own_width = pixels.shape[:2]
    least = (min(width, own_width), min(height, own_height))
    small = cv2.resize(pixels, least, interpolation=cv2.INTER_AREA)
    if least != (width, height):
        small = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(small, dtype=np.uint8)


def _picture(found: _Offered) -> bytes:
    if found.encoded is None or found.encoded.startswith(UNSHOWN):
        return thumbnail(found.prepared)
    return found.encoded


def _is_seen(item: BatchItem) -> bool:
    """Whether somebody may look for it: its trace is recorded, and nobody has taken it back."""
    context = get_current_span(item.parent).get_span_context()
    return context.trace_flags.sampled and not isinstance(item.error, Cancelled)
