"""Decoding costs bounded time and memory, and what goes on for too long is stopped."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from tests.integration import pictures
from tests.security import images
from tests.servers import Service, eventually

DETECT = "/api/v1/detect"
RAW = {"content-type": "application/octet-stream"}
LIMIT_S = 1.0
#: Pixels along each side of what takes longer than that, by seconds, on any machine.
SIDE = 10_000


def detail(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["detail"])


@pytest.mark.parametrize("scans", [101, 500])
def test_absurd_scan_counts(client: httpx.Client, scans: int) -> None:
    """A progressive JPEG of hundreds of scans is refused by its header."""
    data = images.progressive_bomb(scans, side=600)
    assert "more than 100 scans" in detail(client.post(DETECT, content=data, headers=RAW), 400)


def test_scans_of_a_large_image(client: httpx.Client) -> None:
    """The more pixels, the fewer scans are allowed."""
    data = images.progressive_bomb(60)
    assert "more than 25 scans" in detail(client.post(DETECT, content=data, headers=RAW), 400)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_costs_its_first_frame(client: httpx.Client, kind: str) -> None:
    """Of thousands of frames the first is looked at."""
    frames = [Image.new("P", (64, 48), n % 250) for n in range(2000)]
    data = pictures.encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    answer = client.post(DETECT, content=data, headers=RAW)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["image"]["width"], answer.json()["image"]["height"]) == (64, 48)


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt", b"iCCP"])
def test_packed_texts_are_not_unpacked(client: httpx.Client, name: bytes) -> None:
    """A PNG with 10 MB of texts that would unpack to 10 GB is a picture like any other."""
    packed = zlib.compress(bytes(8 * 10**6), 9)
    head = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[name]
    texts = images.chunk(name, head + packed) * (10**7 // len(packed))
    plain = client.post(DETECT, content=images.phone("PNG"), headers=RAW)
    answer = client.post(DETECT, content=images.png_with(images.phone("PNG"), texts), headers=RAW)
    assert answer.status_code == 200, answer.text
    assert answer.json()["detections"] == plain.json()["detections"]


def tiff(**tags: int) -> bytes:
    """A TIFF of 64 x 64 grey pixels, with tags that say otherwise."""
    values = {"width": 64, "height": 64, "bits": 8, "compression": 1, "colours": 1, "start": 8,
              "samples": 1, "rows": 64, "bytes": 4096} | tags  # fmt: skip
    numbers = dict(zip(values, (256, 257, 258, 259, 262, 273, 277, 278, 279, 322, 323),
                       strict=False))  # fmt: skip
    entries = sorted((numbers[name], value) for name, value in values.items())
    where = 8 + 4096
    body = struct.pack("<H", len(entries))
    body += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", where) + bytes(range(256)) * 16 + body + bytes(4)


def test_the_tiff_of_these_tests(client: httpx.Client) -> None:
    """Without a lie it is taken."""
    answer = client.post(DETECT, content=tiff(), headers=RAW)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("tags", "status", "said"),
    [
        ({"tile_width": 60_000, "tile_height": 60_000}, 413, "more than"),
        ({"width": 7000, "height": 7000, "bits": 64, "samples": 4}, 413, "more than"),
        ({"width": 60_000, "height": 60_000}, 413, "more than"),
        ({"width": 0}, 400, "damaged"),
        ({"start": 10**9}, 400, "cut short"),
        ({"bytes": 2**31}, 400, "cut short"),
        ({"samples": 60_000}, 400, "cannot be decoded"),
        ({"rows": 0}, 400, "cannot be decoded"),
        ({"compression": 60_000}, 415, "compression 60000"),
    ],
)
def test_absurd_tiffs(client: httpx.Client, tags: dict[str, int], status: int, said: str) -> None:
    """Tiles, samples and strips that would take gigabytes are refused by the header."""
    assert said in detail(client.post(DETECT, content=tiff(**tags), headers=RAW), status)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9", bytes(64) + b"\xff\xd9"])
def test_half_a_jpeg(client: httpx.Client, end: bytes, options: dict[str, bool]) -> None:
    """Half a picture is refused, whatever its last two bytes say."""
    data = images.phone(**options)
    answer = client.post(DETECT, content=data[: len(data) * 6 // 10] + end, headers=RAW)
    assert "cut short" in detail(answer, 400)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_half_a_file(client: httpx.Client, kind: str) -> None:
    """So is half a file of any format."""
    data = images.phone(kind)
    answer = client.post(DETECT, content=data[: len(data) // 2], headers=RAW)
    assert "cut short" in detail(answer, 400)


def test_half_a_png_that_looks_whole(client: httpx.Client) -> None:
    """A PNG with half of its data and all of its chunks is damaged; no word of C++ says so."""
    with Image.open(io.BytesIO(images.phone("PNG"))) as image:
        rows = image.convert("RGB").tobytes()
    packed = zlib.compress(rows)
    data = images.PNG + images.chunk(b"IHDR", struct.pack(">IIBBBBB", 640, 480, 8, 2, 0, 0, 0))
    data += images.chunk(b"IDAT", packed[: len(packed) // 2]) + images.chunk(b"IEND")
    answer = client.post(DETECT, content=data, headers=RAW)
    said = "the PNG cannot be decoded: its data is damaged or cut short"
    assert detail(answer, 400) == said


# -- the limit of a stage ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose stages may take a second, with one worker that takes batches."""
    home = tmp_path_factory.mktemp("impatient") / "home"
    env = {"DAMOSCOPE_STAGE_LIMIT_S": str(LIMIT_S), "DAMOSCOPE_BATCH_MAX": "8",
           "DAMOSCOPE_THREADS": "1", "DAMOSCOPE_PAGES": "false",
           "DAMOSCOPE_MAX_PIXELS": str(SIDE * SIDE)}  # fmt: skip
    with Service(home, **env) as running:
        yield running.wait_until_ready()


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """As many scans as are allowed."""
    return images.progressive_bomb(25, SIDE)


def test_an_image_that_takes_too_long(impatient: Service, bomb: bytes) -> None:
    """It fails once, with what is wrong; the images that came with it are answered, and so is the
    next one: the worker begins anew by itself."""
    background = RAW | {"prefer": "respond-async"}
    with impatient.client() as client, impatient.redis() as redis:
        jobs = [
            client.post(DETECT, content=data, headers=background).json()["job_id"]
            for data in (images.phone(), images.phone(), bomb, images.phone())
        ]
        states = [_settled(client, job) for job in jobs]
        assert [state["status"] for state in states] == ["finished", "finished", "failed",
                                                         "finished"]  # fmt: skip
        assert states[2]["error"] == {
            "code": "too_large", "message": "decoding takes longer than the 1 s allowed",
        }  # fmt: skip
        assert redis.hget(f"rq:job:{jobs[2]}", "damoscope_taken") == b"1"
        eventually(lambda: impatient.output.count("ready: ") >= 2, "the worker to begin anew")
        eventually(lambda: client.get("/readyz").status_code == 200, "the worker to be ready")
        answer = client.post(DETECT, content=images.phone(), headers=RAW)
        assert answer.status_code == 200, answer.text
        assert "this worker begins anew" in impatient.output
        # The keeper has nothing to do with it.
        assert "starting it again" not in impatient.output


def test_many_that_take_too_long(impatient: Service, bomb: bytes) -> None:
    """A client who sends nothing else keeps the worker busy, but not from others for long."""
    with impatient.client() as client:
        background = RAW | {"prefer": "respond-async", "priority": "low"}
        jobs = [
            client.post(DETECT, content=bomb, headers=background).json()["job_id"] for _ in range(3)
        ]
        answer = client.post(
            DETECT, content=images.phone(), headers=RAW, params={"timeout": 60, "priority": "high"}
        )
        assert answer.status_code == 200, answer.text
        assert {_settled(client, job)["status"] for job in jobs} == {"failed"}


def _settled(client: httpx.Client, job: str) -> dict[str, object]:
    def look() -> dict[str, object] | None:
        state: dict[str, object] = client.get(f"/api/v1/jobs/{job}").json()
        return None if state["status"] in ("queued", "started") else state

    return eventually(look, f"job {job}") or {}
