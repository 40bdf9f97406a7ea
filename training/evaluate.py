"""AP50, precision, recall and speed of an exported model, run with ONNX Runtime."""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from training.data import Sample, read_necem, read_scenes
from training.images import read_rgb, to_input
from training.metrics import Figures, Matches, suppress
from training.necem import image_paths


@dataclass(frozen=True)
class Model:
    """An exported model with what its metadata says about using it."""

    session: onnxruntime.InferenceSession
    height: int
    width: int
    score_threshold: float
    iou_threshold: float

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores and N x 4 xyxy boxes in pixels of `image` (H x W x 3 uint8), sorted by score."""
        height, width = image.shape[:2]
        inputs = {"images": to_input(image, self.height, self.width)[None]}
        scores, boxes = self.session.run(["scores", "boxes"], inputs)
        to_image = np.array([width, height, width, height], np.float32)
        to_image /= (self.width, self.height, self.width, self.height)
        return suppress(scores[0, :, 0], boxes[0] * to_image, self.iou_threshold)


def load(path: Path, threads: int = 1) -> Model:
    """The model in `path`, on `threads` threads of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    height, width = json.loads(metadata["damoscope.input_size"])
    return Model(
        session,
        height,
        width,
        float(metadata["damoscope.score_threshold"]),
        float(metadata["damoscope.iou_threshold"]),
    )


def evaluate(model: Model, samples: list[Sample], threshold: float | None) -> Figures:
    """The figures of `model` on `samples`; at its best F1 where no `threshold` is given."""
    matches = Matches()
    for sample in samples:
        matches.add(*model.detect(read_rgb(sample.path)), sample.boxes)
    return matches.figures(threshold)


def milliseconds(path: Path, threads: int, runs: int = 60) -> float:
    """Median time of one ONNX Runtime call with one image."""
    model = load(path, threads)
    image = np.full((1, 3, model.height, model.width), 127, np.float32)
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        model.session.run(None, {"images": image})
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--scenes", type=Path, nargs="*", default=[])
    parser.add_argument("--necem", type=Path, help="folder of the necem photographs")
    parser.add_argument(
        "--best-threshold", action="store_true", help="at the best F1, not the model's threshold"
    )
    arguments = parser.parse_args()
    model = load(arguments.model)
    sets = {str(folder): read_scenes(folder) for folder in arguments.scenes}
    if arguments.necem:
        test = read_necem(image_paths(arguments.necem, "test"))
        valid = read_necem(image_paths(arguments.necem, "valid"))
        sets |= {"necem test": test, "necem valid": valid, "necem valid and test": valid + test}
    threshold = None if arguments.best_threshold else model.score_threshold
    for name, samples in sets.items():
        print(f"{name}: {evaluate(model, samples, threshold)}", flush=True)
    for threads in (1, 2):
        print(f"{threads} thread(s): {milliseconds(arguments.model, threads):.1f} ms per image")


if __name__ == "__main__":
    main()
