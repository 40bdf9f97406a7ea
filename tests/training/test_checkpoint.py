"""training.checkpoint: what a checkpoint is, told from names and shapes, without PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training.checkpoint import SCORES, NotACheckpoint, find, is_deployed, weights_in

#: Two networks whose heads take as many channels: what else there is tells them apart.
NETWORKS: dict[str, dict[str, tuple[int, ...]]] = {
    "s": {
        "backbone.conv.weight": (32, 12, 3, 3),
        "backbone.bn.num_batches_tracked": (),
        "head.integral.project": (17,),
        SCORES: (1, 128, 3, 3),
        "head.gfl_cls.0.bias": (1,),
    },
    "m": {
        "backbone.conv.weight": (48, 12, 3, 3),
        "backbone.other.weight": (48,),
        SCORES: (1, 128, 3, 3),
        "head.gfl_cls.0.bias": (1,),
    },
}


def tensors(size: str, scores: int) -> dict[str, Any]:
    """A state dict of that network, with so many scores."""
    made: dict[str, Any] = {}
    for name, shape in NETWORKS[size].items():
        first = (scores, *shape[1:]) if "gfl_cls" in name else shape
        made[name] = np.zeros(first, np.float32)
    return made


def shapes(weights: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in weights.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda weights: weights, id="bare"),
        pytest.param(
            lambda weights: {"model": weights, "optimizer": {}, "epoch": 3}, id="upstream"
        ),
        pytest.param(lambda weights: {"weights": weights, "training": {}, "state": {}}, id="ours"),
        pytest.param(lambda weights: {"state_dict": weights}, id="state_dict"),
        pytest.param(lambda weights: {"ema": {"module": weights}, "model": None}, id="average"),
        pytest.param(
            lambda weights: {"model": {f"module.{name}": each for name, each in weights.items()}},
            id="several GPUs",
        ),
    ],
)
def test_where_the_weights_are(wrap: Any) -> None:
    """In the containers that trainers write, under the names that upstream gives them."""
    weights = tensors("s", 2)
    found = weights_in(wrap(weights))
    assert found.keys() == weights.keys()
    assert found[SCORES].shape == (2, 128, 3, 3)


def test_the_average_is_taken_first() -> None:
    """Trainers evaluate and publish the averaged weights."""
    content = {"model": tensors("s", 2), "ema": tensors("s", 5)}
    assert weights_in(content)[SCORES].shape[0] == 5


@pytest.mark.parametrize(
    "content",
    [{}, [], None, {"model": {}}, {"model": {"fc.weight": np.zeros(3)}}, {"epoch": 3},
     {"model": {"model": {"model": {"model": {"model": {"model": {}}}}}}}],
)  # fmt: skip
def test_what_holds_no_weights(content: Any) -> None:
    """It is said which tensor was looked for."""
    with pytest.raises(NotACheckpoint, match=f"no tensor {SCORES}"):
        weights_in(content)


@pytest.mark.parametrize("size", ["s", "m"])
@pytest.mark.parametrize("scores", [1, 2, 81])
def test_size_and_scores(size: str, scores: int) -> None:
    """Found from the shapes alone."""
    found = find(shapes(tensors(size, scores)), NETWORKS)
    assert (found.size, found.scores, found.unused) == (size, scores, ())


def test_what_does_not_matter() -> None:
    """Buffers that nothing was learnt in may be missing; more than the network has may be there."""
    weights = tensors("s", 2)
    del weights["backbone.bn.num_batches_tracked"], weights["head.integral.project"]
    weights["distillation.weight"] = np.zeros(3)
    found = find(shapes(weights), NETWORKS)
    assert (found.size, found.unused) == ("s", ("distillation.weight",))


def test_another_structure() -> None:
    """What differs from the nearest network is named."""
    weights = tensors("m", 2)
    weights["backbone.conv.weight"] = np.zeros((50, 12, 3, 3))
    del weights["backbone.other.weight"]
    with pytest.raises(NotACheckpoint) as refused:
        find(shapes(weights), {"m": NETWORKS["m"]})
    assert str(refused.value) == (
        "its tensors are of none of m; nearest is m, where 2 differ: backbone.conv.weight is "
        "50 x 12 x 3 x 3, not 48 x 12 x 3 x 3; backbone.other.weight is missing"
    )


def test_deployed() -> None:
    """Upstream makes one convolution of parallel ones before it exports."""
    assert is_deployed({"neck.merge_3.conv2.rbr_reparam.weight": 0})
    assert not is_deployed(tensors("s", 1))
