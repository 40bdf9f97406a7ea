"""Weights to begin from: those of a DAMO-YOLO in ONNX, of a checkpoint of a training here, or of
anybody's.

Exporters fold batch norms into the convolutions and forget the layers' names. What is left is their
order, in which the same network runs its convolutions, and their shapes, which are compared.
"""

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from libreyolo.models.damoyolo.nn import SIZES, RepConv, build_damoyolo
from onnx import numpy_helper
from torch import Tensor, nn

from pipeline.errors import ModelError
from training import convert
from training.network import read_checkpoint, swap_activations
from worker.model.loading import readable
from worker.model.metadata import all_labels, labels_in

#: Differences allowed between the read-back network and the file: of scores, and of boxes.
SCORE_TOLERANCE, BOX_TOLERANCE_PX = 1e-3, 0.1
#: A head that has learnt no class yet calls nearly everything background.
UNLEARNT_BIAS = -4.6


class CannotStart(Exception):
    """The file cannot be begun from; the message says why."""


@dataclass(frozen=True)
class Start:
    """A network with weights, and whether its batch norms are folded."""

    network: nn.Module
    size: str
    relu: bool
    labels: list[str]
    folded: bool


def build(size: str, classes: int, *, relu: bool, deployed: bool = False) -> nn.Module:
    """A network of the family with random weights; `relu` puts ReLU in place of every SiLU."""
    network = build_damoyolo(size=size, num_classes=classes)
    if deployed:
        for module in list(network.modules()):
            if isinstance(module, RepConv):
                module.switch_to_deploy()
    if relu:
        swap_activations(network, nn.ReLU)
    return network


def read_onnx(path: Path) -> Start:
    """The network and weights of an exported file. Raises CannotStart."""
    try:
        model = readable(path)
    except ModelError as error:
        raise CannotStart(str(error)) from error
    if in_fewer_bits(model):
        raise CannotStart(f"{path}: of fewer bits than 32; begin from what it was made of")
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            weights[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    found = [node for node in model.graph.node if node.op_type == "Conv"]
    convolutions = [[weights.get(name) for name in node.input[1:3]] for node in found]
    if not convolutions or any(one[0] is None for one in convolutions):
        raise CannotStart(f"{path}: no convolutions with weights of their own")
    relu = sum(node.op_type == "Sigmoid" for node in model.graph.node) <= 3  # of the scores alone
    # The last six give scores and sides of three levels: which of them is which, the shapes tell.
    counts = sorted({len(weight) for weight, _ in convolutions[-6:] if weight is not None})
    for size, classes in itertools.product(SIZES, counts):
        network = build(size, classes, relu=relu, deployed=True)
        if fill(network, convolutions):
            restore_scales(network, model)
            check(network, path)
            meta = {one.key: one.value for one in model.metadata_props}
            return Start(network, size, relu, labels_of(meta, classes), folded=True)
    raise CannotStart(
        f"{path}: its {len(convolutions)} convolutions are those of none of {', '.join(SIZES)}"
    )


def in_fewer_bits(model: onnx.ModelProto) -> bool:
    """Whether its numbers are of half precision, or integers."""
    half = any(one.data_type == onnx.TensorProto.FLOAT16 for one in model.graph.initializer)
    return half or any(node.op_type == "DequantizeLinear" for node in model.graph.node)


def labels_of(meta: dict[str, str], classes: int) -> list[str]:
    """Class names as a worker tells them from a file's metadata. An older head gives one score
    more, which is nobody's."""
    try:
        names = list(all_labels(labels_in(meta), classes))
    except ModelError as error:
        raise CannotStart(f"its class names: {error}") from error
    return names + [""] * (classes - len(names))


def takes_images(source: Any) -> bool:
    """Whether a session's input is images as they come, as an imported model's is: uint8,
    N x H x W x 3."""
    return bool(source.type == "tensor(uint8)")


def input_side(path: Path) -> int | None:
    """Height and width of an ONNX file's input; None where it leaves them open."""
    source = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_inputs()[0]
    side = source.shape[1 if takes_images(source) else 2]
    return side if isinstance(side, int) else None


@torch.no_grad()
def fill(network: nn.Module, convolutions: list[list[np.ndarray | None]]) -> bool:
    """Put the weights into the network's convolutions, in the order in which they run; False where
    their number or shapes are others."""
    order, norms = run_order(network)
    if len(order) != len(convolutions):
        return False
    for layer, (weight, _) in zip(order, convolutions, strict=True):
        if weight is None or tuple(weight.shape) != tuple(layer.weight.shape):
            return False
    for layer, (weight, bias) in zip(order, convolutions, strict=True):
        layer.weight.copy_(torch.from_numpy(np.array(weight, np.float32)))
        offset = torch.zeros(len(layer.weight))
        if bias is not None:
            offset = torch.from_numpy(np.array(bias, np.float32))
        norm = norms.get(layer)
        if norm is not None:
            norm.running_mean.zero_()
            norm.running_var.fill_(1)
            norm.weight.fill_((1 + norm.eps) ** 0.5)
            norm.bias.copy_(offset)
        elif layer.bias is not None:
            layer.bias.copy_(offset)
    return True


@torch.no_grad()
def restore_scales(network: nn.Module, model: onnx.ModelProto) -> None:
    """What each level's sides are multiplied by: the three products with one number."""
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    by = [
        weights[name].reshape(())
        for node in model.graph.node
        if node.op_type == "Mul"
        for name in node.input
        if name in weights and weights[name].size == 1
    ]
    if len(by) == len(network.head.scales):
        for scale, value in zip(network.head.scales, by, strict=True):
            scale.scale.fill_(float(value))


@torch.inference_mode()
def run_order(network: nn.Module) -> tuple[list[nn.Conv2d], dict[nn.Conv2d, nn.BatchNorm2d]]:
    """The convolutions as they run, and the batch norm that follows each."""
    order: list[nn.Conv2d] = []
    norms: dict[nn.Conv2d, nn.BatchNorm2d] = {}

    def note(module: nn.Module, _: Any, __: Any) -> None:
        if isinstance(module, nn.Conv2d):
            order.append(module)
        elif order and order[-1] not in norms:
            norms[order[-1]] = module

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    handles = [
        module.register_forward_hook(note)
        for module in network.modules()
        if isinstance(module, kinds)
    ]
    network.eval()(torch.zeros(1, 3, 64, 64))
    for handle in handles:
        handle.remove()
    return order, norms


@torch.inference_mode()
def check(network: nn.Module, path: Path) -> None:
    """Raises CannotStart where the network does not give what the file gives."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    sides = source.shape[1:3] if takes_images(source) else source.shape[2:]
    height, width = (side if isinstance(side, int) else 320 for side in sides)
    images = np.random.default_rng(0).integers(0, 255, (1, 3, height, width)).astype(np.float32)
    given = images.transpose(0, 2, 3, 1).astype(np.uint8) if takes_images(source) else images
    outputs = session.run(None, {source.name: given})
    scores, boxes = (output.numpy() for output in network.eval()(torch.from_numpy(images)))
    for what, own, allowed in (
        ("scores", scores, SCORE_TOLERANCE), ("boxes", boxes, BOX_TOLERANCE_PX),
    ):  # fmt: skip
        alike = [one for one in outputs if one.shape == own.shape]
        apart = min((float(np.abs(own - one).max()) for one in alike), default=float("inf"))
        if not apart <= allowed:
            raise CannotStart(f"{path}: read back, its {what} differ by {apart:.2g}")


def read_start(path: Path) -> Start:
    """The network and weights of an ONNX file or of a checkpoint: of a training here, or of
    others', which is told what it is. Raises CannotStart."""
    if path.suffix == ".onnx":
        return read_onnx(path)
    try:
        content = convert.load(path)
    except convert.NotACheckpoint as error:
        raise CannotStart(f"{path}: {error}") from error
    spec = convert.record_of(content).get("spec")
    if not spec:
        return read_foreign(path)
    weights, _, _ = read_checkpoint(path)
    network = build(spec["size"], len(spec["labels"]), relu=spec["relu"],
                    deployed=spec["deployed"])  # fmt: skip
    network.load_state_dict(weights)
    return Start(network, spec["size"], spec["relu"], spec["labels"], folded=False)


def read_foreign(path: Path) -> Start:
    """The network and weights of anybody's checkpoint, by way of ONNX. Raises CannotStart."""
    with tempfile.TemporaryDirectory(prefix="damoscope-start-") as folder:
        exported = Path(folder) / f"{path.stem}.onnx"
        try:
            for line in convert.convert(path, exported, None):
                print(f"  {line}", flush=True)
        except convert.NotACheckpoint as error:
            raise CannotStart(f"{path}: {error}") from error
        return read_onnx(exported)


@torch.no_grad()
def with_classes(start: Start, labels: list[str]) -> nn.Module:
    """The network for other classes: those that it knows by name go on from what it learnt, others
    begin with nothing."""
    if labels == start.labels:
        return start.network
    deployed = not any("rbr_dense" in name for name, _ in start.network.named_modules())
    network = build(start.size, len(labels), relu=start.relu, deployed=deployed)
    weights = {
        name: value for name, value in start.network.state_dict().items() if "gfl_cls" not in name
    }
    network.load_state_dict(weights, strict=False)
    known = {name.casefold(): number for number, name in enumerate(start.labels)}
    for new, old in zip(network.head.gfl_cls, start.network.head.gfl_cls, strict=True):
        nn.init.normal_(new.weight, std=0.01)
        new.bias.fill_(UNLEARNT_BIAS)
        for number, name in enumerate(labels):
            at = known.get(name.casefold())
            if at is not None:
                new.weight[number], new.bias[number] = old.weight[at], old.bias[at]
    return network


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """Its weights on the CPU."""
    return {name: value.cpu() for name, value in network.state_dict().items()}
