"""A person in outline: head, hair, neck, shoulders; who holds a phone is mostly in the picture."""

import cv2
from numpy.random import Generator

from training.scenes.hands import SKIN, limb
from training.scenes.raster import Canvas, Color, random_color, shade


def person(rng: Generator, scale: float) -> Canvas:
    """Head and shoulders, 560 x 620 mm, at `scale` pixels per millimetre."""
    body = Canvas(560, 620, scale)
    skin = shade(SKIN[rng.integers(len(SKIN))], rng.uniform(0.9, 1.05))
    shirt = random_color(rng, (0, 0.8), (0.08, 0.98))
    hair = shade(random_color(rng, (0.1, 0.6), (0.05, 0.45)), rng.uniform(0.5, 1))
    light = (float(rng.uniform(-1, 1)), -0.4)
    middle = 280.0
    for side in (-1, 1):
        shoulder = (middle + side * 150, 400.0)
        limb(body, shoulder, (middle + side * 190, 700), (62, 75), shade(shirt, 0.92), light)
    limb(body, (middle - 110, 430), (middle + 110, 430), (88, 88), shirt, light)
    limb(body, (middle, 480), (middle, 720), (190, 200), shirt, light)
    limb(body, (middle, 230), (middle, 340), (52, 60), shade(skin, 0.82), light)
    long_hair = rng.random() < 0.4
    if long_hair:
        limb(body, (middle, 140), (middle, 290), (100, 105), hair, light)
    limb(body, (middle, 108), (middle, 116), (98, 98), hair, light)
    limb(body, (middle, 135), (middle, 200), (82, 62), skin, light)
    draw_face(rng, body, middle, skin, hair)
    soften = 1.5 * scale
    body.alpha = cv2.GaussianBlur(body.alpha, (0, 0), soften)
    body.rgb = cv2.GaussianBlur(body.rgb, (0, 0), soften)
    return body


def draw_face(rng: Generator, body: Canvas, middle: float, skin: Color, hair: Color) -> None:
    """Eyes, brows, nose and mouth; glasses or a beard on some."""
    shift = rng.uniform(-14, 14)
    if rng.random() < 0.3:
        beard = shade(hair, 1.1)
        limb(body, (middle - 28, 226), (middle + 28, 226), (33, 33), beard, (0, 0))
        limb(body, (middle, 205), (middle, 232), (16, 40), beard, (0, 0))
    for side in (-1, 1):
        x = middle + shift + side * 32
        body.rect(x - 17, 118, 34, 6, hair, 3)
        body.circle(x, 142, 10, (235, 232, 228))
        body.circle(x + shift / 5, 142, 6.5, (45, 35, 30))
    nose = shade(skin, 0.85)
    limb(body, (middle + shift, 150), (middle + shift, 182), (7, 13), nose, (0, 0))
    body.rect(middle + shift - 24, 212, 48, rng.uniform(6, 13), (165, 85, 80), 5)
    if rng.random() < 0.3:
        frame = (25, 25, 28)
        for side in (-1, 1):
            x = middle + shift + side * 34
            body.rect(x - 30, 124, 60, 5, frame, 2)
            body.rect(x - 30, 162, 60, 4, frame, 2)
            body.rect(x - 30, 124, 4, 42, frame, 2)
            body.rect(x + 26, 124, 4, 42, frame, 2)
            body.rect(x - 27, 128, 54, 36, (190, 205, 225), 3, 0.25)
