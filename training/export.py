"""Export a checkpoint as ONNX with its metadata inside, and check it against PyTorch."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from training.images import read_inputs
from training.network import (
    LABELS,
    ExportNetwork,
    build_network,
    hold_idle_channels,
    read_checkpoint,
)

MODEL_NAME = "damoyolo-ns-phone"
#: Largest difference allowed between PyTorch and ONNX Runtime: of scores, and of boxes in pixels.
SCORE_TOLERANCE = 1e-4
BOX_TOLERANCE_PX = 0.05
MAX_BYTES = 6_000_000


def export_onnx(network: torch.nn.Module, path: Path, height: int, width: int) -> None:
    """Write `network` to `path`: input `images`, outputs `scores` and `boxes`, free batch axis."""
    batch_axis = {0: "batch"}
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, height, width),),
        path,
        dynamo=False,
        opset_version=17,
        input_names=["images"],
        output_names=["scores", "boxes"],
        dynamic_axes={"images": batch_axis, "scores": batch_axis, "boxes": batch_axis},
    )


def write_metadata(path: Path, anchors: int, metadata: dict[str, Any]) -> None:
    """Put `metadata` into the file as `damoscope.*` properties; what is no string becomes JSON.

    The outputs' shapes are spelled out, since the exporter leaves some of them open.
    """
    model = onnx.load(path)
    for output, channels in zip(model.graph.output, (len(LABELS), 4), strict=True):
        shape = output.type.tensor_type.shape
        shape.dim[1].dim_value, shape.dim[2].dim_value = anchors, channels
    forget_machine(model)
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key = f"damoscope.{key}"
        entry.value = value if isinstance(value, str) else json.dumps(value)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def set_metadata(path: Path, metadata: dict[str, Any]) -> None:
    """Put `metadata` into the file, as JSON, and drop names and traces that the exporter left."""
    model = onnx.load(path)
    forget_machine(model)
    onnx.helper.set_model_props(
        model, {key: json.dumps(value, ensure_ascii=False) for key, value in metadata.items()}
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def forget_machine(model: onnx.ModelProto) -> None:
    """Drop names and traces of the nodes: they hold paths of the machine that exported."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


def largest_differences(
    expected: Sequence[np.ndarray], path: Path, images: np.ndarray
) -> tuple[float, float]:
    """Largest difference of scores and of boxes (pixels) between `expected` and ONNX Runtime.

    `images` is N x 3 x H x W float32; it is run whole and one by one, so that a batch axis that is
    free in name only would show.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    whole = session.run(None, {"images": images})
    single = [session.run(None, {"images": image[None]}) for image in images]
    differences = []
    for index, reference in enumerate(expected):
        one_by_one = np.concatenate([outputs[index] for outputs in single])
        differences.append(
            max(float(np.abs(got - reference).max()) for got in (whole[index], one_by_one))
        )
    return differences[0], differences[1]


def check_parity(network: torch.nn.Module, path: Path, images: np.ndarray) -> tuple[float, float]:
    """`largest_differences` between PyTorch and ONNX Runtime. Raises ValueError above the
    tolerances."""
    with torch.inference_mode():
        expected = [output.numpy() for output in network(torch.from_numpy(images))]
    differences = largest_differences(expected, path, images)
    if differences[0] > SCORE_TOLERANCE or differences[1] > BOX_TOLERANCE_PX:
        raise ValueError(f"ONNX Runtime differs from PyTorch: scores and boxes by {differences}")
    return differences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(320, 320), metavar=("H", "W"))
    parser.add_argument("--score-threshold", type=float, default=0.4)
    parser.add_argument("--iou-threshold", type=float, default=0.5)
    parser.add_argument(
        "--images", type=Path, nargs="+", required=True, help="for the parity check"
    )
    arguments = parser.parse_args()
    height, width = arguments.size

    weights, training, _ = read_checkpoint(arguments.checkpoint)
    network = build_network()
    network.load_state_dict(weights)
    held = hold_idle_channels(network)
    deployed = ExportNetwork(network, height, width).eval()
    export_onnx(deployed, arguments.output, height, width)
    write_metadata(
        arguments.output,
        len(deployed.points),
        {
            "name": MODEL_NAME,
            "labels": LABELS,
            "score_threshold": str(arguments.score_threshold),
            "iou_threshold": str(arguments.iou_threshold),
            "input_size": [height, width],
            "license": "Apache-2.0",
            "training": training,
        },
    )
    images = read_inputs(arguments.images, height, width)
    score_difference, box_difference = check_parity(deployed, arguments.output, images)
    size = arguments.output.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{arguments.output} has {size} bytes, more than {MAX_BYTES}")
    print(f"{arguments.output}: {size} bytes, {height} x {width}, {held} idle channels held")
    print(
        f"parity on {len(images)} images: scores within {score_difference:.1e}, "
        f"boxes within {box_difference:.1e} px"
    )


if __name__ == "__main__":
    main()
