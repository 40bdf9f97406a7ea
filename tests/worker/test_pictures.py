"""worker.pictures: what a worker keeps of its images, and that it costs them nothing."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from redis import Redis

from pipeline.errors import Cancelled, InferenceFailed
from pipeline.queue.kept import kept_key
from pipeline.queue.keys import KEPT_KEYS
from pipeline.settings import Settings
from tests.servers import RedisProcess, eventually
from tests.worker.batch_items import item
from tests.worker.pictures import encode, gradient, turned
from worker import pictures
from worker.batch import BatchItem
from worker.model.preprocess import Prepared, preprocess
from worker.pictures import SIDE, Pictures, thumbnail

TRACE, JOB = "ab" * 16, "cd" * 16
#: The metadata of a job whose trace is recorded, and of one whose caller leaves it out.
META = {"traceparent": f"00-{TRACE}-{'ef' * 8}-01"}
UNSEEN = {"traceparent": f"00-{TRACE}-{'ef' * 8}-00"}


@pytest.fixture
def redis(server: RedisProcess) -> Redis:
    server.client.flushall()
    return server.client


def kept(redis: Redis, keep: str | None, *items: BatchItem) -> dict[str, bytes]:
    """What is kept of some images by a worker that then stops, by their jobs' ids."""
    mine = Pictures(Settings(keep_images=keep), redis)  # type: ignore[arg-type]
    mine.start()
    mine.offer(items)
    eventually(lambda: not mine._waiting, "all of them to be kept")
    mine.close()
    keys = sorted(redis.scan_iter(f"{KEPT_KEYS}*"))
    return {key.decode().rpartition(":")[2]: redis.hget(key, "picture") or b"" for key in keys}


def answered(data: bytes | None = None, job_id: str = JOB, **changes: Any) -> BatchItem:
    """An image that was decoded."""
    data = data or encode(gradient(900, 600), "JPEG")
    made = item(None, job_id=job_id, **{"meta": META} | changes)
    made.prepared, made.encoded = preprocess(data, 320, 320), data
    return made


def opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_thumbnail_is_as_a_person_sees_it(orientation: int) -> None:
    """Upright, in the image's proportions, 320 pixels along its longer side."""
    exif = turned(orientation)
    data = encode(gradient(900, 600), "JPEG", exif=exif, quality=95)
    seen = opened(thumbnail(preprocess(data, 416, 416)))
    sideways = orientation >= 5
    assert seen.size == ((213, SIDE) if sideways else (SIDE, 213))
    with opened(data) as original:
        expected = ImageOps.exif_transpose(original).resize(seen.size)
    difference = np.abs(np.asarray(seen, np.int16) - np.asarray(expected, np.int16))
    assert difference.mean() < 6


def test_nothing_of_the_metadata_is_left() -> None:
    """Where it was taken, by which camera, and what its file says besides."""
    exif = turned(6)
    exif[271] = "CameraMaker"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)  # GPSLatitude
    data = encode(gradient(900, 600), "JPEG", exif=exif, comment=b"a secret comment")
    assert b"CameraMaker" in data
    made = thumbnail(preprocess(data, 320, 320))
    assert not dict(opened(made).getexif())
    for part in (b"Exif", b"CameraMaker", b"secret", b"http", b"ICC"):
        assert part not in made


@pytest.mark.parametrize(
    ("size", "expected"),
    [((10, 10), (10, 10)), ((5000, 2), (320, 1)), ((1, 3000), (1, 320)), ((321, 100), (320, 100))],
)
def test_odd_sizes(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """None is enlarged, and none vanishes."""
    pixels = np.zeros((320, 320, 3), np.uint8)
    assert opened(thumbnail(Prepared(pixels, *size))).size == expected


def test_a_thumbnail_is_kept(redis: Redis) -> None:
    """Under its trace and its job, small, for a day; also of an image on which inference failed."""
    failed = answered(job_id="dd" * 16)
    failed.fail(InferenceFailed("x"), "inference")
    found = kept(redis, "thumbnails", answered(), failed)
    assert set(found) == {JOB, "dd" * 16}
    assert opened(found[JOB]).size == (SIDE, 213)
    assert len(found[JOB]) < 30_000
    assert redis.ttl(kept_key(TRACE, JOB)) > 86_000


def test_the_file_is_kept(redis: Redis) -> None:
    """As it was sent, where that is wanted; of a TIFF, which no browser shows, a thumbnail."""
    tiff = answered(encode(gradient(), "TIFF"), job_id="ee" * 16)
    found = kept(redis, "full", answered(), tiff)
    assert found[JOB] == encode(gradient(900, 600), "JPEG")
    assert opened(found["ee" * 16]).format == "JPEG"


def test_what_is_not_kept(redis: Redis) -> None:
    """Images that were withdrawn, those that could not be decoded, those whose trace nobody
    records or that have none, those that are none of our jobs; and nothing unless it is wanted."""
    withdrawn = answered()
    withdrawn.drop(Cancelled("withdrawn"))
    undecoded = item(None, job_id=JOB, meta=META)
    others = [
        answered(meta=UNSEEN), answered(meta={}), answered(job_id="../../etc/passwd"),
    ]  # fmt: skip
    assert kept(redis, "thumbnails", withdrawn, undecoded, *others) == {}
    assert kept(redis, "none", answered()) == {}
    assert kept(redis, None, answered()) == {}


def test_more_than_can_be_kept(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits: images that come faster than they are kept go without."""
    monkeypatch.setattr(pictures, "WAITING_BYTES", 1_000_000)
    mine = Pictures(Settings(keep_images="thumbnails"), redis)
    mine.offer([answered(job_id=f"{number:032x}") for number in range(9)])  # nobody takes them
    assert 0 < len(mine._waiting) < 9
    assert mine._lost == 9 - len(mine._waiting)
    mine.close()


def test_redis_is_away(tmp_path: Path) -> None:
    """The next picture is kept once it is back, and so is one after another that cannot be made."""
    with RedisProcess(tmp_path) as server:
        mine = Pictures(Settings(keep_images="thumbnails"), server.client)
        mine.start()
        server.stop()
        mine.offer([answered()])
        eventually(lambda: not mine._waiting, "it to be taken")
        server.start()
        broken = answered(job_id="bb" * 16)
        assert broken.prepared
        broken.prepared = replace(broken.prepared, pixels=np.zeros((0, 0, 3), np.uint8))
        mine.offer([broken, answered(job_id="aa" * 16)])
        eventually(lambda: server.client.exists(kept_key(TRACE, "aa" * 16)), "the next one")
        assert not server.client.exists(kept_key(TRACE, "bb" * 16))
        mine.close()
