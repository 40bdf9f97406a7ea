"""Train the network on scenes and photographs, and keep the averaged weights.

    python -m training.train OUTPUT --scenes ... --photographs ... --minutes 20 --device cuda

On a CPU, `--processes` of one thread each train together; on a GPU one process does everything, and
others (`--planners`) draw the numbers that its samples are made from.
"""

import argparse
import copy
import json
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import distributed, nn

from training.album import read_album
from training.data import Data, Plans, read_data
from training.distil import Distillation
from training.draw import Album, Sprites, draw, layout, truth
from training.fixed import FirstBlocks, Fixed, through_blocks
from training.loss import Truth, detection_loss, raw_outputs
from training.muon import Muon
from training.network import build_network, read_checkpoint, restore_batch_norms
from training.plan import Planner
from training.start import build
from training.validation import Validation

WEIGHT_DECAY = 0.02
WARMUP_STEPS = 100
AVERAGE_DECAY = 0.9985
#: Images that the batch norms of an exported network are restored with.
FOLDED_IMAGES = 64


class Average:
    """An exponential moving average of the weights, which is what gets evaluated and kept."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.network = copy.deepcopy(network).to(device, memory_format=layout(device)).eval()
        self.steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards `network`; faster in the first steps, when the start still weighs."""
        self.steps += 1
        decay = min(AVERAGE_DECAY, (1 + self.steps) / (10 + self.steps))
        current = network.state_dict()
        pairs = [(value, current[name]) for name, value in self.network.state_dict().items()]
        moving = [pair for pair in pairs if pair[0].dtype.is_floating_point]
        torch._foreach_lerp_([pair[0] for pair in moving], [pair[1] for pair in moving], 1 - decay)
        for value, now in pairs:
            if not value.dtype.is_floating_point:
                value.copy_(now)


def optimizers_of(
    modules: list[nn.Module], weight_decay: float, muon: float
) -> list[tuple[torch.optim.Optimizer, float]]:
    """AdamW, with decay on convolution weights only; with `muon`, Muon for those that mix channels.

    With each goes what the learning rate is multiplied by.
    """
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    mixing = [p for p in parameters if muon and p.ndim > 1 and p.shape[1] > 1]
    taken = {id(p) for p in mixing}
    decayed = [p for p in parameters if p.ndim > 1 and id(p) not in taken]
    others = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    fused = parameters[0].device.type == "cuda"
    optimizers: list[tuple[torch.optim.Optimizer, float]] = [
        (torch.optim.AdamW(groups, weight_decay=weight_decay, fused=fused), 1.0)
    ]
    if mixing:
        optimizers.append((Muon([{"params": mixing}], weight_decay=weight_decay), muon))
    return optimizers


def learning_rate(step: int, progress: float, first: float, last: float) -> float:
    """A short linear warm-up to `first`, then a cosine down to `last` as `progress` goes 0..1."""
    cosine = last + (first - last) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    return cosine * min(1.0, (step + 1) / WARMUP_STEPS)


def convolve(
    self: nn.Conv2d, images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """A convolution by oneDNN.

    With one thread and no more than 16 images PyTorch would take a path of its own for kernels of
    3 x 3 that needs half as long again; zero padding is all that this network asks for.
    """
    settings = self.padding, self.stride, self.dilation, self.groups
    return torch.mkldnn_convolution(images, weight, bias, *settings)


@dataclass(frozen=True)
class Drawing:
    """What samples are drawn from."""

    album: Album
    plans: Plans
    sizes: list[int]
    generator: torch.Generator
    rng: np.random.Generator

    def images(self, count: int) -> torch.Tensor:
        """At least so many images, of the first size."""
        drawn: list[torch.Tensor] = []
        while sum(map(len, drawn)) < count:
            drawn.append(draw(self.album, next(self.plans), self.sizes[0], self.generator))
        return torch.cat(drawn)

    def __next__(self) -> tuple[torch.Tensor, Truth]:
        """N x 3 x size x size images, and what is in them."""
        plan, size = next(self.plans), int(self.rng.choice(self.sizes))
        images = draw(self.album, plan, size, self.generator)
        images = images.contiguous(memory_format=layout(images.device))
        return images, Truth(*truth(plan, size, images.device))


class Trainer:
    """One process's part of a training."""

    def __init__(self, arguments: argparse.Namespace, rank: int, data: Data, album: Path) -> None:
        self.arguments, self.rank, self.data = arguments, rank, data
        self.device = torch.device(arguments.device)
        self.drawing = self.make_drawing(album)
        self.network, self.record, state = self.make_network()
        self.average = Average(self.network, self.device)
        self.distillation, self.far = None, torch.zeros(())
        self.trained = nn.ModuleList([self.network])
        if arguments.teacher:
            self.distillation = Distillation(arguments.teacher, self.device)
            if "readers" in state:
                self.distillation.readers.load_state_dict(state["readers"])
            self.trained.append(self.distillation.readers)
        prepare(self.network, arguments.frozen)
        self.optimizers = optimizers_of(list(self.trained), arguments.weight_decay, arguments.muon)
        if arguments.resume:
            self.resume(state)
        self.first = None
        if arguments.frozen and self.device.type == "cpu":
            self.first = Fixed(FirstBlocks(self.network.backbone, arguments.frozen))

    def make_drawing(self, album: Path) -> Drawing:
        arguments, device = self.arguments, self.device
        share = arguments.batch_size // arguments.processes
        planner = Planner(
            self.data.labels,
            self.data.sources(arguments.shares),
            self.data.sprite_labels,
            arguments.mosaics,
        )
        # Where a training goes on after it was interrupted, other samples follow.
        seed = [arguments.seed, self.rank, *([arguments.from_step] if arguments.from_step else [])]
        # Its processes fork, so they begin before there is anything on a device.
        plans = Plans(planner, seed, share, arguments.planners)
        pictures = torch.from_numpy(np.load(album, mmap_mode="c"))
        sprites = Sprites(torch.from_numpy(self.data.sprites).to(device))
        generator = torch.Generator(device).manual_seed(
            arguments.seed * 1000 + self.rank + arguments.from_step
        )
        # Other samples in each process, but of the same size, or they would wait for each other.
        rng = np.random.default_rng(arguments.seed + arguments.from_step)
        album_of = Album(pictures.to(device), sprites if len(self.data.sprites) else None)
        return Drawing(album_of, plans, arguments.sizes, generator, rng)

    def make_network(self) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
        arguments = self.arguments
        spec = arguments.spec
        network = build(**spec) if spec else build_network()
        record, state = {}, {}
        if arguments.start or arguments.resume:
            weights, record, state = read_checkpoint(arguments.start or arguments.resume)
            network.load_state_dict(weights)
        network = network.to(self.device, memory_format=layout(self.device))
        if arguments.start and not record:
            restore_batch_norms(network, self.drawing.images(FOLDED_IMAGES))
        if distributed.is_initialized():
            # What the others drew and made of it is not what the first did.
            for value in network.state_dict().values():
                distributed.broadcast(value, src=0)
        return network, record, state

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from where a checkpoint's training was."""
        self.network.load_state_dict(state["network"])
        self.average.steps = state["average_steps"]
        # One, where a checkpoint is older than the second.
        kept_states = state.get("optimizers") or [state["optimizer"]]
        for (optimizer, _), kept in zip(self.optimizers, kept_states, strict=True):
            optimizer.load_state_dict(kept)

    def loss(self) -> torch.Tensor:
        """The loss of the next batch."""
        images, there = next(self.drawing)
        stages = self.backbone(images)
        features = self.network.neck(stages)
        loss = detection_loss(raw_outputs(self.network, features), there)
        if self.distillation:
            far = self.distillation(images, [*stages, *features])
            self.far = far.detach()
            loss = loss + self.arguments.teacher_weight * far
        return loss

    def backbone(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What the backbone makes of images, its frozen blocks by the faster way there is."""
        backbone = self.network.backbone
        if not self.first:
            return backbone(images)
        *stages, images = self.first(images)
        images = images.contiguous(memory_format=layout(self.device))
        frozen, blocks = self.arguments.frozen, len(backbone.block_list)
        return stages + through_blocks(backbone, images, frozen, blocks)[0]

    def step(self) -> torch.Tensor:
        """One step; returns the loss, which is still being computed on a GPU."""
        loss = self.loss()
        for optimizer, _ in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.trained)
        nn.utils.clip_grad_norm_(self.network.parameters(), 20.0)
        for optimizer, _ in self.optimizers:
            optimizer.step()
        self.average.update(self.network)
        return loss.detach()

    def run(self) -> None:
        """Train to the end; the first process validates and writes."""
        arguments = self.arguments
        validation = None
        if self.rank == 0:
            validation = Validation(self.data, arguments.deployed_size, self.device)
        before, started, step = self.record, time.monotonic(), arguments.from_step
        progress = step / arguments.steps if arguments.steps else 0.0
        validated, saved = int(progress * arguments.validations), started
        while progress < 1.0:
            self.drawing.plans.calm.value = progress > 1 - arguments.calm
            rate = learning_rate(step, progress, *arguments.rates)
            for optimizer, scale in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate * scale
            loss = self.step()
            step += 1
            seconds = time.monotonic() - started
            done = step / arguments.steps if arguments.steps else seconds / 60 / arguments.minutes
            progress = same_progress(done, arguments.processes)
            if step % 20 == 0:
                # Asking for the loss waits for the device, which keeps progress honest as well.
                value = float(loss)
                if not math.isfinite(value):
                    raise ValueError(f"the loss is {value} at step {step}: lower --rates")
                if self.rank == 0:
                    taken = time.monotonic() - started
                    made = step - arguments.from_step
                    left = seconds * (1 - progress) / max(progress, 1e-9)
                    if arguments.steps:
                        left = taken / made * (arguments.steps - step)
                    far = f", {float(self.far):.3f} from the teacher" if self.distillation else ""
                    print(
                        f"step {step} {seconds:.0f} s, {left:.0f} s left, "
                        f"{made * arguments.batch_size / taken:.0f} images/s, "
                        f"loss {value:.3f}{far}",
                        flush=True,
                    )
                    self.log({"step": step, "loss": round(value, 4)})
            due = int(progress * arguments.validations)
            if validation and (due > validated or progress >= 1.0):
                validated = due
                record = self.training_record(step, seconds)
                record["valid"] = validation.figures(self.average.network)
                record["before"] = before
                print(f"step {step} {json.dumps(record['valid'])}", flush=True)
                self.log({"step": step, **record["valid"]})
                self.write_checkpoint(record, step)
                saved = time.monotonic()
            elif validation and time.monotonic() - saved > arguments.save_s:
                self.write_checkpoint(
                    {**self.training_record(step, seconds), "before": before}, step
                )
                saved = time.monotonic()

    def log(self, entry: dict[str, Any]) -> None:
        """Add a line to the log, where one is kept."""
        if self.arguments.log:
            with self.arguments.log.open("a") as file:
                file.write(json.dumps(entry) + "\n")

    def write_checkpoint(self, record: dict[str, Any], step: int) -> None:
        """Write what gets exported (the average), its record, and all that `resume` needs."""
        state = {
            "step": step,
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer, _ in self.optimizers],
            "average_steps": self.average.steps,
        }
        if self.distillation:
            state["readers"] = self.distillation.readers.state_dict()
        path = self.arguments.output
        content = {"weights": self.average.network.state_dict(), "training": record, "state": state}
        partial = path.with_suffix(".partial")
        torch.save(content, partial)
        partial.replace(path)

    def training_record(self, steps: int, seconds: float) -> dict[str, Any]:
        """What the exported file says of its training."""
        arguments = self.arguments
        own = {"spec": {**arguments.spec, "labels": arguments.labels}} if arguments.spec else {}
        return {
            "network": f"DAMO-YOLO-{(arguments.spec or {'size': 'ns'})['size'].title()} "
            "(libreyolo 1.2.0)",
            "activation": "ReLU" if (arguments.spec or {"relu": True})["relu"] else "as upstream",
            **own,
            "data": self.data.counts,
            "teacher": arguments.teacher.stem if arguments.teacher else None,
            "teacher_weight": arguments.teacher_weight if arguments.teacher else 0.0,
            "shares": list(arguments.shares),
            "frozen_blocks": arguments.frozen,
            "mosaics": arguments.mosaics,
            "calm": arguments.calm,
            "optimizer": f"{'Muon and ' if arguments.muon else ''}AdamW, cosine, weight average",
            "learning_rates": list(arguments.rates),
            "weight_decay": arguments.weight_decay,
            "sizes": arguments.sizes,
            "batch_size": arguments.batch_size,
            "steps": steps,
            "seconds": round(seconds),
            "device": arguments.device,
            "seed": arguments.seed,
        }


def prepare(network: nn.Module, frozen: int) -> None:
    """Training mode, but for the first `frozen` blocks of the backbone."""
    network.train()
    for block in network.backbone.block_list[:frozen]:
        block.eval().requires_grad_(False)


def average_gradients(network: nn.Module) -> None:
    """Give every process the mean of all processes' gradients."""
    if not distributed.is_initialized():
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


def same_progress(progress: float, processes: int) -> float:
    """The first process's `progress`, so that all stop at the same step."""
    if processes == 1:
        return progress
    shared = torch.tensor(progress, dtype=torch.float64)
    distributed.broadcast(shared, src=0)
    return float(shared)


def make_parser() -> argparse.ArgumentParser:
    """The command line; `training.own` sets what it leaves at its default here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="checkpoint to write")
    parser.add_argument("--scenes", type=Path, nargs="+", default=[], help="rendered to train on")
    parser.add_argument("--valid", type=Path, nargs="+", default=[], help="rendered to validate on")
    parser.add_argument("--photographs", type=Path, help="their folder (training/photographs.py)")
    parser.add_argument("--seen", type=Path, help="what a teacher saw (training/relabel.py)")
    parser.add_argument("--sprites", type=Path, help="things to paste (training/sprites.py)")
    parser.add_argument(
        "--shares",
        type=float,
        nargs=3,
        default=(0.3, 0.45, 0.25),
        metavar=("SCENES", "PHONES", "NEGATIVES"),
        help="of scenes, of photographs with phones and of those without",
    )
    parser.add_argument("--mosaics", type=float, default=0.35, help="their share")
    parser.add_argument("--calm", type=float, default=0.2, help="last part without mosaics")
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
    parser.add_argument("--teacher", type=Path, help="NanoDet-Plus, .param (training/teacher.py)")
    parser.add_argument("--teacher-weight", type=float, default=1.0)
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[320],
        help="input heights and widths in training, one of them drawn for each batch",
    )
    parser.add_argument("--deployed-size", type=int, default=320, help="the same in validation")
    parser.add_argument("--rates", type=float, nargs=2, default=(1e-3, 1e-5), help="first, last")
    parser.add_argument(
        "--muon",
        type=float,
        default=0.0,
        metavar="SCALE",
        help="let Muon train the weights that mix channels, at so many times the rate; 0: AdamW",
    )
    parser.add_argument("--weight-decay", type=float, default=WEIGHT_DECAY)
    parser.add_argument("--batch-size", type=int, default=20, help="over all processes")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--processes", type=int, default=1, help="on a CPU, one core each")
    parser.add_argument("--planners", type=int, default=1, help="processes that plan samples")
    parser.add_argument("--validations", type=int, default=10, help="over the whole training")
    parser.add_argument("--seed", type=int, default=0)
    # Another network and its classes, the step to go on from, seconds between checkpoints, a log.
    parser.set_defaults(spec=None, labels=None, from_step=0, save_s=math.inf, log=None)
    return parser


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = make_parser()
    arguments = parser.parse_args()
    if arguments.device != "cpu" and arguments.processes != 1:
        parser.error("--processes is for a CPU: a GPU takes one")
    return arguments


def train(rank: int, arguments: argparse.Namespace, folder: str, data: Data) -> None:
    """Train as process `rank` of `arguments.processes`."""
    cv2.setNumThreads(1)
    torch.manual_seed(arguments.seed)
    torch.set_float32_matmul_precision("high")
    if arguments.device == "cpu":
        # One thread a process: two threads of one process wait for each other hundreds of times a
        # step, which costs ten times over as soon as something else runs on the machine.
        torch.set_num_threads(1)
    if arguments.processes > 1:
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder}/rendezvous",
            rank=rank,
            world_size=arguments.processes,
        )
    trainer = Trainer(arguments, rank, data, Path(folder) / "album.npy")
    if arguments.device == "cpu":
        nn.Conv2d._conv_forward = convolve
    trainer.run()
    if arguments.processes > 1:
        distributed.destroy_process_group()


def run(arguments: argparse.Namespace, data: Data, folder: Path) -> None:
    """The whole training; its pictures lie decoded in `folder` meanwhile."""
    read_album(data.pictures, folder / "album.npy", threads=8)
    if arguments.processes == 1:
        plain = nn.Conv2d._conv_forward
        try:
            train(0, arguments, str(folder), data)
        finally:
            nn.Conv2d._conv_forward = plain  # which can be exported
    else:
        torch.multiprocessing.spawn(train, (arguments, str(folder), data), arguments.processes)


def main() -> None:
    arguments = parse_arguments()
    data = read_data(arguments)
    with tempfile.TemporaryDirectory() as folder:
        run(arguments, data, Path(folder))


if __name__ == "__main__":
    main()
