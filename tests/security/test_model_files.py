"""A model comes from elsewhere: it gets to read its own folder, and no other file of the host."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto
from onnx.external_data_helper import convert_model_to_external_data, set_external_data

from pipeline.errors import ModelError
from tests.paths import ROOT
from tests.servers import damoscope, free_port
from worker.model.files import BYTES_MAX
from worker.model.loading import load

BUNDLED = ROOT / "models" / "damoyolo_ns_phone.onnx"


def model_with_weights_in(location: str, folder: Path) -> Path:
    """The bundled model, whose first weights are to be read from `location`."""
    model = onnx.load(str(BUNDLED))
    (tensor, *_) = model.graph.initializer
    set_external_data(tensor, location, offset=0, length=len(tensor.raw_data))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_beside_the_model(tmp_path: Path) -> None:
    """As large exports have them; a model that is a link has its weights where it leads."""
    folder = tmp_path / "model"
    folder.mkdir()
    model = onnx.load(str(BUNDLED))
    convert_model_to_external_data(model, location="weights/model.data", size_threshold=0)
    (folder / "weights").mkdir()
    onnx.save(model, str(folder / "model.onnx"))
    assert load(folder / "model.onnx").height == load(BUNDLED).height
    (tmp_path / "link.onnx").symlink_to(folder / "model.onnx")
    assert load(tmp_path / "link.onnx").height


@pytest.mark.parametrize(
    "location",
    [
        "/etc/hostname",
        "../outside",
        "sub/../../outside",
        "link",
        "folder/outside",
        "/proc/self/mem",
    ],
)
def test_weights_from_elsewhere(tmp_path: Path, location: str) -> None:
    """Absolute, by `..`, and by links to a file and to a folder."""
    (tmp_path / "outside").write_bytes(b"secret" * 100_000)
    folder = tmp_path / "model"
    path = model_with_weights_in(location, folder)
    (folder / "sub").mkdir()
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "folder").symlink_to(tmp_path)
    with pytest.raises(ModelError, match=r"outside of the model's own folder.*beside the model"):
        load(path)


def test_weights_that_are_no_file(tmp_path: Path) -> None:
    """A pipe would be waited for, a folder and nothing cannot be read."""
    path = model_with_weights_in("weights", tmp_path / "model")
    with pytest.raises(ModelError, match="no file beside it"):
        load(path)
    os.mkfifo(path.parent / "weights")
    with pytest.raises(ModelError, match="no file beside it"):
        load(path)


def test_weights_of_a_node(tmp_path: Path) -> None:
    """Tensors are also in attributes of nodes."""
    model = onnx.load(str(BUNDLED))
    tensor = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1], raw_data=b"1234")
    set_external_data(tensor, "/etc/hostname")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["hidden"], value=tensor))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="outside of the model's own folder"):
        load(path)


def test_models_that_are_no_file(tmp_path: Path) -> None:
    """A pipe and a device are not read, which would never end; nor what is too large for ONNX."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "device", "."):
        with pytest.raises(ModelError, match="no file, but a folder, pipe or device"):
            load(tmp_path / name)
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(BYTES_MAX + 1)  # without a byte on the disk
    with pytest.raises(ModelError, match="more than the"):
        load(tmp_path / "huge")


def test_the_start_says_so(tmp_path: Path) -> None:
    """`damoscope up` ends with the reason, and leaves nothing running."""
    path = model_with_weights_in("/etc/hostname", tmp_path / "model")
    said = damoscope(
        "up", folder=tmp_path, DAMOSCOPE_MODEL=str(path), DAMOSCOPE_PORT=str(free_port())
    )
    assert said.returncode == 2
    assert "'/etc/hostname', outside of the model's own folder" in said.stderr
    assert "Traceback" not in said.stderr
