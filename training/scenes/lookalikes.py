"""Things that are taken for phones, and things that lie around them: none gets a label."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from training.scenes import screens, textures
from training.scenes.phones import Solid
from training.scenes.photos import Photo
from training.scenes.raster import (
    BLACK,
    WHITE,
    Canvas,
    fractal_noise,
    mix,
    ramp,
    random_color,
    shade,
)

Maker = Callable[[Generator, float, list[Photo]], Solid]


def card(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A bank card, an identity card or a business card."""
    width, height = 85.6, rng.uniform(52, 56)
    color = random_color(rng)
    face = Canvas(width, height, scale, color)
    light = ramp(*face.alpha.shape, rng.uniform(0, 6))
    face.rgb *= (1 + rng.uniform(-0.5, 0.5) * (light - 0.5))[..., None]
    ink = WHITE if sum(color) < 380 else (50, 50, 55)
    kind = rng.random()
    if kind < 0.5:
        face.rect(9, 18, 12, 9.5, (214, 184, 110), 2)
        face.lines_of_text(rng, 9, 33, 66, 1, 9, ink)
        face.circle(66, 44, 6, (235, 60, 50), 0.9)
        face.circle(73, 44, 6, (245, 165, 40), 0.8)
    elif kind < 0.8:
        face.rect(5, 12, 24, 30, (215, 205, 195))
        face.circle(17, 24, 6, (170, 125, 95))
        face.circle(17, 40, 9, random_color(rng))
        face.lines_of_text(rng, 34, 14, 45, 5, 6, ink)
    else:
        face.lines_of_text(rng, 10, 12, 40, 2, 7, ink)
        face.lines_of_text(rng, 10, 34, 60, 3, 5, ink)
    face.cut(3.2)
    return Solid(face, 0.8, shade(color, 0.8))


def book(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A closed book or a notebook with a printed cover."""
    width = rng.uniform(90, 170)
    height = width * rng.uniform(1.25, 1.6)
    color = random_color(rng, (0, 0.9), (0.08, 1))
    face = Canvas(width, height, scale, color)
    ink = WHITE if sum(color) < 380 else (40, 40, 45)
    kind = rng.random()
    if kind < 0.4:
        share = rng.uniform(0.4, 1.0)
        photo = photos[rng.integers(len(photos))].read()
        face.picture(photo, 0, height * (1 - share), width, height * share)
    elif kind < 0.6:
        face.rect(0, height * rng.uniform(0.1, 0.7), width, 0.15 * height, random_color(rng))
    if kind < 0.85:
        face.lines_of_text(rng, 0.1 * width, 0.12 * height, 0.8 * width, 2, 0.09 * height, ink)
        face.lines_of_text(rng, 0.2 * width, 0.9 * height, 0.6 * width, 1, 0.04 * height, ink)
    else:
        face.rect(0.86 * width, 0, 4, height, shade(color, 0.5))
    face.cut(rng.choice([0.5, 4.0]))
    return Solid(face, rng.uniform(4, 35), mix((238, 232, 218), color, rng.choice([0.0, 0.8])))


def remote(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A remote control: long, with rows of buttons and no screen."""
    width = rng.uniform(36, 54)
    height = width * rng.uniform(3.0, 4.6)
    color = mix(BLACK, (60, 60, 62), rng.random()) if rng.random() < 0.7 else mix(WHITE, BLACK, 0.1)
    face = Canvas(width, height, scale, color)
    key = shade(color, 2.4) if sum(color) < 200 else shade(color, rng.uniform(0.3, 0.8))
    face.circle(0.25 * width, 0.05 * height, 0.09 * width, (205, 45, 45))
    y, pitch = 0.11 * height, width * rng.uniform(0.27, 0.36)
    ring_row = int(rng.integers(2, 6))
    row = 0
    while y < 0.9 * height:
        if row == ring_row:
            face.circle(width / 2, y + 0.3 * width, 0.36 * width, key)
            face.circle(width / 2, y + 0.3 * width, 0.15 * width, color)
            y += 0.8 * width
        else:
            tint = random_color(rng, (0.5, 0.9), (0.5, 0.9)) if rng.random() < 0.1 else key
            for column in range(3):
                x = width * (0.22 + 0.28 * column)
                face.rect(x - 0.1 * width, y, 0.2 * width, 0.55 * pitch, tint, 0.1 * width)
            y += pitch
        row += 1
    face.cut(rng.uniform(0.1, 0.45) * width)
    return Solid(face, rng.uniform(14, 24), shade(color, 0.7))


def calculator(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A pocket calculator: a small grey display over many keys."""
    width = rng.uniform(66, 84)
    height = width * rng.uniform(1.6, 2.0)
    color = mix(BLACK, (110, 115, 125), rng.random()) if rng.random() < 0.7 else random_color(rng)
    face = Canvas(width, height, scale, color)
    face.rect(0.07 * width, 0.08 * height, 0.86 * width, 0.17 * height, (160, 172, 150), 1)
    face.text(str(rng.integers(10**7)), 0.3 * width, 0.2 * height, 0.06 * height, (45, 52, 45))
    columns, rows = int(rng.integers(4, 6)), int(rng.integers(5, 8))
    for row in range(rows):
        for column in range(columns):
            shade_of = WHITE if (row > rows - 5 and column < 3) else shade(color, 1.9)
            key = (225, 140, 60) if row == rows - 4 and column > 2 else shade_of
            x = width * (0.08 + 0.86 * column / columns)
            y = height * (0.33 + 0.62 * row / rows)
            face.rect(x, y, 0.68 * width / columns, 0.4 * height / rows, key, 1.5)
    face.cut(5)
    return Solid(face, rng.uniform(9, 16), shade(color, 0.7))


def picture_frame(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A framed picture."""
    width, height = rng.uniform(90, 260), rng.uniform(90, 260)
    frame = rng.uniform(0.04, 0.12) * width
    color = random_color(rng, (0, 0.6), (0.08, 0.95))
    face = Canvas(width, height, scale, color)
    mat = frame * rng.choice([1.0, 2.2])
    face.rect(frame, frame, width - 2 * frame, height - 2 * frame, WHITE)
    photo = photos[rng.integers(len(photos))].read()
    face.picture(photo, mat, mat, width - 2 * mat, height - 2 * mat)
    return Solid(face, rng.uniform(8, 20), shade(color, 0.7))


def paper(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A printed or written sheet, a form, a sticky note."""
    sticky = rng.random() < 0.25
    width = rng.uniform(60, 80) if sticky else rng.uniform(120, 215)
    height = width if sticky else width * 1.414
    color = (
        random_color(rng, (0.3, 0.6), (0.9, 1)) if sticky else mix(WHITE, random_color(rng), 0.05)
    )
    face = Canvas(width, height, scale, color)
    pitch = height / rng.uniform(18, 40)
    rows = int(height * 0.75 / pitch)
    ink = (50, 55, 110) if rng.random() < 0.3 else (70, 70, 72)
    face.lines_of_text(rng, 0.1 * width, 0.12 * height, 0.8 * width, rows, pitch, ink)
    if rng.random() < 0.3:
        face.rect(0.15 * width, 0.4 * height, 0.7 * width, 0.25 * height, random_color(rng))
    return Solid(face, 0.4, shade(color, 0.85))


def wallet(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A folded leather wallet or a passport."""
    width = rng.uniform(85, 115)
    height = width * rng.uniform(0.72, 0.92) if rng.random() < 0.7 else width * 1.4
    dark = (rng.uniform(18, 90), rng.uniform(15, 50), rng.uniform(12, 40))
    color = dark if rng.random() < 0.7 else random_color(rng, (0.2, 0.9), (0.15, 0.7))
    face = Canvas(width, height, scale, color)
    grain = fractal_noise(rng, *face.alpha.shape, 2 * scale, 2)
    face.rgb *= (1 + 0.2 * grain)[..., None]
    seam = shade(color, 1.6)
    for x, y, w, h in [(2, 2, width - 4, 0.5), (2, height - 2.5, width - 4, 0.5)]:
        face.rect(x, y, w, h, seam)
    if rng.random() < 0.5:
        face.rect(0.35 * width, 0.4 * height, 0.3 * width, 0.12 * height, shade(color, 0.7), 1)
    face.cut(rng.uniform(3, 10))
    return Solid(face, rng.uniform(10, 22), shade(color, 0.7))


def tablet(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A tablet: the proportions of a book, wide margins."""
    width = rng.uniform(150, 190)
    height = width * rng.uniform(1.3, 1.45)
    color = BLACK if rng.random() < 0.6 else WHITE
    face = Canvas(width, height, scale, color)
    margin = rng.uniform(8, 18)
    area = (width - 2 * margin, height - 2 * margin)
    if rng.random() < 0.7:
        image = screens.lit_screen(rng, *area, scale, photos)
    else:
        image = screens.dark_screen(rng, *area, scale)
    face.picture(image, margin, margin, *area)
    face.cut(10)
    return Solid(face, rng.uniform(6, 9), (150, 152, 156), 0.4)


def monitor(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A screen on the wall or on the desk, seen without its stand."""
    width = rng.uniform(300, 520)
    height = width * rng.uniform(0.56, 0.65)
    face = Canvas(width, height, scale, BLACK)
    area = (width - 16, height - 20)
    if rng.random() < 0.6:
        image = desktop(rng, *area, scale, photos)
    else:
        image = screens.dark_screen(rng, *area, scale)
    face.picture(image, 8, 8, *area)
    return Solid(face, 12, (30, 30, 32), 0.5)


def desktop(
    rng: Generator, width: float, height: float, scale: float, photos: list[Photo]
) -> np.ndarray:
    """Windows over a wallpaper."""
    screen = Canvas(width, height, scale)
    screens.wallpaper(rng, screen, photos)
    for _ in range(rng.integers(1, 4)):
        w, h = rng.uniform(0.3, 0.8) * width, rng.uniform(0.3, 0.8) * height
        x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
        ground = WHITE if rng.random() < 0.6 else (35, 38, 45)
        screen.rect(x, y, w, h, ground, 2)
        screen.rect(x, y, w, 7, random_color(rng), 2)
        ink = (80, 80, 90) if ground is WHITE else (170, 190, 170)
        screen.lines_of_text(rng, x + 6, y + 12, 0.7 * w, int((h - 18) / 7), 7, ink)
    screen.rect(0, height - 9, width, 9, (30, 32, 40))
    return np.clip(screen.rgb, 0, 255)


def keyboard(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A keyboard, or a laptop's lower half with its touchpad."""
    laptop = rng.random() < 0.5
    width = rng.uniform(290, 350)
    height = width * (0.66 if laptop else rng.uniform(0.32, 0.4))
    color = mix(BLACK, (200, 202, 206), rng.random())
    face = Canvas(width, height, scale, color)
    key = BLACK if sum(color) > 300 and rng.random() < 0.6 else shade(color, rng.choice([0.6, 1.6]))
    top, area = 10.0, (height * 0.5 if laptop else height - 18)
    for row in range(5):
        y, x = top + area * row / 5, 10 + 3.0 * row
        while x < width - 26:
            span = 17.0 if row < 4 or not 80 < x < 160 else 80.0
            face.rect(x, y, min(span, width - 12 - x), area / 5 - 2.5, key, 1.5)
            x += span + 2.5
    if laptop:
        face.rect(0.33 * width, 0.62 * height, 0.34 * width, 0.3 * height, shade(color, 0.85), 4)
    face.cut(8)
    return Solid(face, rng.uniform(10, 20), shade(color, 0.8))


def mouse(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A computer mouse, or the case of a pair of earphones."""
    width = rng.uniform(50, 66)
    height = width * rng.choice([0.8, 1.0, 1.7])
    color = mix(BLACK, WHITE, rng.choice([0.05, 0.3, 0.95]))
    face = Canvas(width, height, scale, color)
    rows, columns = face.alpha.shape
    dome = 1 - np.hypot(np.linspace(-1, 1, columns)[None, :], np.linspace(-1, 1, rows)[:, None])
    face.rgb *= (1 + 0.35 * dome)[..., None].astype(np.float32)
    face.rect(0, 0.38 * height, width, 0.8, shade(color, 0.6))
    if height > 1.5 * width:
        face.rect(width / 2 - 3, 0.12 * height, 6, 0.18 * height, shade(color, 0.4), 3)
    face.cut(0.48 * width)
    return Solid(face, rng.uniform(18, 28), shade(color, 0.75))


def cup(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A cup from above: a rim around a drink."""
    size = rng.uniform(70, 105)
    color = random_color(rng, (0, 0.8), (0.3, 1))
    face = Canvas(size, size, scale, color)
    middle = size / 2
    face.circle(middle, middle, 0.46 * size, shade(color, 0.75))
    face.circle(
        middle, middle, 0.42 * size, (92, 58, 36) if rng.random() < 0.6 else (205, 215, 220)
    )
    face.circle(0.4 * size, 0.38 * size, 0.08 * size, WHITE, 0.25)
    face.cut(middle)
    return Solid(face, rng.uniform(40, 90), shade(color, 0.85))


def pen(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A pen or a pencil."""
    width, height = rng.uniform(7, 12), rng.uniform(130, 180)
    color = random_color(rng)
    face = Canvas(width, height, scale, color)
    face.rect(0, 0, width, 0.1 * height, shade(color, 0.5))
    face.rect(0.3 * width, 0, 0.2 * width, height, shade(color, 1.5))
    face.cut(width / 2)
    return Solid(face, width, shade(color, 0.7))


def block(rng: Generator, scale: float, photos: list[Photo]) -> Solid:
    """A plain box of any proportions, with a pattern: a switch, a tin, a packet, an eraser."""
    width = rng.uniform(30, 120)
    height = width * rng.uniform(0.4, 1.2)
    kinds = textures.TRAINING
    face = Canvas(width, height, scale, WHITE)
    rows, columns = face.alpha.shape
    face.rgb[:] = kinds[rng.integers(len(kinds))](rng, max(rows, 24), max(columns, 24))[
        :rows, :columns
    ]
    if rng.random() < 0.5:
        face.rect(0.2 * width, 0.2 * height, 0.6 * width, 0.3 * height, random_color(rng), 2)
    face.cut(rng.uniform(0, 6))
    return Solid(face, rng.uniform(5, 40), random_color(rng))


#: Small things, such as lie on a desk or are held in a hand like a phone.
SMALL: list[Maker] = [card, card, wallet, wallet, remote, remote, calculator, calculator, book]
SMALL += [mouse, cup, pen, pen, block, block, paper]
#: Large things, which go behind the small ones.
LARGE: list[Maker] = [book, book, paper, paper, paper, tablet, monitor, keyboard, picture_frame]
#: What a hand may hold in place of a phone.
HELD: list[Maker] = [card, wallet, wallet, remote, calculator, book, mouse, paper]
