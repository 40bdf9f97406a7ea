"""What a training learns from: scenes, photographs and things to paste; and its batches' plans."""

import argparse
import itertools
import json
import multiprocessing
import os
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from queue import Full

import numpy as np

from training.images import read_rgb
from training.photographs import Photographs, Sample, read_photographs
from training.plan import PHONE, UNSURE, Labels, Plan, Planner, Source, SpriteLabels
from training.sprites import SIDE as SPRITE_SIDE
from training.sprites import read_sprites

#: How likely something is pasted onto a scene, a photograph with phones, and one without.
PASTE_SHARES = (0.15, 0.25, 0.5)
#: Plans that lie ready, for each process that makes them.
PLANNED_AHEAD = 3
#: A plan takes milliseconds: one that does not come means that its process is gone.
PLAN_TIMEOUT_S = 300
#: Seconds after which a process whose plans nobody takes looks whether it was left behind.
ORPHAN_CHECK_S = 5


def read_scenes(folder: Path) -> list[Sample]:
    """The scenes that `training.render` wrote to `folder`."""
    boxes = json.loads((folder / "boxes.json").read_text())
    return [
        Sample(folder / name, np.array(found, np.float32).reshape(-1, 4))
        for name, found in sorted(boxes.items())
    ]


@dataclass
class Data:
    """What is trained and validated on."""

    pictures: list[Path] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)
    #: Scenes, photographs with phones, photographs without: moments, by the pictures' numbers.
    groups: list[list[list[int]]] = field(default_factory=lambda: [[], [], []])
    validated: dict[str, list[Sample]] = field(default_factory=dict)
    sprites: np.ndarray = field(
        default_factory=lambda: np.zeros((0, 4, SPRITE_SIDE, SPRITE_SIDE), np.uint8)
    )
    sprite_labels: SpriteLabels = field(
        default_factory=lambda: SpriteLabels(np.zeros((0, 4)), np.zeros(0, bool), np.zeros(0))
    )

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each."""
        names = ("synthetic_scenes", "photographs", "photographs_without_a_phone")
        found = {name: sum(map(len, group)) for name, group in zip(names, self.groups, strict=True)}
        return {**found, "pasted_things": len(self.sprites)}

    def add(self, group: int, moments: list[list[Sample]], seen: dict[str, list]) -> None:
        """Take in moments of samples, with what a teacher saw on them beside their own labels."""
        for moment in moments:
            numbers = []
            for sample in moment:
                numbers.append(len(self.pictures))
                self.pictures.append(sample.path)
                self.labels.append(unite(sample, seen.get(sample.path.name, [])))
            self.groups[group].append(numbers)

    def sources(self, shares: list[float]) -> list[Source]:
        """Scenes, photographs with phones and without, in these shares."""
        return [
            Source(share, moments, paste)
            for share, moments, paste in zip(shares, self.groups, PASTE_SHARES, strict=True)
        ]


def unite(sample: Sample, seen: list[list[float]]) -> Labels:
    """A sample's labels and what a teacher saw (xyxy in pixels, whether it was sure), as shares."""
    height, width = read_rgb(sample.path).shape[:2]
    sure = [bool(row[4]) for row in seen]
    boxes = np.concatenate([sample.boxes, np.array([row[:4] for row in seen]).reshape(-1, 4)])
    kinds = [PHONE] * len(sample.boxes) + [PHONE if one else UNSURE for one in sure]
    shares = boxes / np.array([width, height] * 2)
    return Labels(shares.clip(0, 1).astype(np.float32), np.array(kinds, np.uint8))


def read_data(arguments: argparse.Namespace) -> Data:
    """The scenes, photographs and sprites that the command line names."""
    data = Data()
    seen = json.loads(arguments.seen.read_text()) if arguments.seen else {}
    for folder in arguments.scenes:
        data.add(0, [[scene] for scene in read_scenes(folder)], {})
    data.validated["scenes"] = [one for folder in arguments.valid for one in read_scenes(folder)]
    photographs = Photographs([], [], [], [])
    if arguments.photographs:
        photographs = read_photographs(arguments.photographs)
    data.add(1, photographs.train, seen)
    data.add(2, photographs.train_negatives, seen)
    data.validated["photographs"] = photographs.valid
    data.validated["negatives"] = photographs.valid_negatives
    if arguments.sprites:
        data.sprites, data.sprite_labels = read_sprites(arguments.sprites)
    return data


class Plans:
    """Endless plans of `size` samples, made ahead by `processes`; the same ones however many."""

    def __init__(self, planner: Planner, seed: list[int], size: int, processes: int) -> None:
        context = multiprocessing.get_context("fork")
        #: Whether samples shall be calm from now on.
        self.calm = context.Value("b", 0)
        self.processes: list[BaseProcess] = []
        self.queues = [context.Queue(PLANNED_AHEAD) for _ in range(processes)]
        for number, queue in enumerate(self.queues):
            plans = range(number, 2**62, processes)
            arguments = (planner, seed, size, plans, self.calm, queue)
            self.processes.append(context.Process(target=plan_ahead, args=arguments, daemon=True))
            self.processes[-1].start()
        self.next_queue = itertools.cycle(self.queues)

    def __next__(self) -> Plan:
        return next(self.next_queue).get(timeout=PLAN_TIMEOUT_S)

    def stop(self) -> None:
        """End the processes; otherwise they end with this one."""
        for process in self.processes:
            process.terminate()
            process.join(PLAN_TIMEOUT_S)


def plan_ahead(
    planner: Planner,
    seed: list[int],
    size: int,
    numbers: range,
    calm: Synchronized,
    queue: multiprocessing.Queue,
) -> None:
    """Put the plans of these `numbers` into `queue`."""
    parent = os.getppid()
    for number in numbers:
        rng = np.random.default_rng([*seed, number])
        plan = planner.batch(rng, size, calm=bool(calm.value))
        while True:
            try:
                queue.put(plan, timeout=ORPHAN_CHECK_S)
                break
            except Full:  # nobody takes them any more once the training was killed
                if os.getppid() != parent:
                    os._exit(1)
