"""Make the models that only speed is measured with: DAMO-YOLO with random weights.

    .venv-training/bin/python -m benchmarks.throughput.stock_model {ns,s} OUTPUT

What an inference costs does not depend on the weights as long as they are sane numbers; what
NMS costs depends on how many boxes pass the threshold. So the batch norms see the examples once,
and the bias of the class scores is set such that CANDIDATES boxes of the benchmark's picture pass,
all of SEEN classes: at random they would be of fifty, as in no photograph.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from libreyolo.models.damoyolo.nn import build_damoyolo
from torch import nn

from benchmarks.throughput.picture import ROOT, picture
from benchmarks.throughput.precision import HALF, with_precision
from training.export import export_onnx
from training.network import ExportNetwork

SEED = 5
CLASSES = 80
INPUT = {"ns": 416, "s": 640}
SCORE_THRESHOLD, IOU_THRESHOLD = 0.4, 0.65
CANDIDATES, SEEN = 250, 8
#: Added to the scores of the other classes, before the sigmoid.
NEVER = -20.0


def build(size: str, images: torch.Tensor) -> ExportNetwork:
    """The network as upstream defines it (SiLU in Ns), calibrated on `images`; the first counts."""
    torch.manual_seed(SEED)
    network = build_damoyolo(size=size, num_classes=CLASSES)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # statistics of all that is seen, each weighing the same
    deployed = ExportNetwork(network, *images.shape[2:])
    with torch.no_grad():
        deployed.train()
        deployed(images)
        deployed.eval()
        # Of a grey start every score is near one value: spread them first, then move them.
        logits = torch.logit(deployed(images[:1])[0][0].double())  # A x C
        seen = logits.topk(CANDIDATES, dim=0).values.mean(dim=0).topk(SEEN).indices
        ranked = logits[:, seen].flatten().sort(descending=True).values
        limit = (ranked[CANDIDATES - 1] + ranked[CANDIDATES]) / 2
        shift = torch.full((CLASSES,), NEVER)
        shift[seen] = math.log(SCORE_THRESHOLD / (1 - SCORE_THRESHOLD)) - float(limit)
        for convolution in deployed.head.gfl_cls:
            convolution.bias[:CLASSES] += shift
    return deployed


def inputs(size: int) -> torch.Tensor:
    """The benchmark's picture and the examples, N x 3 x H x W, RGB 0..255."""
    files = [picture(ROOT / ".cache" / "bench" / "picture.jpg")]
    files += [path.read_bytes() for path in sorted((ROOT / "examples").glob("*.jpg"))]
    found = []
    for data in files:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert image is not None
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
        found.append(image.transpose(2, 0, 1).astype(np.float32))
    return torch.from_numpy(np.stack(found))


def describe(path: Path, name: str) -> None:
    """Name, labels and thresholds into the file; the exporter's traces out of it."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    facts = {
        "name": name,
        "labels": json.dumps([f"class {number}" for number in range(CLASSES)]),
        "score_threshold": str(SCORE_THRESHOLD),
        "iou_threshold": str(IOU_THRESHOLD),
    }
    for key, value in facts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"damoscope.{key}", value
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main() -> None:
    """Export one model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", choices=INPUT)
    parser.add_argument("output", type=Path)
    parser.add_argument("--half", action="store_true", help="store the weights as float16")
    options = parser.parse_args()
    size = INPUT[options.network]
    network = build(options.network, inputs(size))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    export_onnx(network, options.output, size, size)
    describe(options.output, f"damoyolo-{options.network}-stock")
    if options.half:
        onnx.save(with_precision(onnx.load(options.output), HALF), options.output)
    print(f"{options.network}: {options.output.stat().st_size} bytes, {size} x {size}")


if __name__ == "__main__":
    main()
