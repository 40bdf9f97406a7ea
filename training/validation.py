"""What a network that is being trained finds on the samples that are validated on."""

import numpy as np
import torch
from torch import nn

from training.data import Data
from training.draw import layout
from training.images import read_rgb, to_input
from training.metrics import (
    Match,
    average_precisions,
    match,
    precision_and_recall,
    suppress,
    threshold_for,
)
from training.photographs import Sample

NMS_IOU = 0.65
#: False boxes allowed in an image without a phone, where validation chooses a threshold.
FALSE_BOXES = 0.05
#: Images at a time in validation.
VALIDATED_AT_ONCE = 64


class Validation:
    """The samples that are validated on, decoded once, at the size of the deployed network."""

    def __init__(self, data: Data, size: int, device: torch.device) -> None:
        self.size = size
        self.sets = {
            name: (samples, self.load(samples, device), [read_rgb(s.path).shape for s in samples])
            for name, samples in data.validated.items()
            if samples
        }

    def load(self, samples: list[Sample], device: torch.device) -> torch.Tensor:
        """N x 3 x size x size uint8."""
        inputs = [to_input(read_rgb(sample.path), self.size, self.size) for sample in samples]
        return torch.from_numpy(np.stack(inputs).astype(np.uint8)).to(device)

    @torch.inference_mode()
    def detect(self, network: nn.Module, name: str) -> list[list[Match]]:
        """What `network` finds, against what is there: of each class, of each image."""
        samples, images, shapes = self.sets[name]
        found = []
        for part in images.split(VALIDATED_AT_ONCE):
            batch = part.float().contiguous(memory_format=layout(part.device))
            scores, boxes = (output.cpu().numpy() for output in network(batch))
            found += list(zip(scores, boxes, strict=True))
        matches: list[list[Match]] = [[] for _ in range(found[0][0].shape[1])]
        for sample, shape, (scores, boxes) in zip(samples, shapes, found, strict=True):
            to_image = np.array([shape[1], shape[0]] * 2) / self.size
            for number, of_class in enumerate(matches):
                kept = suppress(scores[:, number], boxes * to_image, NMS_IOU)
                of_class.append(match(*kept, sample.of_class(number)))
        return matches

    def figures(self, network: nn.Module) -> dict[str, float]:
        """AP50 on each set, and recall on photographs.

        Recall is at the threshold that lets through `FALSE_BOXES` an image without a phone.
        """
        figures: dict[str, float] = {}
        for name in ("scenes", "photographs"):
            if name in self.sets:
                found = self.detect(network, name)
                there = [one for one in found if any(len(image.found) for image in one)]
                figures[name] = np.mean([average_precisions(one)[0] for one in there] or [0.0])
        if "photographs" in self.sets and "negatives" in self.sets:
            empty = self.detect(network, "negatives")
            alarms = [image for one in empty for image in one]
            threshold = threshold_for(alarms, FALSE_BOXES / len(empty))
            figures["threshold"] = threshold
            images = [image for one in found for image in one]
            figures["recall"] = precision_and_recall(images, threshold)[1]
        return {name: round(float(value), 4) for name, value in figures.items()}
