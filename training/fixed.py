"""What is not trained, the teacher and the first blocks, in ONNX Runtime.

On a CPU core PyTorch takes 8 ms for the first two blocks of an image of 224 x 224, ONNX Runtime
1.3 ms; 9.7 ms for the smaller teacher, 7.0 ms.
"""

import tempfile
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn


class Fixed(nn.Module):
    """What `module` computes from N x 3 x H x W images, as it is now; without gradients.

    H and W are free, multiples of 32. Its outputs are a list of tensors. To be made before
    anything replaces how convolutions are computed.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        images = torch.zeros(2, 3, 64, 96)
        with torch.no_grad():
            outputs = [f"output{number}" for number in range(len(module.eval()(images)))]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "fixed.onnx"
            torch.onnx.export(
                module,
                (images,),
                str(path),
                input_names=["images"],
                output_names=outputs,
                dynamic_axes={"images": {0: "n", 2: "h", 3: "w"}},
                opset_version=17,
                dynamo=False,
            )
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )

    def forward(self, images: Tensor) -> list[Tensor]:
        """N x C x H x W tensors."""
        found = self.session.run(None, {"images": images.contiguous().numpy()})
        return [torch.from_numpy(output) for output in found]


def through_blocks(
    backbone: nn.Module, images: Tensor, start: int, end: int
) -> tuple[list[Tensor], Tensor]:
    """Those of a backbone's outputs that its blocks from `start` to before `end` make, and the last
    one's."""
    found = []
    for number in range(start, end):
        images = backbone.block_list[number](images)
        if number in backbone.out_indices:
            found.append(images)
    return found, images


class FirstBlocks(nn.Module):
    """The first `count` blocks of a backbone: a list of what `through_blocks` finds."""

    def __init__(self, backbone: nn.Module, count: int) -> None:
        super().__init__()
        self.backbone, self.count = backbone, count

    def forward(self, images: Tensor) -> list[Tensor]:
        found, last = through_blocks(self.backbone, images, 0, self.count)
        return [*found, last]
