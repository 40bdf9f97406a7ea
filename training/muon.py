"""Muon: steps whose direction is as long in every direction that a layer's matrix knows.

After Keller Jordan's Muon (https://kellerjordan.github.io/posts/muon/): what momentum has gathered
for a matrix is made nearly orthogonal by five Newton-Schulz iterations. A step is then as long as
one of AdamW's (Liu et al., "Muon is Scalable for LLM Training", 2025). PyTorch's own takes matrices
only, and weights of convolutions have four axes.
"""

import torch
from torch import Tensor

#: Newton-Schulz coefficients of Jordan's, which bring singular values near 1 in five iterations.
COEFFICIENTS, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
MOMENTUM = 0.95
#: How long AdamW's steps are for each weight, at a learning rate of 1.
ADAMW_LENGTH = 0.2


def orthogonal(matrix: Tensor) -> Tensor:
    """`matrix` (rows x columns) with singular values near 1."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """For weights of convolutions that mix channels; the others take AdamW."""

    def __init__(self, params: list[dict], lr: float = 1e-3, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
                update = parameter.grad.lerp(momentum, MOMENTUM)
                matrix = orthogonal(update.flatten(start_dim=1))
                length = ADAMW_LENGTH * max(matrix.shape) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(matrix.view_as(parameter), alpha=-group["lr"] * length)
