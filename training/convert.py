"""Make an ONNX model of a checkpoint: DAMO-YOLO's own, ModelScope's, libreyolo's, or one of ours.

    .venv-training/bin/python -m training.convert CHECKPOINT OUTPUT.onnx

`damoscope model import CHECKPOINT` calls this. Size and number of scores are found from the
tensors. Activations leave none, but the batch norms remember what came to them: where photographs
look clearly more like that under others than upstream's, those are taken.
"""

from __future__ import annotations

import argparse
import copy
import pickle
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from libreyolo.models.damoyolo.nn import SIZES, RepConv, build_damoyolo
from torch import Tensor, nn

from training.checkpoint import Found, NotACheckpoint, find, is_deployed, weights_in
from training.export import export_onnx, largest_differences, set_metadata
from training.images import read_inputs
from training.network import LABELS, ExportNetwork, swap_activations

ROOT = Path(__file__).resolve().parent.parent
#: Photographs that the network is run on.
PHOTOGRAPHS = tuple(sorted((ROOT / "examples").glob("*.jpg")))
#: Largest difference between PyTorch and ONNX Runtime: of scores, and of boxes in pixels. A trained
#: Ns has 4e-7 and 0.0001; of random weights M has 0.3 px and L 0.7. For M that is rounding: in
#: double precision what is exported differs from the checkpoint's network by less than 1e-10.
SCORES_WITHIN, BOXES_WITHIN_PX = 1e-2, 1.0
#: Bytes of a checkpoint; the largest of the family has 170 MB, with an optimizer's state 700 MB.
BYTES_MAX = 2**32
#: How strange photographs may be to the batch norms of a network with the right activations (0.3
#: is what was seen), and by which factor others have to fit better than upstream's to be taken.
FITS, CLEARLY = 0.4, 0.75
ACTIVATIONS = {"SiLU": nn.SiLU, "ReLU": nn.ReLU}


def load(path: Path) -> dict[str, Any]:
    """What the file holds: tensors and plain values, nothing that runs."""
    if path.stat().st_size > BYTES_MAX:
        raise NotACheckpoint(f"it has more than the {BYTES_MAX:,} bytes allowed")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise NotACheckpoint(
            "it holds more than tensors and plain values, which could run code when it is read, or "
            "is no checkpoint of PyTorch; where you trust it, save its weights alone: "
            "torch.save({'model': model.state_dict()}, ...)"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise NotACheckpoint(f"PyTorch cannot read it: {_first_line(error)}") from error
    return content if isinstance(content, dict) else {"state_dict": content}


def networks(deployed: bool) -> dict[str, dict[str, tuple[int, ...]]]:
    """Names and shapes of the tensors of each network of the family."""
    shapes = {}
    for size in SIZES:
        with torch.device("cpu" if deployed else "meta"):  # shapes alone need no numbers
            network = build_damoyolo(size=size, num_classes=1)
        if deployed:
            deploy(network)
        shapes[size] = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    return shapes


def deploy(network: nn.Module) -> None:
    """Make one convolution of each set of parallel ones."""
    for module in list(network.modules()):
        if isinstance(module, RepConv):
            module.switch_to_deploy()


def build(found: Found, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network with these weights, as the family has it."""
    network = build_damoyolo(size=found.size, num_classes=found.scores)
    if is_deployed(weights):
        deploy(network)
    network.load_state_dict(weights, strict=False)  # `find` compared every name and shape
    return network.eval()


def with_activation(network: nn.Module, images: Tensor, said: object) -> tuple[nn.Module, str]:
    """The network with the activations that the checkpoint says, or that its batch norms
    remember; and what these are."""
    if isinstance(said, str) and said in ACTIVATIONS:
        swap_activations(network, ACTIVATIONS[said])
        return network, f"{said} everywhere (the checkpoint says so)"
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if all(norm.running_mean.abs().max() == 0 for norm in norms):
        return network, (
            "as upstream has them; its batch norms are folded and cannot tell, so look at what the "
            "model finds"
        )
    candidates = {"as upstream has them": network}
    for name, kind in ACTIVATIONS.items():
        other = copy.deepcopy(network)
        if swap_activations(other, kind):
            candidates[f"{name} everywhere"] = other
    strangeness = {name: _strangeness(each, images) for name, each in candidates.items()}
    first, best = next(iter(candidates)), min(strangeness, key=lambda name: strangeness[name])
    if strangeness[best] <= FITS and strangeness[best] < CLEARLY * strangeness[first]:
        return candidates[best], f"{best} (its batch norms fit these)"
    doubt = "" if strangeness[first] <= FITS else (
        "; what its batch norms remember is unlike photographs, so look at what the model finds"
    )  # fmt: skip
    return network, first + doubt


@torch.inference_mode()
def _strangeness(network: nn.Module, images: Tensor) -> float:
    """How far what comes to the batch norms is from what they remember; 0 is as in training."""
    found: list[float] = []

    def measure(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        spread = torch.sqrt(norm.running_var + norm.eps)
        away = (mean - norm.running_mean).abs() / spread
        wider = (torch.log(torch.sqrt(variance + norm.eps) / spread)).abs()
        found.append(float((away + wider).nanmedian()))

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(measure) for norm in norms]
    network(images)
    for handle in handles:
        handle.remove()
    return float(np.mean(found))


def record_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a training of ours says of itself; empty for others' checkpoints."""
    record = content.get("training")
    return record if isinstance(record, dict) else {}


def labels_of(content: Mapping[str, Any], scores: int) -> list[str] | None:
    """Class names, where the checkpoint has them."""
    if record_of(content) and scores == len(LABELS):
        return LABELS
    names = content.get("names")
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    if isinstance(names, (list, tuple)) and len(names) in (scores, scores - 1):
        return [str(name) for name in names]
    return None


def size_of(found: Found, content: Mapping[str, Any], wanted: list[int] | None) -> tuple[int, int]:
    """Height and width: what is asked for, what the checkpoint says, or what upstream uses."""
    if wanted:
        return wanted[0], wanted[1]
    sizes = record_of(content).get("sizes")
    if isinstance(sizes, list) and sizes and isinstance(sizes[-1], int):
        return sizes[-1], sizes[-1]  # what a training of ours ended with
    return (416, 416) if found.size.startswith("n") else (640, 640)


@torch.inference_mode()
def reference(network: nn.Module, images: np.ndarray) -> list[np.ndarray]:
    """What libreyolo's own forward gives, which has its own way to the boxes."""
    return [output.numpy() for output in network(torch.from_numpy(images))]


def convert(checkpoint: Path, output: Path, wanted: list[int] | None) -> Iterator[str]:
    """Write the model. Gives a line for each thing that was found out. Raises NotACheckpoint."""
    content = load(checkpoint)
    weights = weights_in(content)
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    found = find(shapes, networks(is_deployed(weights)))
    height, width = size_of(found, content, wanted)
    yield f"DAMO-YOLO-{found.size.capitalize()}, {found.scores} scores, {height} x {width}"
    if found.unused:
        yield f"{len(found.unused)} tensors are not the network's: {', '.join(found.unused[:3])}"
    if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
        raise NotACheckpoint("some of its weights are NaN or infinite: its training diverged")
    network, activations = with_activation(
        build(found, weights),
        torch.from_numpy(read_inputs(PHOTOGRAPHS, height, width)),
        record_of(content).get("activation"),
    )
    yield f"activations: {activations}"
    images = read_inputs(PHOTOGRAPHS[:4], height, width)
    expected = reference(network, images)
    deploy(network)
    exported = ExportNetwork(network, height, width).eval()
    export_onnx(exported, output, height, width)
    labels = labels_of(content, found.scores)
    set_metadata(output, {"damoscope.labels": labels} if labels else {})
    scores, boxes = largest_differences(expected, output, images)
    if not (scores <= SCORES_WITHIN and boxes <= BOXES_WITHIN_PX):
        output.unlink()
        raise NotACheckpoint(
            f"ONNX Runtime differs from PyTorch by {scores:.1e} in scores and {boxes:.1e} px"
        )
    yield (
        f"ONNX Runtime against PyTorch on {len(images)} photographs: scores within {scores:.1e}, "
        f"boxes within {boxes:.1e} px"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"))
    arguments = parser.parse_args()
    try:
        for line in convert(arguments.checkpoint, arguments.output, arguments.size):
            print(line, flush=True)
    except (NotACheckpoint, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
