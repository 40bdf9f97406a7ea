"""Learning from a teacher: the student's features shall tell what the teacher's say."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.teacher import CLASSES, Teacher

#: Channels of the student's neck, and of the teacher's.
STUDENT_CHANNELS, TEACHER_CHANNELS = (40, 80, 160), 128
CLASS_WEIGHT = 0.02


class Distillation(nn.Module):
    """The teacher, and one layer a level that reads its view from the student's features."""

    def __init__(self, param: Path) -> None:
        super().__init__()
        self.teacher = Teacher(param).eval()
        self.readers = nn.ModuleList(
            nn.Conv2d(channels, TEACHER_CHANNELS + CLASSES, 1) for channels in STUDENT_CHANNELS
        )
        for reader in self.readers:
            # The teacher calls nearly everything background, and so should a reader at first.
            nn.init.constant_(reader.bias[TEACHER_CHANNELS:], -5.0)

    def forward(self, images: Tensor, features: list[Tensor]) -> Tensor:
        """How far the student's `features` are from the teacher's view of `images`, a scalar.

        The teacher's features are standardised, channel by channel, and its classes are all 80 of
        COCO's: people, hands' neighbours such as remotes and books, and phones.
        """
        seen = self.teacher(images)
        classes = self.teacher.classes(seen)
        loss = torch.zeros((), device=images.device)
        for level, target in enumerate(self.teacher.features(seen)):
            read = self.readers[level](features[level]).float()
            wanted = functional.batch_norm(target.float(), None, None, training=True)
            loss = loss + functional.mse_loss(read[:, :TEACHER_CHANNELS], wanted)
            entropy = functional.binary_cross_entropy_with_logits(
                read[:, TEACHER_CHANNELS:], classes[level].float(), reduction="none"
            )
            loss = loss + CLASS_WEIGHT * entropy.sum(dim=1).mean()
        return loss / len(self.readers)
