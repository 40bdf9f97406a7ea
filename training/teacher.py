"""A teacher: NanoDet-Plus, trained on COCO by others, read from its ncnn files into PyTorch.

    python -m training.teacher NAME.param

prints how many weights it has. ncnn's `param` lists layers, its `bin` their weights; of the
layers, these are the ones that NanoDet-Plus uses. INT8 weights are turned back into floats.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

#: What `bin` says before weights stored as INT8 and as FP16.
INT8_WEIGHTS, FP16_WEIGHTS = 0x000D4B38, 0x01306B47
#: ncnn's numbers of activations and of a binary operation.
LEAKY_RELU, ADD = 2, 0
INPUT_SIZE = 416
STRIDES = (8, 16, 32, 64)
CLASSES = 80
CELL_PHONE = 67


class Weights:
    """ncnn's `bin`, read from the beginning."""

    def __init__(self, path: Path) -> None:
        self.content, self.at = path.read_bytes(), 0

    def take(self, count: int, kind: str) -> np.ndarray:
        """The next `count` numbers of `kind`, as float32; ncnn pads to four bytes."""
        found = np.frombuffer(self.content, kind, count, self.at)
        self.at += -(-found.nbytes // 4) * 4
        return found.astype(np.float32)

    def take_tagged(self, count: int) -> np.ndarray:
        """The next `count` numbers of the kind that stands before them."""
        tag = int(np.frombuffer(self.content, "<u4", 1, self.at)[0])
        self.at += 4
        kinds = {INT8_WEIGHTS: "<i1", FP16_WEIGHTS: "<f2", 0: "<f4"}
        return self.take(count, kinds[tag])


def parse_layer(line: str) -> tuple[str, list[str], list[str], dict[int, list[float]]]:
    """A line of `param`: kind, inputs, outputs, settings."""
    kind, _, inputs, outputs, *rest = line.split()
    names, settings = rest[: int(inputs) + int(outputs)], rest[int(inputs) + int(outputs) :]
    values = {}
    for setting in settings:
        key, value = setting.split("=")
        numbers = [float(number) for number in value.split(",")]
        # Keys below -23300 name arrays, which begin with their length.
        values[abs(int(key) + 23300) if int(key) < 0 else int(key)] = (
            numbers[1:] if int(key) < 0 else numbers
        )
    return kind, names[: int(inputs)], names[int(inputs) :], values


class Convolution(nn.Module):
    """ncnn's Convolution and ConvolutionDepthWise."""

    def __init__(self, settings: dict[int, list[float]], weights: Weights) -> None:
        super().__init__()

        def number(key: int, default: int = 0) -> int:
            return int(settings.get(key, [default])[0])

        outputs, kernel, groups = number(0), number(1), number(7, 1)
        values = weights.take_tagged(number(6)).reshape(outputs, -1, kernel, kernel)
        bias = weights.take(outputs, "<f4") if number(5) else np.zeros(outputs, np.float32)
        if number(8):
            scales = weights.take(groups if groups > 1 else outputs, "<f4")
            weights.take(1, "<f4")  # of the input
            if number(8) > 100:
                weights.take(1, "<f4")  # of the output
            values = values / scales.reshape(-1, 1, 1, 1)
        self.register_buffer("weight", torch.from_numpy(values.copy()))
        self.register_buffer("bias", torch.from_numpy(bias.copy()))
        self.stride, self.padding, self.groups = number(3, 1), number(4), groups
        self.activation = number(9)
        self.slope = settings.get(10, [0.0])[0]

    def forward(self, x: Tensor) -> Tensor:
        x = functional.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, groups=self.groups
        )
        return functional.leaky_relu(x, self.slope) if self.activation == LEAKY_RELU else x


class Teacher(nn.Module):
    """NanoDet-Plus in the files NAME.param and NAME.bin."""

    def __init__(self, param: Path) -> None:
        super().__init__()
        weights = Weights(param.with_suffix(".bin"))
        self.layers = [parse_layer(line) for line in param.read_text().splitlines()[2:] if line]
        self.convolutions = nn.ModuleList(
            Convolution(settings, weights)
            for kind, _, _, settings in self.layers
            if kind.startswith("Convolution")
        )
        if weights.at != len(weights.content):
            raise ValueError(f"{param}: its weights are not those of the layers it lists")
        mean, std = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    @torch.no_grad()
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """All that is computed from N x 3 x H x W RGB images, 0..255, by the names in `param`.

        H and W are multiples of 32; `INPUT_SIZE` is what it was trained at.
        """
        found = {"data": (images.flip(1) - self.mean) / self.std}
        convolutions = iter(self.convolutions)
        for kind, inputs, outputs, settings in self.layers:
            if kind == "Input":
                continue
            values = [found[name] for name in inputs]
            if kind.startswith("Convolution"):
                results = [next(convolutions)(values[0])]
            else:
                results = compute(kind, values, settings, len(outputs))
            found.update(zip(outputs, results, strict=True))
        return found

    def classes(self, found: dict[str, Tensor]) -> list[Tensor]:
        """Scores of COCO's classes, N x 80 x H x W for each stride."""
        return [found[f"cls{stride}"] for stride in STRIDES]

    def stages(self, found: dict[str, Tensor]) -> list[Tensor]:
        """What the backbone hands to the neck at strides 8, 16 and 32, N x channels x H x W."""
        shuffled = [
            found[outputs[0]] for kind, _, outputs, _ in self.layers if kind == "ShuffleChannel"
        ]
        # The last of each number of channels.
        return list({int(one.shape[1]): one for one in shuffled}.values())

    def features(self, found: dict[str, Tensor]) -> list[Tensor]:
        """What the neck hands to the head at strides 8, 16 and 32, N x channels x H x W."""
        sums = [outputs[0] for kind, _, outputs, _ in self.layers if kind == "BinaryOp"]
        return [found[name] for name in sums[1:4]]

    def boxes(self, found: dict[str, Tensor]) -> Tensor:
        """N x A x 4 xyxy, in pixels."""
        boxes = []
        for stride in STRIDES:
            sides = found[f"dis{stride}_pre"].float()
            rows, columns = sides.shape[-2:]
            distribution = sides.unflatten(1, (4, -1)).softmax(dim=2)
            bins = torch.arange(distribution.shape[2], device=sides.device).float()
            distance = torch.einsum("nsbhw,b->nhws", distribution, bins) * stride
            y, x = torch.meshgrid(
                torch.arange(rows, device=sides.device),
                torch.arange(columns, device=sides.device),
                indexing="ij",
            )
            at = torch.stack([x, y], dim=-1) * stride
            corners = torch.cat([at - distance[..., :2], at + distance[..., 2:]], dim=-1)
            boxes.append(corners.flatten(1, 2))
        return torch.cat(boxes, dim=1)


def compute(
    kind: str, values: list[Tensor], settings: dict[int, list[float]], outputs: int
) -> list[Tensor]:
    """The layers without weights."""
    first = values[0]
    if kind == "Split":
        return [first] * outputs
    if kind == "Concat":
        return [torch.cat(values, dim=1)]
    if kind == "BinaryOp" and settings.get(0, [ADD])[0] == ADD:
        return [values[0] + values[1]]
    if kind == "Sigmoid":
        return [first.float().sigmoid()]
    if kind == "Permute":
        return [first]
    if kind == "Pooling":
        return [functional.max_pool2d(first, 3, 2, 1)]
    if kind == "Interp":
        return [functional.interpolate(first, scale_factor=2, mode="bilinear")]
    if kind == "ShuffleChannel":
        groups = int(settings.get(0, [1])[0])
        images, channels, rows, columns = first.shape
        apart = first.reshape(images, groups, int(channels) // groups, rows, columns)
        return [apart.transpose(1, 2).reshape(images, int(channels), rows, columns)]
    if kind == "Slice":
        sizes = [int(size) for size in settings[0]]
        if sizes[0] < 0:
            return list(first.chunk(outputs, dim=1))
        return [first[:, : sizes[0]], first[:, sizes[0] :]]
    raise ValueError(f"a layer of the kind {kind} is not known")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("param", type=Path)
    arguments = parser.parse_args()
    teacher = Teacher(arguments.param)
    print(sum(convolution.weight.numel() for convolution in teacher.convolutions), "weights")


if __name__ == "__main__":
    main()
