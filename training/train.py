"""Train the network on scenes and photographs, and keep the averaged weights."""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import distributed, multiprocessing, nn

from training.cutouts import read_cutouts
from training.data import Sampler, Source, batches, read_scenes
from training.images import read_rgb, to_input
from training.metrics import (
    Match,
    average_precisions,
    match,
    precision_and_recall,
    suppress,
    threshold_for,
)
from training.network import build_network, read_checkpoint, restore_batch_norms
from training.photographs import Photographs, Sample, read_photographs

WEIGHT_DECAY = 0.02
WARMUP_STEPS = 60
AVERAGE_DECAY = 0.998
NMS_IOU = 0.65
#: Images that the batch norms of an exported network are restored with.
FOLDED_IMAGES = 64
#: False boxes allowed in an image without a phone, where validation chooses a threshold.
FALSE_BOXES = 0.05


class Average:
    """An exponential moving average of the weights, which is what gets evaluated and kept."""

    def __init__(self, network: nn.Module) -> None:
        self.network = build_network().eval().to(memory_format=torch.channels_last)
        self.network.load_state_dict(network.state_dict())
        self.steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards `network`; faster in the first steps, when the start still weighs."""
        self.steps += 1
        decay = min(AVERAGE_DECAY, (1 + self.steps) / (10 + self.steps))
        current = network.state_dict()
        for name, value in self.network.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])


def convolve(
    self: nn.Conv2d, images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """A convolution by oneDNN.

    With one thread and no more than 16 images PyTorch would take a path of its own for kernels of
    3 x 3 that needs half as long again; zero padding is all that this network asks for.
    """
    settings = self.padding, self.stride, self.dilation, self.groups
    return torch.mkldnn_convolution(images, weight, bias, *settings)


def optimizer_of(network: nn.Module) -> torch.optim.Optimizer:
    """AdamW, with decay on convolution weights only."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)


def learning_rate(step: int, progress: float, first: float, last: float) -> float:
    """A short linear warm-up to `first`, then a cosine down to `last` as `progress` goes 0..1."""
    cosine = last + (first - last) * (1 + np.cos(np.pi * min(progress, 1.0))) / 2
    return float(cosine * min(1.0, (step + 1) / WARMUP_STEPS))


@torch.inference_mode()
def detect(network: nn.Module, samples: list[Sample], size: int) -> list[Match]:
    """What `network` finds in `samples`, at size x size, against what is there."""
    matches = []
    for sample in samples:
        image = read_rgb(sample.path)
        height, width = image.shape[:2]
        batch = torch.from_numpy(to_input(image, size, size))[None]
        scores, boxes = network(batch.to(memory_format=torch.channels_last))
        to_image = np.array([width, height, width, height]) / size
        kept = suppress(scores[0, :, 0].numpy(), boxes[0].numpy() * to_image, NMS_IOU)
        matches.append(match(*kept, sample.boxes))
    return matches


@dataclass(frozen=True)
class Data:
    """What is trained and validated on: scenes, photographs, and phones to paste onto these."""

    scenes: list[Sample]
    valid_scenes: list[Sample]
    photographs: Photographs
    cutouts: list[list[np.ndarray]]

    def sources(self, shares: list[float]) -> list[Source]:
        """Scenes, photographs with phones and without, in these shares."""
        scenes, phones, negatives = shares
        return [
            Source(scenes, [[sample] for sample in self.scenes]),
            Source(phones, self.photographs.train, self.cutouts),
            Source(negatives, self.photographs.train_negatives, self.cutouts),
        ]

    def validate(self, network: nn.Module, size: int) -> dict[str, float]:
        """AP50 on each set, and recall on photographs.

        Recall is at the threshold that lets through `FALSE_BOXES` an image without a phone.
        """
        figures = {}
        if self.valid_scenes:
            found = detect(network, self.valid_scenes, size)
            figures["scenes"] = average_precisions(found)[0]
        if self.photographs.valid:
            found = detect(network, self.photographs.valid, size)
            negatives = detect(network, self.photographs.valid_negatives, size)
            threshold = threshold_for(negatives, FALSE_BOXES)
            figures["photographs"] = average_precisions(found)[0]
            figures["threshold"] = threshold
            figures["recall"] = precision_and_recall(found, threshold)[1]
        return {name: round(float(value), 4) for name, value in figures.items()}


def read_data(arguments: argparse.Namespace) -> Data:
    """The scenes and photographs that the command line names."""
    scenes, valid = (
        [sample for folder in folders for sample in read_scenes(folder)]
        for folders in (arguments.scenes, arguments.valid)
    )
    photographs = Photographs([], [], [], [])
    if arguments.photographs:
        photographs = read_photographs(arguments.photographs)
    cutouts = read_cutouts(arguments.cutouts) if arguments.cutouts else []
    return Data(scenes, valid, photographs, cutouts)


def train_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: np.ndarray,
    boxes: list[np.ndarray],
) -> float:
    """One step on N x 3 x H x W images and their boxes; returns the loss."""
    # Channels last: depthwise convolutions train about twice as fast on a CPU that way.
    batch = torch.from_numpy(images).to(memory_format=torch.channels_last)
    targets = [
        {"boxes": torch.from_numpy(found), "labels": torch.zeros(len(found), dtype=torch.long)}
        for found in boxes
    ]
    loss = network(batch, targets)["total_loss"]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    average_gradients(network)
    nn.utils.clip_grad_norm_(network.parameters(), 20.0)
    optimizer.step()
    return float(loss.detach())


def prepare(network: nn.Module, frozen: int) -> None:
    """Training mode, but for the first `frozen` blocks of the backbone."""
    network.train()
    for block in network.backbone.block_list[:frozen]:
        block.eval().requires_grad_(False)


def average_gradients(network: nn.Module) -> None:
    """Give every process the mean of all processes' gradients."""
    if distributed.get_world_size() == 1:
        return
    parameters = [p for p in network.parameters() if p.grad is not None]
    flat = torch.cat([p.grad.flatten() for p in parameters])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    offset = 0
    for parameter in parameters:
        part = flat[offset : offset + parameter.numel()]
        parameter.grad.copy_(part.view_as(parameter))
        offset += parameter.numel()


def same_progress(progress: float) -> float:
    """The first process's `progress`, so that all stop at the same step."""
    shared = torch.tensor(progress, dtype=torch.float64)
    distributed.broadcast(shared, src=0)
    return float(shared)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="checkpoint to write")
    parser.add_argument("--scenes", type=Path, nargs="+", default=[], help="rendered to train on")
    parser.add_argument("--valid", type=Path, nargs="+", default=[], help="rendered to validate on")
    parser.add_argument("--photographs", type=Path, help="their folder (training/photographs.py)")
    parser.add_argument("--cutouts", type=Path, help="phones to paste (training/cutouts.py)")
    parser.add_argument(
        "--shares",
        type=float,
        nargs=3,
        default=(0.3, 0.45, 0.25),
        metavar=("SCENES", "PHONES", "NEGATIVES"),
        help="of scenes, of photographs with phones and of those without",
    )
    parser.add_argument("--mosaics", type=float, default=0.35, help="their share")
    beginning = parser.add_mutually_exclusive_group()
    beginning.add_argument("--start", type=Path, help="checkpoint whose weights to start from")
    beginning.add_argument(
        "--resume", type=Path, help="checkpoint to go on from, with its optimizer and average"
    )
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int)
    length.add_argument("--minutes", type=float)
    parser.add_argument(
        "--frozen",
        type=int,
        default=0,
        help="first blocks of the backbone left as they are: of the six the first three hold 3 %% "
        "of the weights and take half of the time",
    )
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[256],
        help="input heights and widths in training, one of them drawn for each batch",
    )
    parser.add_argument("--deployed-size", type=int, default=256, help="the same in validation")
    parser.add_argument("--rates", type=float, nargs=2, default=(1.5e-3, 2e-5), help="first, last")
    parser.add_argument("--batch-size", type=int, default=20, help="over all processes")
    parser.add_argument("--processes", type=int, default=2, help="one core each")
    parser.add_argument("--validate-every", type=int, default=200, help="steps")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="minutes to start (needs g++), then half as fast again",
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def train(rank: int, arguments: argparse.Namespace, rendezvous: str) -> None:
    """Train as process `rank` of `arguments.processes`; the first validates and writes."""
    # One thread a process: two threads of one process wait for each other hundreds of times a
    # step, which costs ten times over as soon as something else runs on the machine.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    nn.Conv2d._conv_forward = convolve
    torch.manual_seed(arguments.seed)
    distributed.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=arguments.processes
    )
    data = read_data(arguments)
    network, record, state = build_network(), {}, None
    if arguments.start or arguments.resume:
        weights, record, state = read_checkpoint(arguments.start or arguments.resume)
        network.load_state_dict(weights)
    sampler = Sampler(data.sources(arguments.shares), arguments.mosaics)
    network = network.to(memory_format=torch.channels_last)
    if arguments.start and not record:
        few = batches(sampler, [arguments.seed], 0, FOLDED_IMAGES, arguments.sizes[:1])
        restore_batch_norms(network, torch.from_numpy(next(few)[0]))
    average, optimizer = Average(network), optimizer_of(network)
    if arguments.resume:
        resume(state, network, average, optimizer)
    prepare(network, arguments.frozen)
    if arguments.compile:
        network.backbone.compile()
        network.neck.compile()
    share = arguments.batch_size // arguments.processes
    source = batches(sampler, [arguments.seed, average.steps], rank, share, arguments.sizes)
    started, step, progress = time.monotonic(), 0, 0.0
    before = record
    while progress < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, progress, *arguments.rates)
        loss = train_step(network, optimizer, *next(source))
        average.update(network)
        step += 1
        seconds = time.monotonic() - started
        progress = step / arguments.steps if arguments.steps else seconds / 60 / arguments.minutes
        progress = same_progress(progress)
        if rank != 0:
            continue
        if step % 20 == 0:
            print(f"step {step} {seconds:.0f} s {progress:.3f} loss {loss:.3f}", flush=True)
        if step % arguments.validate_every == 0 or progress >= 1.0:
            record = training_record(arguments, step, seconds, data)
            record["valid"] = data.validate(average.network, arguments.deployed_size)
            record["before"] = before
            print(f"step {step} {json.dumps(record['valid'])}", flush=True)
            write_checkpoint(arguments.output, record, network, average, optimizer)
    distributed.destroy_process_group()


def resume(
    state: dict[str, Any], network: nn.Module, average: Average, optimizer: torch.optim.Optimizer
) -> None:
    """Go on from where a checkpoint's training was."""
    network.load_state_dict(state["network"])
    average.steps = state["average_steps"]
    optimizer.load_state_dict(state["optimizer"])


def write_checkpoint(
    path: Path,
    record: dict[str, Any],
    network: nn.Module,
    average: Average,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write what gets exported (the average), its record, and all that `resume` needs."""
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average_steps": average.steps,
    }
    content = {"weights": average.network.state_dict(), "training": record, "state": state}
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(path)


def training_record(
    arguments: argparse.Namespace,
    steps: int,
    seconds: float,
    data: Data,
) -> dict[str, object]:
    """What the exported file says of its training."""
    return {
        "network": "DAMO-YOLO-Ns (libreyolo 1.2.0)",
        "activation": "ReLU",
        "data": {
            "synthetic_scenes": len(data.scenes),
            "photographs": sum(map(len, data.photographs.train)),
            "photographs_without_a_phone": sum(map(len, data.photographs.train_negatives)),
            "cut_outs": sum(map(len, data.cutouts)),
        },
        "shares": list(arguments.shares),
        "frozen_blocks": arguments.frozen,
        "mosaics": arguments.mosaics,
        "optimizer": "AdamW, cosine, weight average",
        "learning_rates": list(arguments.rates),
        "sizes": arguments.sizes,
        "batch_size": arguments.batch_size,
        "steps": steps,
        "seconds": round(seconds),
        "seed": arguments.seed,
    }


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        rendezvous = str(Path(folder) / "rendezvous")
        multiprocessing.spawn(train, (arguments, rendezvous), arguments.processes)


if __name__ == "__main__":
    main()
