"""DAMO-YOLO's training loss, a whole batch at a time.

libreyolo computes the same loss image by image and asks the device for numbers on the way, so a
GPU spends its time waiting. Here ground truth is padded to N x G boxes, and nothing leaves the
device. `training.check` compares both.

Label assignment is AlignOTA, the losses are quality focal loss, GIoU and distribution focal loss,
as in upstream's `gfocal_loss.py` and `ota_assigner.py`. One thing is added: boxes to ignore, where
a prediction is neither right nor wrong.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

CENTER_RADIUS = 2.5
CANDIDATES = 10
IOU_COST, SCORE_COST = 3.0, 1.0
#: Costs of an anchor that lies outside the box or far from its middle, and of one outside all.
FAR, IMPOSSIBLE = 1e8, 1e12
BOX_WEIGHT, DISTRIBUTION_WEIGHT = 2.0, 0.25
FOCUS = 2.0


@dataclass(frozen=True)
class Truth:
    """What is there in N images, padded to N x G: boxes (xyxy, input pixels), what they are."""

    boxes: Tensor
    #: Boxes of phones, or of what else is trained for.
    phones: Tensor
    #: Boxes of what may or may not be one.
    unsure: Tensor
    #: Of each box its class; None where there is one class.
    classes: Tensor | None = None

    def kinds(self) -> Tensor:
        """N x G class numbers."""
        if self.classes is not None:
            return self.classes
        return torch.zeros_like(self.phones, dtype=torch.long)


@dataclass(frozen=True)
class Raw:
    """What the network says about A anchors of N images, before any activation."""

    #: N x A x classes.
    logits: Tensor
    #: N x A x 4 x bins.
    sides: Tensor
    #: A x 2, in pixels, and A.
    points: Tensor
    strides: Tensor
    #: N x A x 4, xyxy pixels.
    boxes: Tensor


def raw_outputs(network: nn.Module, features: list[Tensor]) -> Raw:
    """Run the network's head on the neck's `features`; float32 from here on."""
    head = network.head
    logits, sides, points, strides = [], [], [], []
    for level, feature in enumerate(features):
        score, side = feature, feature
        for score_layer, side_layer in zip(
            head.cls_convs[level], head.reg_convs[level], strict=True
        ):
            score, side = score_layer(score), side_layer(side)
        score = head.gfl_cls[level](score).float()
        side = head.scales[level](head.gfl_reg[level](side)).float()
        logits.append(score.flatten(start_dim=2).permute(0, 2, 1))
        sides.append(side.flatten(start_dim=2).unflatten(1, (4, -1)).permute(0, 3, 1, 2))
        at, stride = anchors(*feature.shape[-2:], head.strides[level], feature.device)
        points.append(at)
        strides.append(stride)
    all_sides, all_points = torch.cat(sides, dim=1), torch.cat(points)
    all_strides = torch.cat(strides)
    bins = torch.arange(all_sides.shape[-1], device=all_sides.device, dtype=torch.float32)
    distances = (all_sides.softmax(dim=-1) @ bins) * all_strides[:, None]
    boxes = torch.cat([all_points - distances[..., :2], all_points + distances[..., 2:]], dim=-1)
    return Raw(torch.cat(logits, dim=1), all_sides, all_points, all_strides, boxes)


def anchors(rows: int, columns: int, stride: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The points of one level, rows * columns x 2 pixels, and their strides."""
    y, x = torch.meshgrid(
        torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij"
    )
    points = torch.stack([x, y], dim=-1).reshape(-1, 2).float() * stride
    return points, torch.full((len(points),), float(stride), device=device)


def overlaps(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """IoU of broadcast xyxy boxes (... x 4), and the area of their union."""
    shared = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(
        first[..., :2], second[..., :2]
    )
    inside = shared.clamp(min=0).prod(dim=-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(dim=-1) for box in (first, second)]
    union = (areas[0] + areas[1] - inside).clamp(min=1e-6)
    return inside / union, union


def depth_inside(points: Tensor, boxes: Tensor) -> Tensor:
    """N x G x A: how far inside each of N x G boxes each of A points is, negative outside."""
    at = points[None, None]
    nearest = torch.cat([at - boxes[:, :, None, :2], boxes[:, :, None, 2:] - at], dim=-1)
    return nearest.amin(dim=-1)


@torch.no_grad()
def assign(raw: Raw, truth: Truth) -> tuple[Tensor, Tensor, Tensor]:
    """AlignOTA: for each of N x A anchors whether it stands for a phone, for which, at what IoU."""
    scores = raw.logits.sigmoid()
    kinds = truth.kinds()
    # N x G x A: the score for the class of each box.
    own = scores.gather(2, kinds[:, None].expand(-1, scores.shape[1], -1)).permute(0, 2, 1)
    middle = (truth.boxes[..., :2] + truth.boxes[..., 2:]) / 2
    near = (middle[:, :, None] - raw.points[None, None]).abs()
    central = (near < CENTER_RADIUS * raw.strides[None, None, :, None]).all(dim=-1)
    within = depth_inside(raw.points, truth.boxes) > 0
    there = truth.phones[..., None]
    central, within = central & there, within & there
    # An anchor in the box or the middle of any phone is a candidate for every phone of the image.
    candidate = (central | within).any(dim=1, keepdim=True) & there
    quality = overlaps(raw.boxes[:, None], truth.boxes[:, :, None])[0] * candidate
    # What it costs to say `quality` for the box's class, and nothing for all others.
    nothing = miss(scores, torch.zeros_like(scores)).sum(dim=2)[:, None]
    others = nothing - miss(own, torch.zeros_like(own))
    cost = SCORE_COST * (miss(own, quality) + others) - IOU_COST * torch.log(quality + 1e-7)
    cost = cost + FAR * ~(central & within)
    cost = cost.masked_fill(~candidate, IMPOSSIBLE)
    wanted = quality.topk(CANDIDATES, dim=-1).values.sum(dim=-1).int().clamp(min=1)
    cheapest, order = cost.topk(CANDIDATES, dim=-1, largest=False)
    rank = torch.arange(CANDIDATES, device=cost.device)
    taken = (rank < wanted[..., None]) & (cheapest < IMPOSSIBLE)
    matched = torch.zeros_like(cost, dtype=torch.bool).scatter_(-1, order, taken)
    count = matched.sum(dim=1)
    # Which phone an anchor stands for: where several want it, the one that it costs least.
    contested = cost.argmin(dim=1)
    phone = torch.where(count > 1, contested, matched.int().argmax(dim=1))
    reached = quality.gather(1, phone[:, None]).squeeze(1)
    return count > 0, phone, reached


def miss(scores: Tensor, wanted: Tensor) -> Tensor:
    """How far scores are from what they should be."""
    entropy = functional.binary_cross_entropy(scores, wanted, reduction="none")
    return entropy * (wanted - scores).abs().pow(FOCUS)


def quality_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Per anchor and class, for scores that should equal `target` (0 where there is nothing)."""
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return entropy * (logits.sigmoid() - target).abs().pow(FOCUS)


def box_loss(boxes: Tensor, wanted: Tensor) -> Tensor:
    """1 - GIoU of xyxy boxes, ... x 4."""
    iou, union = overlaps(boxes, wanted)
    around = torch.maximum(boxes[..., 2:], wanted[..., 2:]) - torch.minimum(
        boxes[..., :2], wanted[..., :2]
    )
    enclosed = around.clamp(min=0).prod(dim=-1).clamp(min=1e-6)
    return 1 - (iou - (enclosed - union) / enclosed)


def distribution_loss(sides: Tensor, distance: Tensor) -> Tensor:
    """Cross entropy of the two bins around each `distance` (... x 4), the mean over the sides."""
    lower = distance.long()
    share = distance - lower
    log = functional.log_softmax(sides, dim=-1)
    low = log.gather(-1, lower[..., None]).squeeze(-1)
    high = log.gather(-1, lower[..., None] + 1).squeeze(-1)
    return -(low * (1 - share) + high * share).mean(dim=-1)


def detection_loss(raw: Raw, truth: Truth) -> Tensor:
    """The loss of a batch, a scalar."""
    positive, phone, quality = assign(raw, truth)
    weight = raw.logits.detach().sigmoid().amax(dim=2) * positive
    # The first anchors lie on the picture's very edge.
    covered = depth_inside(raw.points, truth.boxes) >= 0
    ignored = (covered & truth.unsure[..., None]).any(dim=1)
    counted = positive | ~ignored
    kind = truth.kinds().gather(1, phone)
    target = torch.zeros_like(raw.logits)
    target.scatter_(2, kind[..., None], (quality * positive)[..., None])
    scores = quality_focal_loss(raw.logits, target).sum(dim=2) * counted
    wanted = truth.boxes.gather(1, phone[..., None].expand(-1, -1, 4))
    points, strides = raw.points[None], raw.strides[None, :, None]
    distance = torch.cat([points - wanted[..., :2], wanted[..., 2:] - points], dim=-1) / strides
    distance = distance.clamp(0, raw.sides.shape[-1] - 1 - 0.1)
    norm = weight.sum().clamp(min=1.0)
    boxes = (box_loss(raw.boxes, wanted) * weight).sum() / norm
    distributions = (distribution_loss(raw.sides, distance) * weight).sum() / norm
    return (
        scores.sum() / positive.sum().clamp(min=1)
        + BOX_WEIGHT * boxes
        + DISTRIBUTION_WEIGHT * distributions
    )
