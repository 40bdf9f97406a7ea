"""The network: libreyolo's DAMO-YOLO-Ns with one class and ReLU activations."""

from pathlib import Path
from typing import Any

import torch
from libreyolo.models.damoyolo.nn import build_damoyolo, distance2bbox
from torch import Tensor, nn
from torch.nn import functional

LABELS = ["phone"]
#: A channel is idle whose variance is below this share of the median of its layer.
IDLE_SHARE = 0.01


def swap_activations(module: nn.Module, kind: type[nn.Module]) -> int:
    """Replace every SiLU and ReLU below `module` by `kind`; return how many were another."""
    swapped = 0
    for name, child in module.named_children():
        if isinstance(child, nn.SiLU | nn.ReLU):
            swapped += not isinstance(child, kind)
            setattr(module, name, kind(inplace=True))
        else:
            swapped += swap_activations(child, kind)
    return swapped


def build_network() -> nn.Module:
    """DAMO-YOLO-Ns with random weights: takes N x 3 x H x W, RGB, 0..255.

    ReLU in place of SiLU costs a CPU about a fifth less per image at this size, and the family's
    larger networks use it in their backbones anyway.
    """
    network = build_damoyolo(size="ns", num_classes=len(LABELS))
    swap_activations(network, nn.ReLU)
    return network


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """The averaged weights in `path`, the record of their training, and what resuming it takes.

    The last two are empty for a bare state dict.
    """
    content = torch.load(path, map_location="cpu", weights_only=True)
    if "weights" in content:
        return content["weights"], content["training"], content.get("state", {})
    return content, {}, {}


@torch.inference_mode()
def restore_batch_norms(network: nn.Module, images: Tensor) -> None:
    """Give back to folded batch norms what they normalise by, as `images` show it.

    Weights that come from an exported file have their batch norms folded into the convolutions,
    where mean and variance are 0 and 1 in name only: training, which normalises by what a batch
    shows, would begin with another network. Afterwards both compute what the folded one does.
    """

    def measure(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(scale * torch.sqrt(variance + norm.eps))
        norm.bias.copy_(shift + mean * scale)

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(measure) for norm in norms]
    network.eval()(images)
    for handle in handles:
        handle.remove()


@torch.no_grad()
def hold_idle_channels(network: nn.Module) -> int:
    """Hold the channels that hardly ever change at what they are; return how many.

    A batch norm amplifies what its input varies by. Where that is nearly nothing, since a channel
    is silent on nearly all images, the rare image that wakes it makes it hundreds of times as
    large as anything else, beyond what INT8 can tell apart.
    """
    held = 0
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            idle = norm.running_var < IDLE_SHARE * norm.running_var.median()
            norm.weight[idle] = 0.0
            held += int(idle.sum())
    return held


class ExportNetwork(nn.Module):
    """The network in the form that is exported: input size fixed, batch size free.

    libreyolo's head works its anchor points out on every call and reshapes by the batch size, which
    leaves shape arithmetic in the graph. Here the points are constants for one input size.
    """

    def __init__(self, network: nn.Module, height: int, width: int) -> None:
        super().__init__()
        self.backbone = network.backbone
        self.neck = network.neck
        self.head = network.head
        points, strides = [], []
        for stride in self.head.strides:
            rows, columns = height // stride, width // stride
            y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            points.append(torch.stack([x, y], dim=-1).reshape(-1, 2).float() * stride)
            strides.append(torch.full((rows * columns, 1), float(stride)))
        self.register_buffer("points", torch.cat(points))
        self.register_buffer("strides", torch.cat(strides))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """N x 3 x H x W to scores N x A x 1 (sigmoid) and boxes N x A x 4 (xyxy, input pixels)."""
        head = self.head
        features = self.neck(self.backbone(images))
        scores, sides = [], []
        for level, feature in enumerate(features):
            score, side = head.forward_single(
                feature,
                head.cls_convs[level],
                head.reg_convs[level],
                head.gfl_cls[level],
                head.gfl_reg[level],
                head.scales[level],
            )
            scores.append(score.flatten(start_dim=2))
            sides.append(side.flatten(start_dim=2))
        # N x (4 * bins) x A: the distance of each side is the mean of a distribution over bins.
        distribution = torch.cat(sides, dim=2).unflatten(1, (4, head.reg_max + 1))
        distribution = functional.softmax(distribution.permute(0, 3, 1, 2), dim=-1)
        distances = (distribution @ head.integral.project) * self.strides
        return torch.cat(scores, dim=2).permute(0, 2, 1), distance2bbox(self.points, distances)
