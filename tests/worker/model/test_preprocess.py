"""worker.model.preprocess: pixel by pixel against a plain reference, for every kind of file."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import InvalidImage
from tests.paths import ROOT
from tests.worker.pictures import Pixels, encode, gradient, turned
from worker.model.preprocess import Prepared, preprocess

EXAMPLES = ROOT / "examples"


def prepare(data: bytes, kind: str = "PNG", size: tuple[int, int] = (60, 90)) -> Prepared:
    del kind
    return preprocess(data, *size)


def stretched(image: Pixels, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation at the centres of the new pixels, borders repeated."""
    rows = np.clip((np.arange(height) + 0.5) * image.shape[0] / height - 0.5, 0, None)
    columns = np.clip((np.arange(width) + 0.5) * image.shape[1] / width - 0.5, 0, None)
    top, left = rows.astype(int), columns.astype(int)
    bottom = np.minimum(top + 1, image.shape[0] - 1)
    right = np.minimum(left + 1, image.shape[1] - 1)
    down, along = (rows - top)[:, None, None], (columns - left)[None, :, None]
    source = image.astype(np.float64)
    upper = source[top][:, left] * (1 - along) + source[top][:, right] * along
    lower = source[bottom][:, left] * (1 - along) + source[bottom][:, right] * along
    blended: np.ndarray = upper * (1 - down) + lower * down
    return blended


def oriented(image: Pixels, orientation: int) -> Pixels:
    """What a person sees of pixels stored under an EXIF orientation."""
    return {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.transpose(1, 0, 2),
        6: image[::-1].transpose(1, 0, 2),
        7: image[::-1, ::-1].transpose(1, 0, 2),
        8: image[:, ::-1].transpose(1, 0, 2),
    }[orientation]


def assert_same(given_: Pixels, expected: np.ndarray, levels: float = 0) -> None:
    difference = np.abs(given_.astype(np.float64) - expected.astype(np.float64))
    assert difference.max() <= levels


#: How formats are written that would lose more than they must.
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "MPO": {"quality": 98, "subsampling": 0},
    "WEBP": {"lossless": True},
}


@settings(max_examples=60, deadline=None)
@given(
    source=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    target=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    seed=st.integers(0, 2**32 - 1),
)
def test_stretch(source: tuple[int, int], target: tuple[int, int], seed: int) -> None:
    """Any image is stretched to any size; where it grows, by bilinear interpolation."""
    image = np.random.default_rng(seed).integers(0, 256, (*source, 3), dtype=np.uint8)
    prepared = prepare(encode(image, "PNG"), size=target)
    assert prepared.pixels.shape == (*target, 3)
    assert prepared.pixels.dtype == np.uint8
    assert prepared.pixels.flags.c_contiguous
    assert (prepared.height, prepared.width) == source
    if source[0] <= target[0] and source[1] <= target[1]:
        assert_same(prepared.pixels, stretched(image, *target), levels=1)


def photograph(width: int, height: int) -> Pixels:
    """An example at this size, with the noise of a camera."""
    example = cv2.imread(str(EXAMPLES / "exam.jpg"), cv2.IMREAD_COLOR_RGB)
    assert example is not None
    smaller = width < example.shape[1]
    kind = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    image = np.asarray(cv2.resize(example, (width, height), interpolation=kind), np.float32)
    noise = np.random.default_rng(5).normal(0, 3, (height, width, 1)).astype(np.float32)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def rms(one: Pixels, other: Pixels) -> float:
    """Root mean square of the difference, in grey levels."""
    return float(np.sqrt(np.square(one.astype(np.float64) - other).mean()))


#: From smaller than the model's 320 x 320 to larger than a phone's camera makes, in all shapes.
SIZES = [(200, 150), (320, 320), (330, 330), (400, 300), (640, 480), (641, 481), (720, 1280),
         (1000, 1000), (1281, 721), (1920, 1080), (2501, 1603), (600, 2700),
         (3600, 2400)]  # fmt: skip
size = pytest.mark.parametrize(("width", "height"), SIZES, ids=str)


@size
def test_shrinking_averages_areas(width: int, height: int) -> None:
    """What a model sees of a photograph of any size is the mean of each area, nearly."""
    image = photograph(width, height)
    prepared = prepare(encode(image, "PNG", compress_level=0), size=(320, 320))
    least = (min(width, 320), min(height, 320))
    means = cv2.resize(image, least, interpolation=cv2.INTER_AREA)
    expected = cv2.resize(means, (320, 320), interpolation=cv2.INTER_LINEAR)
    plain = cv2.resize(image, (320, 320), interpolation=cv2.INTER_LINEAR)
    found = rms(prepared.pixels, expected)
    assert found <= 3.5
    assert found <= max(2.0, 0.75 * rms(plain, expected)), "no better than skipping pixels"


@size
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_every_format_gives_the_same(kind: str, width: int, height: int) -> None:
    """The pixels of a JPEG in a file of another format give a model the same, small and large."""
    jpeg = encode(photograph(width, height), "JPEG", quality=90)
    with Image.open(io.BytesIO(jpeg)) as opened:
        decoded = np.asarray(opened.convert("RGB"))
    options = {"WEBP": {"lossless": True, "quality": 0, "method": 0}, "PNG": {"compress_level": 0}}
    other = encode(decoded, kind, **options.get(kind, {}))
    one, two = (preprocess(data, 320, 320) for data in (jpeg, other))
    assert (one.width, one.height) == (two.width, two.height) == (width, height)
    assert rms(one.pixels, two.pixels) <= 1.0


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("share", [2, 4, 8])
def test_a_large_jpeg_is_decoded_small(share: int, orientation: int,
                                       monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """So that two pixels are left for each of the model's, upright, with the size that a person
    sees; the pixels are those of the full size averaged."""
    decoded: list[tuple[int, ...]] = []
    decode = simplejpeg.decode_jpeg

    def watched(*arguments: Any, **options: Any) -> np.ndarray:
        image: np.ndarray = decode(*arguments, **options)
        decoded.append(image.shape)
        return image

    monkeypatch.setattr("worker.model.preprocess.simplejpeg.decode_jpeg", watched)
    image = photograph(91 * share, 121 * share)
    data = encode(image, "JPEG", exif=turned(orientation), **OPTIONS["JPEG"])
    upright = oriented(image, orientation)
    height, width = upright.shape[:2]
    model = (60, 60)
    prepared = preprocess(data, *model)
    assert decoded == [(image.shape[0] // share, image.shape[1] // share, 3)]
    assert (prepared.width, prepared.height) == (width, height)
    expected = cv2.resize(upright, model, interpolation=cv2.INTER_AREA)
    assert rms(prepared.pixels, expected) <= 4


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_colour_order(kind: str, channel: int) -> None:
    """Red is the first channel, blue the last, in every format."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., channel] = 255
    mean = prepare(encode(image, kind), kind).pixels.mean(axis=(0, 1))
    assert mean[channel] > 250
    assert np.delete(mean, channel).max() < 5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation(kind: str, orientation: int) -> None:
    """A rotated or mirrored photograph comes out upright, and so does its size."""
    image = gradient()
    options = OPTIONS.get(kind, {})
    data = encode(image, kind, exif=turned(orientation), **options)
    expected = oriented(image, orientation)
    height, width = expected.shape[:2]
    prepared = prepare(data, kind, (height, width))
    assert (prepared.width, prepared.height) == (width, height)
    assert_same(prepared.pixels, expected, levels=6 if kind == "JPEG" else 0)


GREY = np.repeat(gradient()[..., :1], 3, axis=2)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_grey(kind: str) -> None:
    """Grey images become RGB of equal channels."""
    data = encode(GREY[..., 0], kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert_same(prepare(data, kind).pixels, GREY, levels=2)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF"])
def test_palette(kind: str) -> None:
    """Palette images become the colours of their palette."""
    image = Image.fromarray(gradient()).quantize(200)
    assert_same(prepare(encode(image, kind), kind).pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_one_bit(kind: str) -> None:
    """Images of one bit a pixel become black and white."""
    image = Image.fromarray(gradient()).convert("1")
    assert_same(prepare(encode(image, kind), kind).pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_transparency_is_dropped(kind: str, options: dict[str, object]) -> None:
    """The colours under the alpha channel are what the model sees."""
    image = Image.fromarray(gradient())
    image.putalpha(Image.fromarray(gradient()[..., 1]))
    data = encode(image, kind, exact=True, **options)
    assert_same(prepare(data, kind).pixels, gradient())


def test_grey_with_transparency() -> None:
    """Grey with alpha becomes grey."""
    image = Image.fromarray(GREY[..., 0])
    image.putalpha(128)
    assert image.mode == "LA"
    assert_same(prepare(encode(image, "PNG")).pixels, GREY)


def test_cmyk_jpeg() -> None:
    """CMYK JPEGs, which are stored inverted, come out in the colours that were put in."""
    image = Image.fromarray(gradient()).convert("CMYK")
    assert_same(prepare(encode(image, "JPEG", quality=98), "JPEG").pixels, gradient(), levels=6)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey(kind: str) -> None:
    """16-bit images keep their brightness: the upper eight bits are what is left."""
    image = GREY[..., 0].astype(np.uint16) * 257
    assert_same(prepare(encode(Image.fromarray(image), kind), kind).pixels, GREY, levels=1)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bit_colour(suffix: str) -> None:
    """16-bit colour keeps its brightness and its order of channels."""
    _, data = cv2.imencode(suffix, gradient()[..., ::-1].astype(np.uint16) * 257)
    assert_same(prepare(data.tobytes()).pixels, gradient(), levels=1)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_first_of_several_frames(kind: str) -> None:
    """Of animations, multi-page and multi-picture files the first image is taken."""
    first = Image.fromarray(gradient()).quantize(200).convert("RGB")
    options = OPTIONS.get(kind, {})
    others = [Image.new("RGB", first.size, "white"), Image.new("RGB", first.size, "black")]
    data = encode(first, kind, save_all=True, append_images=others, **options)
    levels = 20 if kind == "MPO" else 0
    assert_same(prepare(data, kind).pixels, np.asarray(first), levels)


def test_progressive_jpeg() -> None:
    """Progressive JPEGs give the pixels of sequential ones."""
    options = {"quality": 95, "subsampling": 0}
    plain = prepare(encode(gradient(), "JPEG", **options), "JPEG")
    progressive = prepare(encode(gradient(), "JPEG", progressive=True, **options), "JPEG")
    assert_same(progressive.pixels, plain.pixels)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_compressions(compression: str) -> None:
    """The lossless compressions of TIFF are all read."""
    data = encode(gradient(), "TIFF", compression=compression)
    assert_same(prepare(data, "TIFF").pixels, gradient())


def test_one_pixel() -> None:
    """The smallest image becomes an even field."""
    prepared = prepare(encode(np.full((1, 1, 3), 77, np.uint8), "PNG"), size=(32, 64))
    assert (prepared.width, prepared.height) == (1, 1)
    assert_same(prepared.pixels, np.full((32, 64, 3), 77))


@pytest.mark.parametrize("data", [b"", b"words", bytes(500)])
def test_what_is_no_image(data: bytes) -> None:
    """What is no image is an InvalidImage, whoever let it come so far."""
    with pytest.raises(InvalidImage, match="not an image"):
        prepare(data)


NOISE = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG", "BMP"])
def test_half_a_file(kind: str) -> None:
    """A file that ends too early is an InvalidImage that names the format."""
    data = encode(NOISE, kind)
    with pytest.raises(InvalidImage, match=f"the {kind} is cut short"):
        prepare(data[: len(data) // 2], kind)


@pytest.mark.parametrize("end", [b"", b"\xff\xd9", bytes(50) + b"\xff\xd9", b"\xff"])
@pytest.mark.parametrize("part", [0.4, 0.6, 0.8, 0.95])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 3}])
def test_half_a_jpeg(options: dict[str, Any], part: float, end: bytes) -> None:
    """So is a JPEG whose scan is half there, whatever stands at its end."""
    data = encode(NOISE, "JPEG", quality=95, **options)
    with pytest.raises(InvalidImage, match=r"the JPEG (is cut short|cannot be decoded)"):
        prepare(data[: int(len(data) * part)] + end, "JPEG")


@pytest.mark.parametrize("end", [b"", bytes(40), bytes(40) + b"\xff\xd9", b"\xff\xd9" + bytes(99),
                                 b"\xff\xd9\x00\x00\x00\x18ftypmp42 \xff\xda \xff"])  # fmt: skip
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_odd_ends_of_a_whole_jpeg(options: dict[str, Any], end: bytes) -> None:
    """A JPEG whose data is complete is taken without its end marker, and with anything behind."""
    data = encode(gradient(), "JPEG", **options)
    assert data.endswith(b"\xff\xd9")
    assert_same(prepare(data[:-2] + end, "JPEG").pixels, prepare(data, "JPEG").pixels)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_data_that_cannot_be(kind: str) -> None:
    """A file that looks whole and whose data is none says so, and nothing of C++."""
    data = encode(NOISE, kind)
    middle = len(data) // 2
    data = data[: middle - 400] + b"\xa5" * 800 + data[middle + 400 :]
    with pytest.raises(InvalidImage) as refused:
        prepare(data, kind)
    assert str(refused.value) == f"the {kind} cannot be decoded: its data is damaged or cut short"
