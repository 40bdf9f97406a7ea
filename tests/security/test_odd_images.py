"""Odd but good pictures are taken; what is refused is told why."""

from __future__ import annotations

import gzip
import io
import struct
import zlib

import httpx
import pytest
from PIL import Image

from tests.integration import pictures
from tests.security import images
from tests.servers import Service

DETECT = "/api/v1/detect"
RAW = {"content-type": "application/octet-stream"}


@pytest.fixture(scope="module")
def plain(service: Service) -> dict[str, object]:
    """The answer to the picture of a phone as a PNG."""
    with service.client() as client:
        answer = client.post(DETECT, content=images.phone("PNG"), headers=RAW)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    assert found["detections"], "the bundled model finds the phone"
    return found


def assert_same(answer: httpx.Response, expected: object) -> None:
    """The same labels, within 0.01 of their scores and a pixel of their boxes."""
    assert answer.status_code == 200, answer.text
    found = answer.json()["detections"]
    assert isinstance(expected, list)
    assert [one["label"] for one in found] == [one["label"] for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert abs(one["score"] - other["score"]) <= 0.01
        assert all(abs(one["box"][corner] - other["box"][corner]) <= 2 for corner in one["box"])


def without_huffman_tables(jpeg: bytes) -> bytes:
    """As the frames of a Motion JPEG are, whose tables are the standard's."""
    while (at := jpeg.find(b"\xff\xc4")) >= 0:
        (length,) = struct.unpack_from(">H", jpeg, at + 2)
        jpeg = jpeg[:at] + jpeg[at + 2 + length :]
    return jpeg


def bmp_of_size(size: int) -> bytes:
    data = bytearray(images.phone("BMP"))
    struct.pack_into("<I", data, 2, size)
    return bytes(data)


def apng_frames() -> bytes:
    """Chunks of an animation that promise more than there is."""
    return images.chunk(b"acTL", struct.pack(">II", 10**6, 0))


BAD_EXIF = b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(range(64))
#: How to make each, by what is odd about it.
ODD = {
    "bad EXIF in a PNG": lambda: images.png_with(images.phone("PNG"),
                                                 images.chunk(b"eXIf", BAD_EXIF)),
    "bad EXIF in a WebP": lambda: images.webp_with(images.phone("WEBP", lossless=True), b"EXIF",
                                                   BAD_EXIF, flag=8),
    "bad EXIF in a JPEG": lambda: images.phone(quality=95, exif=BAD_EXIF),
    "2 MB of text": lambda: images.png_with(images.phone("PNG"),
                                            images.chunk(b"tEXt", b"k\0" + b"a" * 2_000_000)),
    "1,000 texts": lambda: images.png_with(
        images.phone("PNG"), *[images.chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a"))] * 1000),
    "a profile that is none": lambda: images.png_with(images.phone("PNG"),
                                                      images.chunk(b"iCCP", b"k\0\0abc")),
    "an animation that is none": lambda: images.png_with(images.phone("PNG"), apng_frames()),
    "no IEND": lambda: images.phone("PNG")[:-12],
    "half of IEND": lambda: images.phone("PNG")[:-4],
    "bytes behind a PNG": lambda: images.phone("PNG") + bytes(1000),
    "a BMP of size 0": lambda: bmp_of_size(0),
    "a BMP of another size": lambda: bmp_of_size(2**31),
    "no Huffman tables": lambda: without_huffman_tables(images.phone(quality=95)),
    "no end marker": lambda: images.phone(quality=95)[:-2],
    "half of an end marker": lambda: images.phone(quality=95)[:-1],
    "bytes before the end marker": lambda: images.phone(quality=95)[:-2] + bytes(40) + b"\xff\xd9",
    "a film behind a JPEG": lambda: images.phone(quality=95) + b"\0\0\0\x18ftypmp42\xff\xd9",
    "a JPEG behind a JPEG": lambda: images.phone(quality=95) * 2,
    "fill bytes": lambda: images.phone(quality=95).replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1),
    "a grey profile in a JPEG": lambda: images.phone(quality=95, icc_profile=b"none"),
    "a revision that is none": lambda: images.phone(quality=95).replace(b"FIF\0\1", b"FIF\0\7"),
    "no trailer": lambda: images.phone("GIF")[:-1],
    "a cut second frame": lambda: images.phone(
        "GIF", save_all=True, append_images=[pictures.noise(640, 480).convert("RGB")])[:-5000],
    "big endian": lambda: tiff_big_endian(),
}  # fmt: skip


def tiff_big_endian() -> bytes:
    with Image.open(io.BytesIO(images.phone("PNG"))) as image:
        rows = image.convert("RGB").tobytes()
    values = [(256, 640), (257, 480), (258, 8), (259, 1), (262, 2), (273, 8), (277, 3), (278, 480),
              (279, len(rows))]  # fmt: skip
    body = struct.pack(">H", len(values))
    body += b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in values)
    return b"MM\0*" + struct.pack(">I", 8 + len(rows)) + rows + body + bytes(4)


@pytest.mark.parametrize("name", ODD)
def test_odd_but_good(name: str, client: httpx.Client, plain: dict[str, object]) -> None:
    """The picture is taken, and gives what it gives as a plain PNG."""
    answer = client.post(DETECT, content=ODD[name](), headers=RAW)
    palette = "GIF" in answer.text
    if palette:  # 256 colours are another picture
        assert answer.status_code == 200
        return
    assert_same(answer, plain["detections"])


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_orientation(kind: str, order: str, prefix: bytes, client: httpx.Client,
                     plain: dict[str, object]) -> None:  # fmt: skip
    """EXIF's orientation counts in every format, with the prefix of a JPEG's or without."""
    with Image.open(io.BytesIO(images.phone("PNG"))) as image:
        turned = image.convert("RGB").transpose(Image.Transpose.ROTATE_90)
    exif = prefix + images.exif(6, order)
    if kind == "PNG":
        data = images.png_with(pictures.encoded(turned, "PNG"), images.chunk(b"eXIf", exif))
    elif kind == "WEBP":
        data = images.webp_with(
            pictures.encoded(turned, "WEBP", lossless=True), b"EXIF", exif, flag=8
        )
    else:
        data = pictures.encoded(
            turned, "JPEG", quality=95, exif=b"Exif\0\0" + images.exif(6, order)
        )
    answer = client.post(DETECT, content=data, headers=RAW)
    assert_same(answer, plain["detections"])
    assert answer.json()["image"] | {"bytes": 0, "format": ""} == {
        "width": 640, "height": 480, "format": "", "bytes": 0,
    }  # fmt: skip


# -- bodies --------------------------------------------------------------------------------------

BOUNDARY = "xyz"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(data: bytes, *, before: bytes = b"", blanks: bytes = b"", behind: bytes = b"") -> bytes:
    head = b'\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    return before + b"--xyz" + blanks + head + data + b"\r\n--xyz--" + blanks + b"\r\n" + behind


@pytest.mark.parametrize(
    "odd",
    [
        {"before": b"This is a message in several parts.\r\n"},
        {"before": b"\r\n\r\n"},
        {"blanks": b"  \t"},
        {"behind": b"and an epilogue"},
    ],
    ids=str,
)
def test_preambles_and_blanks(client: httpx.Client, odd: dict[str, bytes],
                              plain: dict[str, object]) -> None:  # fmt: skip
    """What RFC 2046 allows around the boundaries of a form is skipped."""
    answer = client.post(DETECT, content=form(images.phone("PNG"), **odd), headers=FORM)
    assert_same(answer, plain["detections"])


@pytest.mark.parametrize("headers", [RAW, FORM])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
def test_packed_bodies(client: httpx.Client, encoding: str, headers: dict[str, str],
                       plain: dict[str, object]) -> None:  # fmt: skip
    """A body may be packed by `Content-Encoding`."""
    body = images.phone("PNG")
    body = form(body) if headers is FORM else body
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding](body)
    answer = client.post(DETECT, content=packed, headers=headers | {"content-encoding": encoding})
    assert_same(answer, plain["detections"])


@pytest.mark.parametrize("headers", [RAW, FORM])
def test_a_packed_bomb(client: httpx.Client, headers: dict[str, str]) -> None:
    """What unpacks to more than an upload may have is refused, and not kept."""
    body = gzip.compress(form(bytes(200_000_000)), 1)
    answer = client.post(DETECT, content=body, headers=headers | {"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:damoscope:too_large")


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [("br", b"abc", 415), ("gzip, gzip", b"abc", 415), ("gzip", b"not packed", 400),
     ("gzip", gzip.compress(images.phone())[:-20], 400)],
)  # fmt: skip
def test_packed_bodies_that_are_none(client: httpx.Client, encoding: str, body: bytes,
                                     status: int) -> None:  # fmt: skip
    """Another encoding is named with those that are taken; damage is."""
    answer = client.post(DETECT, content=body, headers=RAW | {"content-encoding": encoding})
    assert answer.status_code == status, answer.text
    if status == 415:
        assert answer.headers["accept-encoding"] == "gzip, deflate"


# -- refusals ------------------------------------------------------------------------------------

TGA = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 8, 8, 24, 0) + bytes(192)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"P6\n8 8\n255\n" + bytes(192), "PPM"),
        (b"P5 8 8 255\n" + bytes(64), "PGM"),
        (TGA, "TGA"),
        (TGA + bytes(8) + b"TRUEVISION-XFILE.\0", "TGA"),
        (b"\0\0\0\x18ftypheic" + bytes(64), "HEIC"),
        (b"\0\0\0\x1cftypisom" + bytes(64), "video"),
        (b"\0\0\0\x14ftypqt  " + bytes(64), "video"),
        (b"\0\0\0\x08wide\0\0\0\0mdat" + bytes(64), "video"),
        (b"RIFF\x24\0\0\0AVI LIST" + bytes(64), "video"),
        (b"\x1aE\xdf\xa3" + bytes(64), "video"),
        (b"\0\0\x01\xba" + bytes(64), "video"),
        ((b"G" + bytes(187)) * 4, "video"),
        (b"#?RADIANCE\n" + bytes(64), "Radiance"),
        (b"FUJIFILMCCD-RAW" + bytes(64), "raw"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(64), "raw"),
        (bytes(128) + b"DICM" + bytes(64), "DICOM"),
    ],
)
def test_formats_that_are_not_taken(client: httpx.Client, data: bytes, named: str) -> None:
    """They are 415, and are named with what to send instead."""
    answer = client.post(DETECT, content=data, headers=RAW)
    assert answer.status_code == 415, answer.text
    assert named.lower() in answer.json()["detail"].lower()
    assert "JPEG" in answer.json()["detail"]
