"""Makes the pixels of a plan, a batch at a time, on whichever device the pictures lie."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.plan import MAX_PASTES, NOTHING, UNSURE, Plan, class_of, is_thing

#: Where a picture shrinks, it is first reduced to half its size, or a quarter, and so on, or fine
#: patterns would flicker. Sprites are kept reduced.
PICTURE_LEVELS, SPRITE_LEVELS = 3, 4
#: Samples drawn at once: what that takes of the device's memory is about 10 MB each.
AT_ONCE = 128
#: Of the blur.
KERNEL = 7


def layout(device: torch.device) -> torch.memory_format:
    """How images and weights lie in memory.

    Channels last doubles the speed of depthwise convolutions on a CPU. On a GPU cuDNN then compiles
    a kernel for every shape, which took longer than a minute before the first step.
    """
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


class Sprites:
    """Things to paste: K x 4 x size x size uint8, RGB multiplied by alpha, and alpha."""

    def __init__(self, rgba: Tensor) -> None:
        self.size = rgba.shape[-1]
        self.levels = [rgba]
        for _ in range(SPRITE_LEVELS - 1):
            parts = [
                functional.avg_pool2d(part.float(), 2).round().to(torch.uint8)
                for part in self.levels[-1].split(256)
            ]
            self.levels.append(torch.cat(parts) if parts else rgba)


def level_of(windows: np.ndarray, side: int, pixels: int, levels: int) -> np.ndarray:
    """How often to halve what is `side` pixels large, for windows of it in so many pixels."""
    # How much of it a sample's width and height show.
    shown = np.abs(windows[:, :, :2]).sum(axis=1)
    shrinks = np.log2(np.maximum(shown.mean(axis=1) * side / pixels, 1e-6))
    return np.clip(np.round(shrinks), 0, levels - 1).astype(int)


@dataclass(frozen=True)
class Album:
    """All pictures, K x 3 x side x side uint8 RGB, and all sprites."""

    pictures: Tensor
    sprites: Sprites | None


def sampling_grid(windows: Tensor, size: int) -> Tensor:
    """Where each pixel of size x size is in the picture, as `grid_sample` wants it (-1..1)."""
    scale, shift = windows[..., :2], windows[..., 2]
    theta = torch.cat([scale, (scale.sum(dim=2) + 2 * shift - 1)[..., None]], dim=2)
    return functional.affine_grid(theta, [len(windows), 1, size, size], align_corners=False)


def sample(images: Tensor, grid: Tensor) -> Tensor:
    """`images` (uint8 or float) at the points of `grid`, black beyond them."""
    return functional.grid_sample(images.float(), grid, align_corners=False)


@torch.no_grad()
def draw(album: Album, plan: Plan, size: int, generator: torch.Generator) -> Tensor:
    """The batch: N x 3 x size x size float32, 0..255."""
    device = album.pictures.device
    count = len(plan.pictures)
    images = torch.empty((count, 3, size, size), device=device)
    levels = level_of(plan.windows, album.pictures.shape[-1], size, PICTURE_LEVELS)
    for level in range(PICTURE_LEVELS):
        rows = np.flatnonzero(levels == level)
        for part in np.split(rows, range(AT_ONCE, len(rows), AT_ONCE)):
            if len(part):
                images[on(device, part)] = show(album.pictures, plan, part, level, size)
    if album.sprites:
        paste(album.sprites, plan, images)
    images = recolor(images, plan.colors, generator)
    put_mosaics(images, plan)
    return images


def on(device: torch.device, values: np.ndarray) -> Tensor:
    """`values` there, without waiting for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


def show(pictures: Tensor, plan: Plan, rows: np.ndarray, level: int, size: int) -> Tensor:
    """What the windows of these samples show, filled with a colour beyond the pictures."""
    device = pictures.device
    grid = sampling_grid(on(device, plan.windows[rows]), size)
    shown = pictures[on(device, plan.pictures[rows])].float()
    for _ in range(level):
        shown = functional.avg_pool2d(shown, 2)
    inside = (grid.abs() <= 1).all(dim=-1)[:, None]
    fill = on(device, plan.fills[rows])[:, :, None, None]
    return torch.where(inside, sample(shown, grid), fill)


def paste(sprites: Sprites, plan: Plan, images: Tensor) -> None:
    """Paste what is planned onto `images`, in place."""
    device, size = images.device, images.shape[-1]
    levels = level_of(plan.paste_windows, sprites.size, size, SPRITE_LEVELS)
    for turn in range(MAX_PASTES):
        for level in range(SPRITE_LEVELS):
            # No sample has two of the same turn: each is written to once.
            rows = np.flatnonzero((plan.pastes[:, 1] == turn) & (levels == level))
            if not len(rows):
                continue
            samples, chosen = on(device, plan.pastes[rows, 0]), on(device, plan.pastes[rows, 2])
            grid = sampling_grid(on(device, plan.paste_windows[rows]), size)
            shown = sample(sprites.levels[level][chosen], grid)
            light = on(device, plan.paste_lights[rows])[:, :, None, None]
            behind = images[samples] * (1 - shown[:, 3:] / 255)
            images[samples] = behind + (shown[:, :3] * light).clamp(max=255)


def recolor(images: Tensor, colors: dict[str, np.ndarray], generator: torch.Generator) -> Tensor:
    """Other colours, noise and blur."""
    device = images.device
    values = {name: on(device, value) for name, value in colors.items()}

    def each(name: str) -> Tensor:
        return values[name].reshape(len(images), -1, 1, 1)

    images = blur(images, values["blur"])
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * each("saturation")
    images = (images - 128) * each("contrast") + 128 + each("offset")
    images = (images / 255).clamp(min=0).pow(each("gamma")) * 255 * each("gain")
    noise = torch.randn(images.shape, device=device, generator=generator)
    return (images + noise * each("noise")).clamp(0, 255)


def blur(images: Tensor, deviation: Tensor) -> Tensor:
    """Gaussian blur by another deviation (pixels) for each image."""
    at = torch.arange(KERNEL, device=images.device).float() - KERNEL // 2
    weights = torch.exp(-(at**2) / (2 * deviation.clamp(min=0.05)[:, None] ** 2))
    weights = weights / weights.sum(dim=1, keepdim=True)
    count, channels, height, width = images.shape
    # One group an image and channel: all images go as channels of a single one.
    flat = images.contiguous().reshape(1, count * channels, height, width)
    kernels = weights.repeat_interleave(channels, dim=0)
    flat = functional.pad(flat, [KERNEL // 2] * 4, mode="replicate")
    flat = functional.conv2d(flat, kernels[:, None, None, :], groups=count * channels)
    flat = functional.conv2d(flat, kernels[:, None, :, None], groups=count * channels)
    return flat.reshape(images.shape)


def put_mosaics(images: Tensor, plan: Plan) -> None:
    """Replace samples by mosaics of others, in place."""
    size = images.shape[-1]
    for cells in (4, 9):
        planned = [one for one in plan.mosaics if len(one[1]) == cells]
        if not planned:
            continue
        side = round(cells**0.5)
        edges = np.linspace(0, size, side + 1).round().astype(int)
        targets = on(images.device, np.array([number for number, _ in planned]))
        shown = on(images.device, np.array([parts for _, parts in planned]))
        mosaic = torch.empty((len(planned), *images.shape[1:]), device=images.device)
        for cell in range(cells):
            top, left = edges[cell // side], edges[cell % side]
            bottom, right = edges[cell // side + 1], edges[cell % side + 1]
            mosaic[:, :, top:bottom, left:right] = functional.interpolate(
                images[shown[:, cell]],
                (int(bottom - top), int(right - left)),
                mode="bilinear",
                antialias=True,
            )
        images[targets] = mosaic


def truth(plan: Plan, size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The plan's boxes in pixels, which are phones and which unsure, and the class of each; without
    empty columns."""
    most = max(1, int((plan.kinds != NOTHING).sum(axis=1).max()))
    # A multiple of four: few shapes, so that the device's memory is used again.
    most = -(-most // 4) * 4
    boxes = on(device, plan.boxes[:, :most] * size)
    kinds = plan.kinds[:, :most]
    unsure = on(device, kinds == UNSURE)
    return boxes, on(device, is_thing(kinds)), unsure, on(device, class_of(kinds))
