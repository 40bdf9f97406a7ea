"""Render a split of synthetic scenes to JPEG files, with their boxes in `boxes.json`."""

import argparse
import json
import multiprocessing
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from training.photographs import read_photographs
from training.scenes import backgrounds
from training.scenes.backgrounds import Sources
from training.scenes.compose import LAYOUTS, compose, photographed
from training.scenes.photos import PhotoFile

#: Each split's seed, what its backgrounds are made of, and its clutter. Validation shares the
#: training's backgrounds (it chooses between checkpoints), the test's are its own (it is what is
#: reported). Training scenes are crowded with look-alikes, which are what has to be learned;
#: `crowded` is a test as crowded as those.
SPLITS = {
    "train": (1, backgrounds.TRAINING, 1.0),
    "valid": (2, backgrounds.TRAINING, 0.4),
    "test": (3, backgrounds.HELD_OUT, 0.4),
    "crowded": (5, backgrounds.HELD_OUT, 1.0),
}


#: The seed of the scenes that show phones before photographs of something else.
PHOTOGRAPHED_SEED = 6


def before_photographs(folder: Path) -> Sources:
    """The photographs without a phone that are trained on, as backgrounds."""
    found = [sample for group in read_photographs(folder).train_negatives for sample in group]
    return Sources(backgrounds.TRAINING.textures, [PhotoFile(sample.path) for sample in found])


def render_scene(
    index: int, split: str, photographs: Sources | None, output: Path
) -> tuple[str, list[list[float]]]:
    """Write one scene; returns its file name and boxes. The same index gives the same scene."""
    if photographs:
        rng = np.random.default_rng([PHOTOGRAPHED_SEED, index])
        scene = compose(rng, photographs, layouts=[photographed])
    else:
        seed, sources, clutter = SPLITS[split]
        scene = compose(np.random.default_rng([seed, index]), sources, clutter, LAYOUTS)
    name = f"{index:05}.jpg"
    # The scene has been through a camera's JPEG already: this one is not to be seen.
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
    cv2.imwrite(str(output / name), cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR), quality)
    return name, scene.boxes.tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("split", choices=[*SPLITS, "photographed"])
    parser.add_argument("count", type=int)
    parser.add_argument("output", type=Path)
    parser.add_argument("--first", type=int, default=0, help="index of the first scene")
    parser.add_argument("--photographs", type=Path, help="their folder, for `photographed`")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    # Each process draws one scene at a time, and forks: no threads of OpenCV's own.
    cv2.setNumThreads(1)
    photographs = None
    if arguments.split == "photographed":
        photographs = before_photographs(arguments.photographs)
    arguments.output.mkdir(parents=True, exist_ok=True)
    with multiprocessing.Pool(arguments.jobs) as pool:
        render = partial(
            render_scene,
            split=arguments.split,
            photographs=photographs,
            output=arguments.output,
        )
        indices = range(arguments.first, arguments.first + arguments.count)
        boxes = dict(pool.imap(render, indices, chunksize=16))
    (arguments.output / "boxes.json").write_text(json.dumps(boxes))
    phones = sum(len(found) for found in boxes.values())
    print(f"{arguments.output}: {len(boxes)} scenes, {phones} phones")


if __name__ == "__main__":
    main()
