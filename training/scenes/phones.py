"""Phones: bodies, fronts and backs, drawn in millimetres."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from training.scenes import screens
from training.scenes.photos import Photo
from training.scenes.raster import (
    BLACK,
    WHITE,
    Canvas,
    Color,
    fractal_noise,
    mix,
    ramp,
    random_color,
    shade,
)


@dataclass(frozen=True)
class Solid:
    """A flat box with rounded corners: one face drawn, the rim in one colour."""

    face: Canvas
    thickness: float
    rim: Color
    #: Light that the face gives off by itself, 0..1: a lit screen stays bright in a dark room.
    glow: float = 0.0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in millimetres."""
        return self.face.width, self.face.height


def phone(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """Any phone, front or back, drawn at `scale` pixels per millimetre."""
    kind = rng.random()
    if kind < 0.52:
        return modern_front(rng, scale, photos)
    if kind < 0.62:
        return button_front(rng, scale, photos)
    if kind < 0.97:
        return back(rng, scale, photos)
    return keypad_phone(rng, scale, photos)


def body_color(rng: Generator) -> Color:
    """Blacks and greys first, then whites, then the colours that phones and cases are sold in."""
    kind = rng.random()
    if kind < 0.45:
        return mix(BLACK, (70, 72, 78), rng.random())
    if kind < 0.62:
        return mix((190, 192, 196), WHITE, rng.random())
    if kind < 0.8:
        return random_color(rng, (0.1, 0.45), (0.35, 0.85))
    return random_color(rng, (0.3, 0.95), (0.3, 0.95))


def draw_screen(
    rng: Generator,
    face: Canvas,
    area: tuple[float, float, float, float],
    radius: float,
    photos: list[Photo],
) -> float:
    """Fill `area` (x, y, width, height) with a screen, on or off; returns how much it glows."""
    x, y, width, height = area
    lit = rng.random() < 0.55
    if lit:
        image = screens.lit_screen(rng, width, height, face.scale, photos)
    else:
        image = screens.dark_screen(rng, width, height, face.scale)
    face.picture(image, x, y, width, height, radius)
    return float(rng.uniform(0.3, 0.9)) if lit else 0.0


def modern_front(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """Almost all screen, with a hole, a notch or an island for the camera."""
    width = rng.uniform(66, 79)
    height = width * rng.uniform(1.95, 2.22)
    corner = rng.uniform(0.08, 0.16) * width
    rim = body_color(rng)
    face = Canvas(width, height, scale, shade(rim, 0.8))
    metal = rng.uniform(0.5, 2.2)
    face.rect(metal, metal, width - 2 * metal, height - 2 * metal, BLACK, corner - metal)
    bezel = metal + rng.uniform(0.8, 2.8)
    inner = max(2.0, corner - bezel)
    area = (bezel, bezel, width - 2 * bezel, height - 2 * bezel)
    glow = draw_screen(rng, face, area, inner, photos)
    kind, center = rng.random(), width / 2
    if kind < 0.3:
        face.circle(center, bezel + 3.4, rng.uniform(1.4, 2.2), BLACK)
    elif kind < 0.55:
        face.rect(center - 9, bezel + 2, 18, 5, BLACK, 2.5)
    elif kind < 0.8:
        notch = rng.uniform(0.1, 0.5) * width
        face.rect(center - notch / 2, bezel - 2, notch, rng.uniform(5, 8), BLACK, 3)
    elif kind < 0.9:
        face.circle(bezel + 6, bezel + 5, 2, BLACK)
    face.cut(corner)
    return Solid(face, rng.uniform(6.8, 10.5), rim, glow)


def button_front(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """An older phone: wide margins above and below the screen, a button, an earpiece."""
    width = rng.uniform(58, 72)
    height = width * rng.uniform(1.8, 2.02)
    color = BLACK if rng.random() < 0.6 else body_color(rng)
    face = Canvas(width, height, scale, color)
    margin, side = rng.uniform(0.08, 0.14) * height, rng.uniform(0.02, 0.06) * width
    area = (side, margin, width - 2 * side, height - 2 * margin)
    glow = draw_screen(rng, face, area, 0.5, photos)
    detail = shade(color, 0.6) if sum(color) > 300 else (75, 75, 80)
    face.rect(width / 2 - 6, margin / 2 - 0.8, 12, 1.6, detail, 0.8)
    button = height - margin / 2
    if rng.random() < 0.6:
        face.circle(width / 2, button, margin * 0.33, detail)
        face.circle(width / 2, button, margin * 0.28, color)
    else:
        face.rect(width / 2 - 7, button - 2.5, 14, 5, detail, 2)
    corner = rng.uniform(0.06, 0.16) * width
    face.cut(corner)
    return Solid(face, rng.uniform(7, 12), shade(color, rng.uniform(0.7, 1.3)), glow)


def keypad_phone(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A small screen above a keypad."""
    width = rng.uniform(46, 56)
    height = width * rng.uniform(2.1, 2.5)
    color = body_color(rng)
    face = Canvas(width, height, scale, color)
    area = (0.1 * width, 0.09 * height, 0.8 * width, 0.36 * height)
    glow = draw_screen(rng, face, area, 1.0, photos)
    key = WHITE if sum(color) < 300 and rng.random() < 0.5 else shade(color, 0.55)
    face.rect(0.33 * width, 0.485 * height, 0.34 * width, 0.1 * height, key, 3)
    for index in range(15):
        x = width * (0.09 + 0.29 * (index % 3))
        y = height * (0.6 + 0.072 * (index // 3))
        face.rect(x, y, 0.24 * width, 0.052 * height, key, 2)
        face.rect(x + 0.1 * width, y + 1.5, 2.5, 2.5, shade(color, 0.9))
    face.cut(rng.uniform(0.1, 0.3) * width)
    return Solid(face, rng.uniform(11, 15), shade(color, 0.8), glow)


def back(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A back, bare or in a case: finish, cameras, a mark."""
    width = rng.uniform(64, 81)
    height = width * rng.uniform(1.92, 2.2)
    color = body_color(rng)
    face = Canvas(width, height, scale, color)
    draw_finish(rng, face, color, photos)
    draw_cameras(rng, face, color)
    if rng.random() < 0.5:
        mark = shade(color, 1.5) if sum(color) < 330 else shade(color, 0.7)
        y = rng.uniform(0.35, 0.85) * height
        if rng.random() < 0.5:
            face.circle(width / 2, y, rng.uniform(2, 6), mark)
        else:
            face.rect(width / 2 - 9, y, 18, 2.6, mark, 1)
    rim = color if rng.random() < 0.5 else shade(color, rng.uniform(0.6, 1.3))
    face.cut(rng.uniform(0.08, 0.17) * width)
    return Solid(face, rng.uniform(7, 13), rim)


def draw_finish(rng: Generator, face: Canvas, color: Color, photos: list[Photo]) -> None:
    """Gloss, a gradient, a printed case, leather or ribs."""
    rows, columns = face.alpha.shape
    light = ramp(rows, columns, rng.uniform(0, 2 * np.pi))
    kind = rng.random()
    if kind < 0.25:
        other = np.asarray(random_color(rng, (0.2, 0.9), (0.3, 1)), np.float32)
        face.rgb += (other - face.rgb) * (light * rng.uniform(0.3, 1.0))[..., None]
    elif kind < 0.35:
        image = photos[rng.integers(len(photos))].read()
        face.picture(image[:, : image.shape[0] // 2], 0, 0, face.width, face.height)
    elif kind < 0.45:
        face.rgb *= 1 + 0.15 * fractal_noise(rng, rows, columns, 2.5 * face.scale, 2)[..., None]
    elif kind < 0.53:
        accent = random_color(rng)
        for _ in range(rng.integers(3, 25)):
            x, y = rng.uniform(0, 1, 2) * (face.width, face.height)
            face.circle(x, y, rng.uniform(1.5, 12), accent if rng.random() < 0.5 else WHITE)
    face.rgb *= (1 + rng.uniform(0.0, 0.5) * (light - 0.5))[..., None]
    if rng.random() < 0.4:
        band = np.exp(-(((light - rng.random()) / rng.uniform(0.03, 0.2)) ** 2))
        face.rgb += (band * rng.uniform(10, 90))[..., None]


def draw_lens(rng: Generator, face: Canvas, x: float, y: float, radius: float, ring: Color) -> None:
    """One camera: a ring, black glass, a glint."""
    face.circle(x, y, radius, ring)
    face.circle(x, y, radius * 0.82, (18, 18, 22))
    face.circle(x, y, radius * 0.45, (35, 38, 60))
    face.circle(x - radius * 0.25, y - radius * 0.25, radius * 0.16, (190, 195, 215))


def draw_cameras(rng: Generator, face: Canvas, color: Color) -> None:
    """Lenses and a flash: in a square, a pillar, a bar, a disc, or one by one."""
    width = face.width
    island = BLACK if rng.random() < 0.4 else shade(color, rng.uniform(0.65, 1.3))
    ring = shade(island, 1.7) if sum(island) < 330 else shade(island, 0.6)
    radius = rng.uniform(4.5, 8.5)
    margin = rng.uniform(3, 7)
    kind = rng.random()
    flash = (250, 240, 205)
    if kind < 0.35:
        side = rng.uniform(0.38, 0.52) * width
        face.rect(margin, margin, side, side, island, 0.25 * side)
        spots = [(0.28, 0.28), (0.28, 0.72), (0.72, 0.5), (0.72, 0.22)]
        for sx, sy in spots[: rng.integers(2, 4)]:
            draw_lens(rng, face, margin + sx * side, margin + sy * side, 0.19 * side, ring)
        face.circle(margin + 0.75 * side, margin + 0.15 * side, 0.07 * side, flash)
    elif kind < 0.6:
        count = int(rng.integers(1, 4))
        pillar, pitch = 2.5 * radius, 2.3 * radius
        face.rect(margin, margin, pillar, count * pitch + radius, island, pillar / 2.2)
        for index in range(count):
            y = margin + 1.4 * radius + index * pitch
            draw_lens(rng, face, margin + pillar / 2, y, radius, ring)
        face.circle(margin + pillar + 3, margin + 5, 1.6, flash)
    elif kind < 0.72:
        y, band = rng.uniform(0.1, 0.2) * face.height, 2.6 * radius
        inset = rng.choice([0.0, 0.06]) * width
        face.rect(inset, y, width - 2 * inset, band, island, inset and band / 2)
        for index in range(rng.integers(1, 4)):
            x = width * (0.22 + 0.19 * index)
            draw_lens(rng, face, x, y + band / 2, radius * 0.85, ring)
        face.circle(width * 0.82, y + band / 2, 1.8, flash)
    elif kind < 0.84:
        disc = rng.uniform(0.22, 0.32) * width
        y = disc + rng.uniform(6, 14)
        face.circle(width / 2, y, disc, island)
        for angle in np.arange(rng.integers(2, 5)) * np.pi / 2 + 0.7:
            x = width / 2 + 0.5 * disc * np.cos(angle)
            draw_lens(rng, face, x, y + 0.5 * disc * np.sin(angle), 0.27 * disc, ring)
    else:
        x = margin + radius if rng.random() < 0.75 else width / 2
        for index in range(rng.integers(1, 4)):
            draw_lens(rng, face, x, margin + radius * (1.2 + 2.5 * index), radius, ring)
        face.circle(x + radius * 2, margin + radius, 1.8, flash)
