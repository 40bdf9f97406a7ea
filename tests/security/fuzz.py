"""Mutated images: bits flipped, lengths changed, files cut and joined. `make fuzz` sends 20,000.

python -m tests.security.fuzz --count 20000 --seed 1
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image

from tests.integration.pictures import encoded, noise
from tests.security import images
from tests.servers import PATIENCE_S, Service, eventually

DETECT = "/api/v1/detect"
RAW = {"content-type": "application/octet-stream"}
#: What may become of an image that somebody sends.
ANSWERS = {200, 400, 413, 415, 422}
#: Requests at a time.
CLIENTS = 8
#: Part of the images after which memory is looked at for the first time: by then, all that is
#: allocated once has been.
WARM = 0.3
#: By how much a process may grow after that, in bytes.
GROWTH = 150 * 2**20
#: Numbers that lengths, offsets and counts are replaced by.
NUMBERS = (0, 1, 2, 3, 4, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000,
           0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)  # fmt: skip


def seeds() -> list[bytes]:
    """Small whole files of every format and of most kinds."""
    picture, other = noise(64, 48), noise(64, 48, seed=1)
    palette, animated = picture.quantize(64), {"save_all": True, "append_images": [other]}
    deep = Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 21)
    made = [
        *(encoded(picture, "JPEG", **options) for options in (
            {}, {"progressive": True}, {"restart_marker_blocks": 2}, {"subsampling": 0},
            {"exif": b"Exif\0\0" + images.exif(6)})),
        encoded(picture.convert("CMYK"), "JPEG"), encoded(picture.convert("L"), "JPEG"),
        encoded(picture, "MPO", **animated),
        encoded(picture, "PNG"), encoded(palette, "PNG"), encoded(deep, "PNG"),
        encoded(picture, "PNG", **animated),
        encoded(picture, "WEBP"), encoded(picture, "WEBP", lossless=True),
        encoded(picture, "WEBP", **animated),
        images.webp_with(encoded(picture, "WEBP"), b"EXIF", images.exif(8), flag=8),
        encoded(palette, "GIF"), encoded(palette, "GIF", **animated),
        encoded(picture, "BMP"), encoded(palette, "BMP"), encoded(picture.convert("1"), "BMP"),
        *(encoded(picture, "TIFF", compression=name) for name in
          ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
        encoded(deep, "TIFF"), encoded(picture.convert("1"), "TIFF", compression="group4"),
    ]  # fmt: skip
    buffer = io.BytesIO()
    palette.save(buffer, "TIFF", big_tiff=True)
    return [*made, buffer.getvalue()]


def mutated(files: list[bytes], rng: random.Random) -> bytes:
    """One of the files with a few changes; mostly in its first bytes, where the structure is."""
    data = bytearray(rng.choice(files))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            break
        reach = len(data) if rng.random() < 0.5 else min(len(data), 200)
        at = rng.randrange(reach)
        change = rng.randrange(7)
        if change == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            data[at] = rng.randrange(256)
        elif change == 2:
            del data[at:]
        elif change == 3:
            del data[at : at + rng.choice((1, 2, 4, 12, 100))]
        elif change == 4:
            size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
            number = rng.choice(NUMBERS) & (1 << 8 * size) - 1
            data[at : at + size] = number.to_bytes(size, order)  # type: ignore[arg-type]
        elif change == 5:
            start = rng.randrange(len(data))
            data[at:at] = data[start : start + rng.randrange(1, 400)] * rng.choice((1, 2, 50))
        else:
            other = rng.choice(files)
            data[at:] = other[rng.randrange(len(other)) :]
    return bytes(data)


def stream(count: int, seed: int) -> Iterator[bytes]:
    """The same files for the same seed."""
    files, rng = seeds(), random.Random(seed)
    for _ in range(count):
        yield mutated(files, rng)


def send(service: Service, count: int, seed: int) -> Counter[int]:
    """Send them. Returns how often each status came.

    Raises AssertionError for a fault of the service, naming the image's number; for a worker that
    died or began anew; and for memory that grows.
    """
    before = _processes(service)
    statuses: Counter[int] = Counter()
    wrong: list[str] = []
    lock, files = threading.Lock(), enumerate(stream(count, seed))
    warm: dict[int, int] = {}

    def work() -> None:
        with service.client(timeout_s=2 * PATIENCE_S) as client:
            while not wrong:
                with lock:
                    number, data = next(files, (-1, b""))
                    if number < 0:
                        return
                    if number == int(count * WARM):
                        warm.update(_memory(before))
                fault = _fault(client, data, statuses)
                if fault:
                    wrong.append(f"image {number} of seed {seed}: {fault}")

    with ThreadPoolExecutor(CLIENTS) as pool:
        for future in [pool.submit(work) for _ in range(CLIENTS)]:
            future.result()
    assert not wrong, wrong
    assert _processes(service) == before, "a process died"
    assert "begins anew" not in service.output
    assert "Traceback" not in service.output, service.output[-3000:]
    grown = {pid: size - warm[pid] for pid, size in _memory(before).items()}
    assert max(grown.values()) < GROWTH, {pid: size // 2**20 for pid, size in grown.items()}
    return statuses


def _fault(client: httpx.Client, data: bytes, statuses: Counter[int]) -> str:
    try:
        answer = client.post(DETECT, content=data, headers=RAW, params={"timeout": 100})
    except httpx.TransportError as error:
        return repr(error)
    statuses[answer.status_code] += 1
    text = answer.text
    if answer.status_code not in ANSWERS or any(word in text for word in ("OpenCV", "Error", "0x")):
        return f"{answer.status_code} {text[:500]}"
    return ""


def _processes(service: Service) -> dict[str, list[int]]:
    names = ("worker", "frontend")
    return {name: sorted(each.pid for each in service.children(name)) for name in names}


def _memory(processes: dict[str, list[int]]) -> dict[int, int]:
    return {
        pid: psutil.Process(pid).memory_info().rss for pids in processes.values() for pid in pids
    }


def main() -> None:
    """Against a service of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with Service(home) as service:
            service.wait_until_ready()
            with service.client() as client:
                eventually(lambda: client.get("/readyz").status_code == 200, "the service")
            print(dict(send(service, options.count, options.seed)))


if __name__ == "__main__":
    main()
