"""Learning from a teacher: the student's features shall tell what the teacher's say."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.draw import layout
from training.fixed import Fixed
from training.teacher import CLASSES, Teacher

#: Channels of what the student's backbone makes at strides 8, 16 and 32, and its neck as well.
STUDENT_CHANNELS = (40, 80, 160)
CLASS_WEIGHT = 0.2


class View(nn.Module):
    """What a teacher sees: its backbone's stages, its neck's features, its classes."""

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, images: Tensor) -> list[Tensor]:
        """Three tensors each, at strides 8, 16 and 32, of N x 3 x H x W images."""
        found = self.teacher(images)
        classes = self.teacher.classes(found)[: len(STUDENT_CHANNELS)]
        return [*self.teacher.stages(found), *self.teacher.features(found), *classes]


class Distillation(nn.Module):
    """The teacher, and layers that read its view from the student's stages and features."""

    def __init__(self, param: Path, device: torch.device) -> None:
        super().__init__()
        view = View(Teacher(param)).eval()
        channels = [int(one.shape[1]) for one in view(torch.zeros(1, 3, 64, 64))]
        levels = len(STUDENT_CHANNELS)
        stages, features = channels[:levels], channels[levels : 2 * levels]
        self.view = Fixed(view) if device.type == "cpu" else view.to(device)
        self.readers = nn.ModuleList(
            nn.Conv2d(own, wanted, 1)
            for own, wanted in zip(
                STUDENT_CHANNELS * 2, stages + [count + CLASSES for count in features], strict=True
            )
        )
        for reader in self.readers[levels:]:
            # The teacher calls nearly everything background, and so should a reader at first.
            nn.init.constant_(reader.bias[-CLASSES:], -5.0)
        self.readers.to(device, memory_format=layout(device))

    def forward(self, images: Tensor, own: list[Tensor]) -> Tensor:
        """How far the student is from the teacher's view of `images`, a scalar.

        `own` are its backbone's three stages and its neck's three features. The teacher's are
        standardised, channel by channel, and its classes are all 80 of COCO's: people, hands'
        neighbours such as remotes and books, and phones.
        """
        with torch.no_grad():
            seen = self.view(images)
        levels = len(STUDENT_CHANNELS)
        wanted, classes = seen[: 2 * levels], seen[2 * levels :]
        far = torch.zeros((), device=images.device)
        for number, (target, student) in enumerate(zip(wanted, own, strict=True)):
            read = self.readers[number](student).float()
            channels = target.shape[1]
            standard = functional.batch_norm(target.float(), None, None, training=True)
            far = far + functional.mse_loss(read[:, :channels], standard)
            if number >= levels:
                entropy = functional.binary_cross_entropy_with_logits(
                    read[:, channels:], classes[number - levels].float(), reduction="none"
                )
                far = far + CLASS_WEIGHT * entropy.sum(dim=1).mean()
        return far / len(own)
