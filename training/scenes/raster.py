"""Drawing in millimetres on a flat face, noise, and blending."""

import cv2
import numpy as np
from numpy.random import Generator

Color = tuple[float, float, float]

BLACK: Color = (12, 12, 14)
WHITE: Color = (245, 245, 243)


def shade(color: Color, factor: float) -> Color:
    """`color` made darker (below 1) or lighter (above 1), within 0..255."""
    red, green, blue = (min(255.0, max(0.0, channel * factor)) for channel in color)
    return red, green, blue


def mix(first: Color, second: Color, share: float) -> Color:
    """`share` of `second` in `first`."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def hsv(hue: float, saturation: float, value: float) -> Color:
    """A colour from hue, saturation and value, all 0..1, as RGB 0..255."""
    sector = (hue % 1.0) * 6.0
    channels = []
    for offset in (5.0, 3.0, 1.0):
        position = (offset + sector) % 6.0
        weight = max(0.0, min(position, 4.0 - position, 1.0))
        channels.append(255.0 * value * (1.0 - saturation * weight))
    return channels[0], channels[1], channels[2]


def random_color(
    rng: Generator,
    saturation: tuple[float, float] = (0.0, 0.9),
    value: tuple[float, float] = (0.1, 1.0),
) -> Color:
    """Any hue, with saturation and value in the given ranges."""
    return hsv(rng.random(), rng.uniform(*saturation), rng.uniform(*value))


def fractal_noise(
    rng: Generator,
    height: int,
    width: int,
    cell: float,
    octaves: int = 3,
    stretch: float = 1.0,
) -> np.ndarray:
    """Smooth noise, height x width, about -1..1; `cell` px is its largest feature.

    `stretch` above 1 draws the features out along x.
    """
    total = np.zeros((height, width), np.float32)
    amplitude, weight = 1.0, 0.0
    for _ in range(octaves):
        rows = max(2, round(height / cell) + 2)
        columns = max(2, round(width / (cell * stretch)) + 2)
        grid = rng.uniform(-1.0, 1.0, (rows, columns)).astype(np.float32)
        total += amplitude * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight += amplitude
        amplitude *= 0.55
        cell = max(1.5, cell / 2.2)
    return total / weight


def ramp(height: int, width: int, angle: float) -> np.ndarray:
    """A linear ramp from 0 to 1 over height x width, along `angle` in radians."""
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :] * np.float32(np.cos(angle))
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    span = abs(np.cos(angle)) + abs(np.sin(angle))
    return (x + y) / np.float32(span) + 0.5


class Canvas:
    """A flat face, drawn in millimetres from its top left corner.

    `rgb` is height x width x 3 float32, 0..255, premultiplied by `alpha`, height x width, 0..1;
    `scale` is in pixels per millimetre. Without a `color` the face starts fully transparent.
    """

    def __init__(self, width: float, height: float, scale: float, color: Color | None = None):
        self.width, self.height, self.scale = width, height, scale
        shape = (max(2, round(height * scale)), max(2, round(width * scale)))
        self.rgb = np.zeros((*shape, 3), np.float32)
        if color is not None:
            self.rgb[:] = color
        self.alpha = np.full(shape, 0.0 if color is None else 1.0, np.float32)

    def rounded_mask(
        self, x: float, y: float, width: float, height: float, radius: float = 0.0
    ) -> tuple[slice, slice, np.ndarray]:
        """Where a rounded rectangle lies, and its antialiased coverage there."""
        k = self.scale
        rows, columns = self.alpha.shape
        left, right = max(0, int(x * k) - 1), min(columns, int((x + width) * k) + 2)
        top, bottom = max(0, int(y * k) - 1), min(rows, int((y + height) * k) + 2)
        if right <= left or bottom <= top:
            return slice(0, 0), slice(0, 0), np.zeros((0, 0), np.float32)
        radius = min(radius, width / 2, height / 2) * k
        px = np.arange(left, right, dtype=np.float32) + 0.5 - (x + width / 2) * k
        py = np.arange(top, bottom, dtype=np.float32) + 0.5 - (y + height / 2) * k
        qx = (np.abs(px) - (width / 2 * k - radius))[None, :]
        qy = (np.abs(py) - (height / 2 * k - radius))[:, None]
        outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
        distance = outside + np.minimum(np.maximum(qx, qy), 0) - radius
        return slice(top, bottom), slice(left, right), np.clip(0.5 - distance, 0, 1)

    def paint(self, rows: slice, columns: slice, mask: np.ndarray, color: Color | np.ndarray):
        """Blend `color` (one, or one per pixel) into a region with coverage `mask`."""
        region = self.rgb[rows, columns]
        region += (np.asarray(color, np.float32) - region) * mask[..., None]
        alpha = self.alpha[rows, columns]
        alpha += (1.0 - alpha) * mask

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        color: Color,
        radius: float = 0.0,
        opacity: float = 1.0,
    ) -> None:
        """A filled rectangle with rounded corners."""
        rows, columns, mask = self.rounded_mask(x, y, width, height, radius)
        self.paint(rows, columns, mask * opacity, color)

    def circle(self, x: float, y: float, radius: float, color: Color, opacity: float = 1.0) -> None:
        """A filled circle around (x, y)."""
        self.rect(x - radius, y - radius, 2 * radius, 2 * radius, color, radius, opacity)

    def text(self, content: str, x: float, y: float, height: float, color: Color) -> None:
        """One line of text with capitals `height` high, its baseline's left end at (x, y)."""
        mask = np.zeros(self.alpha.shape, np.uint8)
        size = height * self.scale / 21.0
        origin = (round(x * self.scale), round(y * self.scale))
        stroke = max(1, round(size * 2))
        cv2.putText(mask, content, origin, cv2.FONT_HERSHEY_SIMPLEX, size, 255, stroke, cv2.LINE_AA)
        self.paint(slice(None), slice(None), mask.astype(np.float32) / 255, color)

    def lines_of_text(
        self,
        rng: Generator,
        x: float,
        y: float,
        width: float,
        rows: int,
        pitch: float,
        color: Color,
    ) -> None:
        """`rows` lines of unreadable text, `pitch` mm apart."""
        for row in range(rows):
            end = width * (rng.uniform(0.3, 0.8) if row % 5 == 4 else rng.uniform(0.88, 1.0))
            at = 0.0
            while at < end:
                word = min(rng.uniform(0.03, 0.16) * width, end - at)
                self.rect(x + at, y + row * pitch, word, pitch * 0.42, color, opacity=0.8)
                at += word + 0.02 * width

    def picture(
        self, image: np.ndarray, x: float, y: float, width: float, height: float, radius: float = 0
    ) -> None:
        """`image` (any size, RGB) stretched over a rectangle."""
        rows, columns, mask = self.rounded_mask(x, y, width, height, radius)
        if mask.size:
            size = (mask.shape[1], mask.shape[0])
            resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            self.paint(rows, columns, mask, resized.astype(np.float32))

    def cut(self, radius: float) -> None:
        """Round the corners of the whole face off."""
        _, _, mask = self.rounded_mask(0, 0, self.width, self.height, radius)
        self.alpha *= mask
        self.rgb *= mask[..., None]
