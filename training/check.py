"""Checks, in the environment of the training, what a training relies on.

    python -m training.check

The loss of a batch is libreyolo's, gradients too; pixels are where boxes say; what ONNX Runtime
computes of a network's first blocks is what PyTorch does; Muon's directions are of one length;
idle channels are held. Says what it found, and ends with 1 where something is not so.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from libreyolo.models.damoyolo.nn import build_damoyolo
from torch import nn

from training.draw import Album, Sprites, draw, truth
from training.fixed import FirstBlocks, Fixed
from training.loss import Truth, detection_loss, raw_outputs
from training.muon import orthogonal
from training.network import build_network, hold_idle_channels
from training.own import BUNDLED
from training.plan import MAX_BOXES, PHONE, Labels, Planner, Source, SpriteLabels
from training.start import read_start
from worker.model.graph import with_uint8_input

#: Of the loss and of the gradients' norm.
TOLERANCE = 1e-3
#: How far, in pixels of the sample, a box's edge may be from the edge of what is in it.
BOX_TOLERANCE_PX = 3.0
SIZE = 192


def random_boxes(rng: np.random.Generator, counts: list[int]) -> list[torch.Tensor]:
    """So many boxes an image, xyxy pixels, from tiny to large, some over others."""
    found = []
    for count in counts:
        corner = rng.uniform(0, SIZE * 0.6, (count, 2))
        found.append(np.hstack([corner, corner + rng.uniform(7, SIZE * 0.4, (count, 2))]))
    return [torch.tensor(one, dtype=torch.float32).reshape(-1, 4) for one in found]


def check_loss(seed: int, classes: int) -> float:
    """The largest relative difference, of loss and of gradients, from libreyolo's."""
    torch.manual_seed(seed)
    network = (build_network() if classes == 1 else build_damoyolo("ns", classes)).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    boxes = random_boxes(np.random.default_rng(seed), [0, 1, 2, 5, 9])
    images = torch.rand(len(boxes), 3, SIZE, SIZE) * 255
    labels = [torch.randint(classes, (len(one),)) for one in boxes]
    targets = [{"boxes": one, "labels": kinds} for one, kinds in zip(boxes, labels, strict=True)]
    padded_kinds = torch.zeros(len(boxes), MAX_BOXES, dtype=torch.long)
    padded = torch.zeros(len(boxes), MAX_BOXES, 4)
    phones = torch.zeros(len(boxes), MAX_BOXES, dtype=torch.bool)
    for number, one in enumerate(boxes):
        padded[number, : len(one)] = one
        phones[number, : len(one)] = True
        padded_kinds[number, : len(one)] = labels[number]

    def gradients(loss: torch.Tensor) -> torch.Tensor:
        network.zero_grad()
        loss.backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    expected = network(images, targets)["total_loss"]
    wanted = gradients(expected)
    raw = raw_outputs(network, network.neck(network.backbone(images)))
    loss = detection_loss(raw, Truth(padded, phones, torch.zeros_like(phones), padded_kinds))
    got = gradients(loss)
    apart = abs(float(loss.detach() - expected.detach())) / float(expected.detach())
    return max(apart, float((got - wanted).norm() / wanted.norm()))


def check_unsure() -> float:
    """How much the loss changes with what the network says inside a box to ignore: nothing."""
    torch.manual_seed(0)
    network = build_network().train()
    raw = raw_outputs(network, network.neck(network.backbone(torch.rand(1, 3, SIZE, SIZE) * 255)))
    boxes = torch.tensor([[[0.0, 0.0, SIZE, SIZE]]])
    there = torch.ones(1, 1, dtype=torch.bool)
    return float(detection_loss(raw, Truth(boxes, ~there, there)).detach())


def check_read_back_as_imported() -> str:
    """What the bundled model is called when it is read back as an import would write it, which
    takes images as they come; reading compares it with the file."""
    model = onnx.load(BUNDLED)
    with_uint8_input(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        return " ".join((read_start(path).size, *read_start(path).labels))


def check_read_back() -> float:
    """How far scores of the bundled file's weights in PyTorch are from the file's."""
    start = read_start(BUNDLED)
    session = onnxruntime.InferenceSession(BUNDLED, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(1).integers(0, 255, (2, 3, 320, 320)).astype(np.float32)
    with torch.inference_mode():
        scores = start.network.eval()(torch.from_numpy(images))[0].numpy()
    return float(np.abs(session.run(["scores"], {"images": images})[0] - scores).max())


def check_pixels(seed: int) -> float:
    """How far boxes are from the red things that they are around, in pixels, at most."""
    picture = torch.full((1, 3, 512, 512), 128, dtype=torch.uint8)
    picture[:, 0, 150:260, 200:280], picture[:, 1:, 150:260, 200:280] = 255, 0
    box = np.array([[200, 150, 280, 260]], np.float32) / 512
    sprite = torch.zeros(1, 4, 192, 192, dtype=torch.uint8)
    sprite[:, [0, 3], 40:150, 60:120] = 255
    sprite_box = np.array([[60, 40, 120, 150]], np.float32) / 192
    labels = SpriteLabels(sprite_box, np.array([True]), np.ones(1))
    planner = Planner(
        [Labels(box, np.array([PHONE], np.uint8))], [Source(1.0, [[0]], 0.5)], labels, 0.3
    )
    plan = planner.batch(np.random.default_rng(seed), 24)
    plan.fills[:] = 128
    for name, neutral in (("gain", 1), ("contrast", 1), ("gamma", 1), ("saturation", 1)):
        plan.colors[name][:] = neutral
    for name in ("offset", "noise", "blur"):
        plan.colors[name][:] = 0
    plan.paste_lights[:] = 1
    images = draw(Album(picture, Sprites(sprite)), plan, SIZE, torch.Generator())
    boxes, phones, unsure, _ = truth(plan, SIZE, images.device)
    worst = 0.0
    for image, all_boxes, is_phone, is_unsure in zip(images, boxes, phones, unsure, strict=True):
        red = ((image[0] > 190) & (image[1] < 65)).numpy()
        for x0, y0, x1, y1 in all_boxes[is_phone].round().int().tolist():
            # Boxes of others may reach into the margin: only what is red in this one counts.
            if (x1 - x0) * (y1 - y0) < 150 or is_unsure.any():
                continue
            rows, columns = np.nonzero(red[y0:y1, x0:x1])
            if not len(rows):
                return float("inf")
            edges = [columns.min(), rows.min(), x1 - x0 - 1 - columns.max()]
            worst = max(worst, *edges, y1 - y0 - 1 - rows.max())
        # And nothing red lies outside of all boxes.
        for x0, y0, x1, y1 in all_boxes[is_phone | is_unsure].round().int().tolist():
            red[max(y0 - 3, 0) : y1 + 3, max(x0 - 3, 0) : x1 + 3] = False
        if red.sum() > 20:
            return float("inf")
    return float(worst)


def check_fixed() -> float:
    """How far the first three blocks in ONNX Runtime are from PyTorch's, relatively."""
    torch.manual_seed(0)
    network = build_network()
    images = torch.rand(2, 3, SIZE, SIZE + 32) * 255
    network.train()(images)  # so that the batch norms have something to normalise by
    first = FirstBlocks(network.backbone, 3).eval()
    with torch.inference_mode():
        wanted = first(images)
    got = Fixed(first)(images)
    pairs = zip(wanted, got, strict=True)
    return max(float((one - other).norm() / one.norm()) for one, other in pairs)


def check_idle() -> float:
    """How far a held channel moves what comes after it when it wakes: not at all."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8).eval()
    norm.running_var[3] = 1e-12
    held = hold_idle_channels(nn.Sequential(norm))
    apart = norm(torch.zeros(1, 8, 4, 4)) - norm(torch.full((1, 8, 4, 4), 5.0))
    others = float(apart[:, [0, 1, 2, 4, 5, 6, 7]].abs().min())
    return float(apart[:, 3].abs().max()) if held == 1 and others > 1 else float("inf")


def check_muon() -> float:
    """How far from 1 the singular values of Muon's directions are, tall and wide."""
    torch.manual_seed(0)
    sizes = (400, 80), (80, 400)
    values = [torch.linalg.svdvals(orthogonal(torch.randn(*size))) for size in sizes]
    return max(float((one - 1).abs().max()) for one in values)


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found = [
        *(
            (
                f"the loss for {classes} differs from libreyolo's by",
                max(check_loss(seed, classes) for seed in range(2)),
                TOLERANCE,
            )
            for classes in (1, 3)
        ),
        ("weights read back from the bundled file differ by", check_read_back(), TOLERANCE),
        ("an unsure box adds to the loss", check_unsure(), 1e-6),
        ("the first blocks in ONNX Runtime differ by", check_fixed(), TOLERANCE),
        ("a held channel that wakes changes its output by", check_idle(), 0.0),
        ("lengths of Muon's directions differ from 1 by", check_muon(), 0.5),
        ("boxes are off by pixels", max(map(check_pixels, range(3))), BOX_TOLERANCE_PX),
    ]
    print(f"the bundled file as an import writes it is read back: {check_read_back_as_imported()}")
    for what, value, allowed in found:
        print(f"{what}: {value:.2g} (allowed: {allowed})")
    sys.exit(any(value > allowed for _, value, allowed in found))


if __name__ == "__main__":
    main()
