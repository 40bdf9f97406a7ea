"""pipeline.draw: boxes where they were found, in the colours of their labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from pipeline import draw
from pipeline.job import Box, Detection


def found(x1: float, y1: float, x2: float, y2: float, label: str = "phone") -> Detection:
    return Detection(label=label, score=0.875, box=Box(x1=x1, y1=y1, x2=x2, y2=y2))


def canvas(width: int = 200, height: int = 120, colour: str = "black") -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def test_box() -> None:
    """The outline lies on the corners, in the label's colour; the inside is left alone."""
    drawn = draw.draw(canvas(), [found(40, 60, 150, 100)])
    hue = ImageColor.getrgb(draw.colour("phone"))
    for corner in ((40, 60), (150, 60), (40, 100), (150, 100), (95, 100)):
        assert drawn.getpixel(corner) == hue
    assert drawn.getpixel((95, 80)) == (0, 0, 0)
    assert drawn.getpixel((30, 110)) == (0, 0, 0)


def test_label_above_the_box() -> None:
    """Label and score stand in white above the box."""
    pixels = np.asarray(draw.draw(canvas(), [found(40, 60, 150, 100)]))
    assert (pixels[40:60, 40:150] == 255).all(axis=2).any()
    assert not pixels[:40].any()


def test_label_of_a_box_at_the_top() -> None:
    """Where there is no room above, the label stands inside the box."""
    pixels = np.asarray(draw.draw(canvas(), [found(40, 0, 150, 100)]))
    assert (pixels[:20, 40:150] == 255).all(axis=2).any()


def test_source_is_left_alone() -> None:
    """What is drawn on is a copy."""
    image = canvas()
    draw.draw(image, [found(40, 60, 150, 100)])
    assert not np.asarray(image).any()


def test_nothing_found() -> None:
    """Without detections the image is as it was."""
    assert draw.draw(canvas(colour="green"), []).tobytes() == canvas(colour="green").tobytes()


def test_best_on_top() -> None:
    """Where boxes cross, the better one, which comes first, is seen."""
    boxes = [found(20, 50, 100, 100, "a"), found(20, 50, 100, 100, "b")]
    assert draw.colour("a") != draw.colour("b")
    assert draw.draw(canvas(), boxes).getpixel((60, 100)) == ImageColor.getrgb(draw.colour("a"))


def test_colours() -> None:
    """A label has one colour, of those that white text can be read on."""
    assert draw.colour("phone") == draw.colour("phone")
    assert {draw.colour(f"label {n}") for n in range(50)} <= set(draw.COLOURS)
    assert len({draw.colour(f"label {n}") for n in range(50)}) > 3
    for hue in draw.COLOURS:
        red, green, blue = ((v / 255) ** 2.2 for v in ImageColor.getrgb(hue))
        luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        assert 1.05 / (luminance + 0.05) > 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    """Boxes are in the pixels that a person sees, so the image is turned upright first."""
    image = canvas()
    image.getexif()[274] = orientation
    drawn = draw.draw(image, [found(10, 50, 100, 110)])
    assert drawn.size == ((120, 200) if orientation >= 5 else (200, 120))
    assert drawn.getpixel((50, 110)) == ImageColor.getrgb(draw.colour("phone"))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_modes(mode: str) -> None:
    """Every kind of image can be drawn on, and keeps its brightness."""
    grey = canvas(colour="#666666").convert("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
        assert image.mode == mode
    else:
        image = grey.convert("RGB").convert(mode, dither=Image.Dither.NONE)
    drawn = draw.draw(image, [found(40, 60, 150, 100)])
    assert drawn.mode == "RGB"
    expected = 0 if mode == "1" else 0x66
    assert np.abs(np.array(drawn.getpixel((95, 80))) - expected).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (4000, 20)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    """Images that are tiny or narrow can be drawn on."""
    assert draw.draw(canvas(*size), [found(0, 0, 1, 1)]).size == size


@pytest.mark.parametrize("label", ["手机", "", "x" * 300, "a\nb", "\U0001f4f1"])
def test_odd_labels(label: str) -> None:
    """No label is in the way of its box."""
    drawn = draw.draw(canvas(), [found(40, 60, 150, 100, label)])
    assert drawn.getpixel((95, 100)) == ImageColor.getrgb(draw.colour(label))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_save(tmp_path: Path, suffix: str) -> None:
    """The file that comes out has the format of its name and the boxes in it."""
    source, target = tmp_path / "in.png", tmp_path / f"out.{suffix}"
    canvas().save(source)
    draw.save(source, [found(40, 60, 150, 100)], target)
    with Image.open(target) as saved:
        assert saved.size == (200, 120)
        assert np.asarray(saved).any()
