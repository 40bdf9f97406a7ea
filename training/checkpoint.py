"""What a checkpoint is, told from the names and shapes of its tensors.

Nothing here needs PyTorch: a tensor is whatever has a shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]

#: Where containers keep the weights, the averaged ones first.
WEIGHTS = ("weights", "ema", "model_ema", "model", "state_dict", "module")
#: What wrappers put before each name.
PREFIXES = ("module.", "model.", "_orig_mod.")
#: Buffers that hold nothing that was learnt; some savers leave them out.
UNLEARNT = ("num_batches_tracked", "integral.project")
#: The layer whose outputs are the scores of a level: as many as there are classes, or one more.
SCORES = "head.gfl_cls.0.weight"
#: Of tensors that do not fit, how many are named.
NAMED = 3


class NotACheckpoint(Exception):
    """It has no weights of a DAMO-YOLO that is known here; the message says why."""


@dataclass(frozen=True)
class Found:
    """A checkpoint that fits a network."""

    #: ns, nm, nl, t, s, m or l.
    size: str
    #: Scores that the head gives: classes, and one more in older checkpoints.
    scores: int
    #: Names in the checkpoint that the network has not.
    unused: tuple[str, ...]


def weights_in(content: object, depth: int = 0) -> dict[str, Any]:
    """The state dict in what was loaded: bare, or where upstream, ModelScope, libreyolo and this
    project put it. Raises NotACheckpoint."""
    if isinstance(content, Mapping) and depth < 4:
        tensors = {str(name): value for name, value in content.items() if hasattr(value, "shape")}
        if any(name.endswith(SCORES) for name in tensors):
            return {_bare(name, tensors): value for name, value in tensors.items()}
        for key in WEIGHTS:
            if isinstance(content.get(key), Mapping):
                try:
                    return weights_in(content[key], depth + 1)
                except NotACheckpoint:
                    continue
    raise NotACheckpoint(
        f"it has no tensor {SCORES}, which the head of every DAMO-YOLO has: it is another "
        "network's, or holds something else than weights"
    )


def find(shapes: Mapping[str, Shape], networks: Mapping[str, Mapping[str, Shape]]) -> Found:
    """Which of the networks, by name, these tensors are of, whatever its number of classes.

    Raises NotACheckpoint that names what does not fit the one that is nearest.
    """
    nearest: tuple[int, str, list[str]] | None = None
    for size, wanted in networks.items():
        wrong = [_difference(name, wanted[name], shapes) for name in wanted]
        problems = [each for each in wrong if each]
        if not problems:
            unused = tuple(name for name in shapes if name not in wanted)
            return Found(size, shapes[SCORES][0], unused)
        if nearest is None or len(problems) < nearest[0]:
            nearest = len(problems), size, problems
    assert nearest
    count, size, problems = nearest
    raise NotACheckpoint(
        f"its tensors are of none of {', '.join(networks)}; nearest is {size}, where {count} "
        f"differ: {'; '.join(problems[:NAMED])}{'; ...' if count > NAMED else ''}"
    )


def is_deployed(names: Mapping[str, Any]) -> bool:
    """Whether its parallel convolutions were made one already, as upstream does to deploy."""
    return any(".rbr_reparam." in name for name in names)


def _difference(name: str, wanted: Shape, shapes: Mapping[str, Shape]) -> str:
    """What is wrong with the tensor of that name; empty when nothing is."""
    found = shapes.get(name)
    if found is None:
        return "" if name.endswith(UNLEARNT) else f"{name} is missing"
    fits = found[1:] == wanted[1:] if "head.gfl_cls." in name else found == wanted
    return "" if fits else f"{name} is {_show(found)}, not {_show(wanted)}"


def _bare(name: str, names: Mapping[str, Any]) -> str:
    """The name without what a wrapper put before all of them."""
    for prefix in PREFIXES:
        if all(each.startswith(prefix) for each in names):
            return name.removeprefix(prefix)
    return name


def _show(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "a number"
