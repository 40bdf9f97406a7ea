"""Train the network on scenes and photographs, and keep the averaged weights."""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import distributed, multiprocessing, nn

from training.data import Sample, Sampler, batches, necem_for_training, read_necem, read_scenes
from training.images import read_rgb, to_input
from training.metrics import Matches, suppress
from training.necem import image_paths
from training.network import build_network, read_checkpoint

WEIGHT_DECAY = 0.02
WARMUP_STEPS = 60
AVERAGE_DECAY = 0.998
NMS_IOU = 0.65


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
def validate(network: nn.Module, samples: list[Sample], size: int) -> float:
    """AP50 of `network` on `samples`, at size x size."""
    matches = Matches()
    for sample in samples:
        image = read_rgb(sample.path)
        height, width = image.shape[:2]
        batch = torch.from_numpy(to_input(image, size, size))[None]
        scores, boxes = network(batch.to(memory_format=torch.channels_last))
        to_image = np.array([width, height, width, height]) / size
        kept = suppress(scores[0, :, 0].numpy(), boxes[0].numpy() * to_image, NMS_IOU)
        matches.add(*kept, sample.boxes)
    return matches.figures().ap50


@dataclass(frozen=True)
class Data:
    """What is trained on, and what is validated on by name."""

    scenes: list[Sample]
    photographs: list[Sample]
    valid: dict[str, list[Sample]]

    def validate(self, network: nn.Module, size: int) -> dict[str, float]:
        """AP50 of `network` on each set."""
        return {
            name: round(validate(network, samples, size), 4) for name, samples in self.valid.items()
        }


def read_data(arguments: argparse.Namespace) -> Data:
    """The scenes and photographs that the command line names."""
    scenes = [sample for folder in arguments.scenes for sample in read_scenes(folder)]
    valid = {"scenes": read_scenes(arguments.valid)}
    if not arguments.necem:
        return Data(scenes, [], valid)
    valid["necem"] = read_necem(image_paths(arguments.necem, "valid"))
    return Data(scenes, necem_for_training(arguments.necem), valid)


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
    parser.add_argument("--scenes", type=Path, nargs="+", required=True)
    parser.add_argument("--valid", type=Path, required=True, help="scenes to validate on")
    parser.add_argument("--necem", type=Path, help="folder of the necem photographs")
    parser.add_argument("--necem-share", type=float, default=0.1)
    parser.add_argument("--start", type=Path, help="checkpoint to start from")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int)
    length.add_argument("--minutes", type=float)
    parser.add_argument("--size", type=int, default=320, help="input height and width")
    parser.add_argument("--rates", type=float, nargs=2, default=(1.5e-3, 2e-5), help="first, last")
    parser.add_argument("--batch-size", type=int, default=16, help="over all processes")
    parser.add_argument("--processes", type=int, default=2, help="one core each")
    parser.add_argument("--validate-every", type=int, default=600, help="steps")
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
    torch.manual_seed(arguments.seed)
    distributed.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=arguments.processes
    )
    data = read_data(arguments)
    network, before = build_network(), {}
    if arguments.start:
        weights, before = read_checkpoint(arguments.start)
        network.load_state_dict(weights)
    network = network.train().to(memory_format=torch.channels_last)
    if arguments.compile:
        network.backbone.compile()
        network.neck.compile()
    average, optimizer = Average(network), optimizer_of(network)
    sampler = Sampler(data.scenes, data.photographs, arguments.necem_share)
    share = arguments.batch_size // arguments.processes
    source = batches(sampler, [arguments.seed, rank], share, arguments.size)
    started, step, progress = time.monotonic(), 0, 0.0
    while progress < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, progress, *arguments.rates)
        loss = train_step(network, optimizer, *next(source))
        step += 1
        seconds = time.monotonic() - started
        progress = step / arguments.steps if arguments.steps else seconds / 60 / arguments.minutes
        progress = same_progress(progress)
        if rank != 0:
            continue
        average.update(network)
        if step % 50 == 0:
            print(f"step {step} {seconds:.0f} s {progress:.3f} loss {loss:.3f}", flush=True)
        if step % arguments.validate_every == 0 or progress >= 1.0:
            record = training_record(arguments, step, seconds, data)
            record["valid_ap50"] = data.validate(average.network, arguments.size)
            record["before"] = before
            print(f"step {step} AP50 {json.dumps(record['valid_ap50'])}", flush=True)
            weights = average.network.state_dict()
            torch.save({"weights": weights, "training": record}, arguments.output)
    distributed.destroy_process_group()


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
            "necem_photographs": len(data.photographs),
        },
        "necem_share": arguments.necem_share if arguments.necem else 0.0,
        "optimizer": "AdamW, cosine, weight average",
        "learning_rates": list(arguments.rates),
        "size": arguments.size,
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
