"""What phones (and tablets, laptops and monitors) show."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from training.scenes.photos import Photo
from training.scenes.raster import BLACK, WHITE, Canvas, Color, mix, ramp, random_color

Screen = Callable[[Generator, Canvas, list[Photo]], None]


def wallpaper(rng: Generator, screen: Canvas, photos: list[Photo]) -> None:
    """A photograph or a gradient over the whole screen."""
    if rng.random() < 0.4:
        image = photos[rng.integers(len(photos))].read()
        rows, columns = image.shape[:2]
        width = min(columns, int(rows * screen.width / screen.height))
        left = int(rng.integers(0, columns - width + 1))
        screen.picture(image[:, left : left + width], 0, 0, screen.width, screen.height)
        return
    first, second = random_color(rng), random_color(rng)
    light = ramp(*screen.alpha.shape, rng.uniform(0, 2 * np.pi))[..., None]
    screen.rgb[:] = np.asarray(first) * (1 - light) + np.asarray(second) * light
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform(0, 1, 2) * (screen.width, screen.height)
        screen.circle(x, y, rng.uniform(0.2, 0.7) * screen.width, random_color(rng), 0.5)


def status_bar(rng: Generator, screen: Canvas, color: Color) -> None:
    """The clock on the left, signal and battery on the right."""
    w, height = screen.width, 1.6
    screen.text(f"{rng.integers(24)}:{rng.integers(60):02}", 0.07 * w, 4.2, height, color)
    for index in range(3):
        screen.rect(w * (0.78 + 0.06 * index), 2.6, 0.04 * w, height, color, 0.5)


def icon_grid(rng: Generator, screen: Canvas, photos: list[Photo]) -> None:
    """A home screen: rows of icons over a wallpaper, and a dock."""
    wallpaper(rng, screen, photos)
    columns = int(rng.integers(4, 6))
    pitch = screen.width / (columns + 0.4)
    icon = pitch * rng.uniform(0.6, 0.75)
    radius = icon * rng.choice([0.22, 0.3, 0.5])
    rows = int(screen.height / (pitch * 1.25)) - 1
    start = int(rng.integers(0, max(1, rows - 2)))
    for row in range(start, rows + 1):
        y = 6 + row * pitch * 1.25
        for column in range(columns):
            if row < rows - 1 and rng.random() < 0.12:
                continue
            x = pitch * (0.2 + column) + (pitch - icon) / 2
            color = random_color(rng, (0.0, 1.0), (0.5, 1.0))
            screen.rect(x, y, icon, icon, color, radius)
            screen.circle(x + icon / 2, y + icon / 2, icon * 0.22, random_color(rng), 0.9)
    status_bar(rng, screen, WHITE)


def lock_screen(rng: Generator, screen: Canvas, photos: list[Photo]) -> None:
    """A large clock and a few notifications over a wallpaper."""
    wallpaper(rng, screen, photos)
    time = f"{rng.integers(10, 24)}:{rng.integers(60):02}"
    w = screen.width
    screen.text(time, 0.22 * w, 0.24 * screen.height, 0.14 * w, WHITE)
    for index in range(rng.integers(0, 4)):
        y = screen.height * (0.45 + 0.12 * index)
        screen.rect(0.05 * w, y, 0.9 * w, 0.1 * screen.height, WHITE, 3, opacity=0.75)
        screen.lines_of_text(rng, 0.15 * w, y + 3, 0.7 * w, 2, 4.5, (60, 60, 65))


def chat(rng: Generator, screen: Canvas, photos: list[Photo]) -> None:
    """A bar on top and bubbles left and right."""
    dark = rng.random() < 0.4
    ground = BLACK if dark else mix(WHITE, random_color(rng), 0.1)
    own, other = (
        random_color(rng, (0.3, 0.9), (0.6, 1.0)),
        (70, 70, 75) if dark else (225, 225, 228),
    )
    w = screen.width
    screen.rect(0, 0, w, screen.height, ground)
    screen.rect(0, 0, w, 14, own if rng.random() < 0.5 else other)
    screen.circle(0.14 * w, 9, 3.2, random_color(rng))
    y = 18.0
    while y < screen.height * rng.uniform(0.7, 0.95):
        width, rows = rng.uniform(0.35, 0.75) * w, int(rng.integers(1, 4))
        mine = rng.random() < 0.5
        x = w * 0.96 - width if mine else w * 0.04
        height = 3.5 + rows * 3.6
        screen.rect(x, y, width, height, own if mine else other, 3)
        ink = WHITE if dark or mine else (60, 60, 60)
        screen.lines_of_text(rng, x + 2.5, y + 2.5, width - 5, rows, 3.6, ink)
        y += height + rng.uniform(1.5, 4)
    status_bar(rng, screen, WHITE if dark else (40, 40, 40))


def article(rng: Generator, screen: Canvas, photos: list[Photo]) -> None:
    """A page of text with a headline and pictures."""
    dark = rng.random() < 0.3
    ground, ink = (BLACK, (200, 200, 200)) if dark else (WHITE, (60, 60, 62))
    w = screen.width
    screen.rect(0, 0, w, screen.height, ground)
    if rng.random() < 0.6:
        screen.rect(0, 0, w, 13, random_color(rng, (0.3, 0.9), (0.3, 0.9)))
    y = 19.0
    while y < screen.height - 8:
        if rng.random() < 0.35:
            height = rng.uniform(0.3, 0.6) * w
            photo = photos[rng.integers(len(photos))].read()
            screen.picture(photo, 0.06 * w, y, 0.88 * w, height, rng.choice([0, 2]))
            y += height + 4
        rows = int(rng.integers(2, 7))
        screen.lines_of_text(rng, 0.07 * w, y, 0.86 * w, rows, 4, ink)
        y += rows * 4 + 4
    status_bar(rng, screen, ink)


def full_picture(rng: Generator, screen: Canvas, photos: list[Photo]) -> None:
    """A photograph or a film between black bars."""
    screen.rect(0, 0, screen.width, screen.height, BLACK)
    share = rng.uniform(0.3, 1.0)
    photo = photos[rng.integers(len(photos))].read()
    top = screen.height * (1 - share) / 2
    screen.picture(photo, 0, top, screen.width, screen.height * share)
    if rng.random() < 0.4:
        screen.circle(screen.width / 2, screen.height / 2, 6, WHITE, 0.8)


def dial_pad(rng: Generator, screen: Canvas, photos: list[Photo]) -> None:
    """Twelve keys and a round button: a dialler, a calculator."""
    dark = rng.random() < 0.5
    ground, key = (BLACK, (65, 65, 68)) if dark else (WHITE, (226, 226, 230))
    w = screen.width
    screen.rect(0, 0, w, screen.height, ground)
    ink = WHITE if dark else (40, 40, 40)
    screen.text(str(rng.integers(10**6)), 0.2 * w, 0.22 * screen.height, 5, ink)
    for index in range(12):
        x, y = w * (0.22 + 0.28 * (index % 3)), screen.height * (0.36 + 0.12 * (index // 3))
        screen.circle(x, y, 0.1 * w, key)
        screen.text(str((index + 1) % 10), x - 1.5, y + 2, 4, ink)
    screen.circle(w / 2, screen.height * 0.87, 0.1 * w, (60, 200, 90))


def map_view(rng: Generator, screen: Canvas, photos: list[Photo]) -> None:
    """Streets on a pale ground, a park, a river, a search field."""
    w, h = screen.width, screen.height
    screen.rect(0, 0, w, h, (238, 234, 224))
    screen.circle(*rng.uniform(0, 1, 2) * (w, h), rng.uniform(0.1, 0.4) * h, (190, 222, 180))
    screen.rect(0, rng.uniform(0, h), w, rng.uniform(4, 25), (165, 205, 235))
    for _ in range(rng.integers(5, 14)):
        color = WHITE if rng.random() < 0.7 else (248, 215, 120)
        if rng.random() < 0.5:
            screen.rect(0, rng.uniform(0, h), w, rng.uniform(0.8, 2.5), color)
        else:
            screen.rect(rng.uniform(0, w), 0, rng.uniform(0.8, 2.5), h, color)
    screen.circle(w / 2, h / 2, 2.5, (40, 110, 240))
    screen.rect(0.05 * w, 7, 0.9 * w, 9, WHITE, 4.5)


LIT: list[Screen] = [
    icon_grid,
    icon_grid,
    lock_screen,
    chat,
    article,
    full_picture,
    dial_pad,
    map_view,
    wallpaper,
]


def lit_screen(
    rng: Generator, width: float, height: float, scale: float, photos: list[Photo]
) -> np.ndarray:
    """A screen that is on: rows x columns x 3 float32, as bright as screens look in a room."""
    screen = Canvas(width, height, scale, BLACK)
    LIT[rng.integers(len(LIT))](rng, screen, photos)
    return np.clip(screen.rgb * rng.uniform(0.75, 1.15), 0, 255)


def dark_screen(rng: Generator, width: float, height: float, scale: float) -> np.ndarray:
    """A screen that is off: black glass with a faint reflection of the room."""
    screen = Canvas(width, height, scale, mix(BLACK, random_color(rng, (0, 0.6), (0.1, 0.3)), 0.4))
    rows, columns = screen.alpha.shape
    angle = rng.uniform(0, 2 * np.pi)
    light = ramp(rows, columns, angle)
    screen.rgb += (light * rng.uniform(0, 40))[..., None]
    if rng.random() < 0.5:
        edge, strength = rng.uniform(0.3, 0.8), rng.uniform(8, 60)
        width_of_edge = rng.uniform(0.005, 0.1)
        sheen = np.clip((light - edge) / width_of_edge, 0, 1) * strength
        if rng.random() < 0.5:
            sheen *= np.clip((edge + rng.uniform(0.1, 0.4) - light) / width_of_edge, 0, 1)
        screen.rgb += sheen[..., None] * np.asarray(random_color(rng, (0, 0.25), (0.8, 1))) / 255
    return screen.rgb
