"""What each training sample shows: which window of which picture, what is pasted, which colours.

Only numbers are drawn here, by NumPy; `training/draw.py` makes the pixels, on a GPU where there is
one. Coordinates are shares of a picture, 0..1, until the very end.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

#: What a box is: nothing (padding), a phone, or what may or may not be one. Where more is trained
#: for than phones, the first class is 1 and the others are 3, 4 and so on.
NOTHING, PHONE, UNSURE = 0, 1, 2
#: Most boxes that a sample keeps, and most things pasted onto a picture.
MAX_BOXES, MAX_PASTES = 24, 3
#: A phone keeps its label in a window when at least this share of it is left; one of which less
#: is left, but some, is neither right nor wrong.
MIN_LEFT, MIN_SEEN = 0.4, 0.03
#: Windows that cut a phone so that it becomes unclear are drawn again, so many times.
MAX_TRIES = 6
#: Windows are so large as a share of the picture; calm ones where there are no mosaics.
ZOOMS, CALM_ZOOMS = (0.4, 1.5), (0.6, 1.2)
#: Half of the windows are so large that a phone's longer side becomes this share of them.
TARGET_SIDES, CALM_TARGET_SIDES = (0.05, 1.1), (0.12, 1.0)
#: How long a pasted thing becomes.
PASTED_SIDES = (0.03, 0.8)
#: The longer side below which a box is too small to learn from.
MIN_SIDE = 0.022
#: Pictures come in other aspects than the square that they are stretched to.
MAX_STRETCH = 0.35


@dataclass(frozen=True)
class Labels:
    """What is in one picture: K x 4 boxes, xyxy, and what each is."""

    boxes: np.ndarray
    kinds: np.ndarray


@dataclass(frozen=True)
class Source:
    """Moments (each a list of near-duplicates, by number) that make up `share` of the samples."""

    share: float
    moments: list[list[int]]
    #: How likely something is pasted onto one of them, each time of at most `MAX_PASTES`.
    paste_share: float = 0.0


@dataclass(frozen=True)
class SpriteLabels:
    """Things to paste: the box of each in its own square (K x 4), and which are phones."""

    boxes: np.ndarray
    phones: np.ndarray
    #: How likely each is drawn.
    weights: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", self.weights / max(self.weights.sum(), 1e-9))


@dataclass
class Plan:
    """A batch of N samples, in arrays; see `training/draw.py` for what becomes of them."""

    pictures: np.ndarray
    #: N x 2 x 3: from the sample's coordinates to the picture's.
    windows: np.ndarray
    fills: np.ndarray
    #: One row a paste: sample, sprite, which of the sample's pastes it is.
    pastes: np.ndarray
    paste_windows: np.ndarray
    paste_lights: np.ndarray
    colors: dict[str, np.ndarray]
    #: Mosaics: the sample that each replaces, and the samples that it shows (4 or 9).
    mosaics: list[tuple[int, np.ndarray]]
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, MAX_BOXES, 4), np.float32))
    kinds: np.ndarray = field(default_factory=lambda: np.zeros((0, MAX_BOXES), np.uint8))


class Planner:
    """Plans batches; `mosaic_share` of the samples are put together of others."""

    def __init__(
        self,
        labels: list[Labels],
        sources: list[Source],
        sprites: SpriteLabels,
        mosaic_share: float,
    ) -> None:
        self.labels, self.sprites, self.mosaic_share = labels, sprites, mosaic_share
        self.sources = [source for source in sources if source.moments]
        shares = np.array([source.share for source in self.sources])
        self.shares = shares / shares.sum()

    def batch(self, rng: Generator, size: int, calm: bool = False) -> Plan:
        """A plan of `size` samples; calm ones are no mosaics and closer to what a picture shows."""
        zooms = CALM_ZOOMS if calm else ZOOMS
        targets = CALM_TARGET_SIDES if calm else TARGET_SIDES
        pictures, windows, found, pastes = [], [], [], []
        for number in range(size):
            source = self.sources[rng.choice(len(self.sources), p=self.shares)]
            moment = source.moments[rng.integers(len(source.moments))]
            picture = moment[rng.integers(len(moment))]
            window = random_window(rng, self.labels[picture], zooms, targets)
            matrix, labels = through(rng, window, self.labels[picture])
            for turn in range(MAX_PASTES):
                if len(self.sprites.boxes) and rng.random() < source.paste_share:
                    labels, paste = add_paste(rng, labels, self.sprites)
                    if paste:
                        pastes.append((number, turn, *paste))
            pictures.append(picture)
            windows.append(matrix)
            found.append(labels)
        mosaics = plan_mosaics(rng, found, 0.0 if calm else self.mosaic_share)
        for number, cells in mosaics:
            found[number] = mosaic_labels([found[cell] for cell in cells])
        boxes, kinds = pad(found)
        return Plan(
            pictures=np.array(pictures),
            windows=np.array(windows, np.float32),
            fills=rng.uniform(0, 255, (size, 3)).astype(np.float32),
            pastes=np.array([paste[:3] for paste in pastes], np.int64).reshape(-1, 3),
            paste_windows=np.array([paste[3] for paste in pastes], np.float32).reshape(-1, 2, 3),
            paste_lights=np.array([paste[4] for paste in pastes], np.float32).reshape(-1, 3),
            colors=random_colors(rng, size),
            mosaics=mosaics,
            boxes=boxes,
            kinds=kinds,
        )


def is_thing(kinds: np.ndarray) -> np.ndarray:
    """Which boxes are of what is trained for, whatever its class."""
    return (kinds != NOTHING) & (kinds != UNSURE)


def kind_of(classes: np.ndarray) -> np.ndarray:
    """What a box of each of these classes is called in a plan."""
    return np.where(classes == 0, PHONE, UNSURE + classes).astype(np.uint8)


def class_of(kinds: np.ndarray) -> np.ndarray:
    """The class number of each; 0 for what has none."""
    return np.maximum(kinds.astype(np.int64) - UNSURE, 0)


def log_uniform(rng: Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def random_window(
    rng: Generator,
    labels: Labels,
    zooms: tuple[float, float],
    targets: tuple[float, float],
) -> np.ndarray:
    """A window of a picture, xyxy; may reach beyond it."""
    phones = labels.boxes[is_thing(labels.kinds)]
    phone = phones[rng.integers(len(phones))] if len(phones) and rng.random() < 0.5 else None
    if phone is None:
        zoom = log_uniform(rng, zooms)
    else:
        zoom = (phone[2:] - phone[:2]).max() / log_uniform(rng, targets)
        zoom = float(np.clip(zoom, 0.25, 2.0))
    stretch = np.exp(rng.uniform(-MAX_STRETCH, MAX_STRETCH) / 2)
    size = np.array([zoom * stretch, zoom / stretch])
    window = np.zeros(4)
    for _ in range(MAX_TRIES):
        low, high = np.minimum(0, 1 - size), np.maximum(0, 1 - size)
        if phone is not None:
            # Somewhere around the phone: all of it in the window where it fits.
            around = np.sort([phone[:2], phone[2:] - size], axis=0)
            low, high = np.maximum(low, around[0]), np.minimum(high, around[1])
            low, high = np.minimum(low, high), np.maximum(low, high)
        corner = rng.uniform(low, high)
        window = np.concatenate([corner, corner + size])
        left = shares_left(labels.boxes, window)
        if not ((left > MIN_SEEN) & (left < MIN_LEFT)).any():
            break
    return window


def shares_left(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    """How much of each box lies in `window` (xyxy), as a share of its area."""
    inside = np.minimum(boxes[:, 2:], window[2:]) - np.maximum(boxes[:, :2], window[:2])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return inside.clip(0).prod(axis=1) / np.maximum(areas, 1e-9)


def through(rng: Generator, window: np.ndarray, labels: Labels) -> tuple[np.ndarray, Labels]:
    """`window` as a matrix from the sample to the picture, mirrored and turned at random; and what
    is seen through it."""
    size = window[2:] - window[:2]
    boxes = (labels.boxes.reshape(-1, 2, 2) - window[:2]) / size
    matrix = np.column_stack([np.diag(size), window[:2]])
    if rng.random() < 0.5:
        matrix = mirror(matrix)
        boxes = mirror_boxes(boxes)
    if rng.random() < 0.12:
        matrix = matrix[:, [1, 0, 2]]
        boxes = boxes[:, :, ::-1]
    left = shares_left(labels.boxes, window)
    return matrix, keep(boxes.reshape(-1, 4), labels.kinds, left)


def mirror(matrix: np.ndarray) -> np.ndarray:
    """`matrix` behind a sample whose x runs the other way."""
    turned = matrix.copy()
    turned[:, 2] += turned[:, 0]
    turned[:, 0] *= -1
    return turned


def mirror_boxes(corners: np.ndarray) -> np.ndarray:
    """K x 2 x 2 corners whose x runs the other way."""
    x = 1 - corners[:, ::-1, 0]
    return np.stack([x, corners[..., 1]], axis=2)


def keep(boxes: np.ndarray, kinds: np.ndarray, left: np.ndarray) -> Labels:
    """Boxes cut at the sample's edges; unclear where little is left, and none where nothing is."""
    cut = boxes.clip(0, 1)
    longest = (cut[:, 2:] - cut[:, :2]).max(axis=1, initial=0)
    unclear = (left < MIN_LEFT) | (longest < MIN_SIDE)
    seen = (left > 0.005) & (longest > 0)
    kinds = np.where(unclear, UNSURE, kinds).astype(np.uint8)
    return Labels(cut[seen].astype(np.float32), kinds[seen])


def add_paste(
    rng: Generator, labels: Labels, sprites: SpriteLabels
) -> tuple[Labels, tuple[int, np.ndarray, np.ndarray] | None]:
    """One more thing in a sample: sprite, window from the sample to it, light; or none, where it
    would hide a phone or lie outside."""
    sprite = int(rng.choice(len(sprites.boxes), p=sprites.weights))
    box = sprites.boxes[sprite].astype(np.float64)
    scale = log_uniform(rng, PASTED_SIDES) / (box[2:] - box[:2]).max()
    stretch = np.exp(rng.uniform(-0.2, 0.2))
    size = np.array([scale * stretch, scale / stretch])
    middle = rng.uniform(0.0, 1.0, 2)
    corner = middle - (box[:2] + box[2:]) / 2 * size
    # The sprite's square lies at corner .. corner + size of the sample.
    matrix = np.column_stack([np.diag(1 / size), -corner / size])
    placed = (box.reshape(1, 2, 2) * size) + corner
    if rng.random() < 0.5:
        matrix, placed = mirror(matrix), mirror_boxes(placed)
    if rng.random() < 0.12:
        matrix, placed = matrix[:, [1, 0, 2]], placed[:, :, ::-1]
    placed = placed.reshape(1, 4)
    left = shares_left(placed, np.array([0, 0, 1, 1]))
    hidden = shares_left(labels.boxes, placed[0])
    on_others = [shares_left(placed, box)[0] for box in labels.boxes]
    if left[0] < 0.6 or max([*hidden, *on_others], default=0) > 0.02:
        return labels, None
    light = np.exp(rng.normal(0, 0.22)) * np.exp(rng.normal(0, 0.05, 3))
    if sprites.phones[sprite]:
        added = keep(placed, np.array([PHONE]), left)
        labels = Labels(
            np.concatenate([labels.boxes, added.boxes]), np.concatenate([labels.kinds, added.kinds])
        )
    return labels, (sprite, matrix, light)


def random_colors(rng: Generator, size: int) -> dict[str, np.ndarray]:
    """Exposure, contrast, tint, gamma; now and then grey, dark, blurred or noisy."""
    dark = np.where(rng.random(size) < 0.08, rng.uniform(0.3, 0.7, size), 1.0)
    gain = np.exp(rng.normal(0, 0.2, (size, 1))) * np.exp(rng.normal(0, 0.06, (size, 3)))
    return {
        "gain": (gain * dark[:, None]).astype(np.float32),
        "contrast": np.exp(rng.normal(0, 0.15, size)).astype(np.float32),
        "offset": rng.normal(0, 8, size).astype(np.float32),
        "gamma": np.exp(rng.normal(0, 0.15, size)).astype(np.float32),
        "saturation": np.where(
            rng.random(size) < 0.08, 0, np.exp(rng.normal(0, 0.25, size))
        ).astype(np.float32),
        "noise": np.where(rng.random(size) < 0.25, rng.uniform(1, 12, size), 0).astype(np.float32),
        "blur": np.where(rng.random(size) < 0.25, rng.uniform(0.3, 1.6, size), 0).astype(
            np.float32
        ),
    }


def plan_mosaics(rng: Generator, found: list[Labels], share: float) -> list[tuple[int, np.ndarray]]:
    """Which samples become mosaics, and of which samples (of those that stay as they are)."""
    size = len(found)
    chosen = rng.permutation(size)[: round(share * size)]
    others = np.setdiff1d(np.arange(size), chosen)
    mosaics = []
    for number in chosen if len(others) else []:
        cells = 4 if rng.random() < 0.75 else 9
        mosaics.append((int(number), rng.choice(others, cells)))
    return mosaics


def mosaic_labels(parts: list[Labels]) -> Labels:
    """The labels of pictures laid out in two or three rows of as many."""
    side = round(len(parts) ** 0.5)
    boxes, kinds = [], []
    for number, part in enumerate(parts):
        at = np.array([number % side, number // side] * 2, np.float32)
        boxes.append((part.boxes + at) / side)
        longest = (boxes[-1][:, 2:] - boxes[-1][:, :2]).max(axis=1, initial=0)
        kinds.append(np.where(longest < MIN_SIDE, UNSURE, part.kinds).astype(np.uint8))
    return Labels(np.concatenate(boxes).astype(np.float32), np.concatenate(kinds))


def pad(found: list[Labels]) -> tuple[np.ndarray, np.ndarray]:
    """N x `MAX_BOXES` x 4 boxes and what they are; of too many the largest stay."""
    boxes = np.zeros((len(found), MAX_BOXES, 4), np.float32)
    kinds = np.full((len(found), MAX_BOXES), NOTHING, np.uint8)
    for number, labels in enumerate(found):
        areas = (labels.boxes[:, 2:] - labels.boxes[:, :2]).prod(axis=1)
        order = np.argsort(-areas)[:MAX_BOXES]
        boxes[number, : len(order)] = labels.boxes[order]
        kinds[number, : len(order)] = labels.kinds[order]
    return boxes, kinds
