"""Reads the files of an ONNX model, and no others.

A model is a file from elsewhere, and names further files for its weights: it could name any file of
the host, whose bytes would then be in the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto
from onnx.external_data_helper import (
    ExternalDataInfo,
    load_external_data_for_model,
    uses_external_data,
)

from pipeline.errors import ModelError

#: Of a model with all its weights: what fits into one message of protobuf.
BYTES_MAX = 2**31 - 1


def read(path: Path) -> onnx.ModelProto:
    """The model with its weights. Raises ModelError for files that it must not have, and what onnx
    raises for one that it cannot read."""
    size = path.stat().st_size
    if size > BYTES_MAX:
        raise ModelError(f"it has {size:,} bytes, more than the {BYTES_MAX:,} that ONNX allows")
    model = onnx.load(str(path), load_external_data=False)
    folder = path.resolve().parent
    files = {_weights(tensor, folder) for tensor in _tensors(model) if uses_external_data(tensor)}
    size += sum(file.stat().st_size for file in files)
    if size > BYTES_MAX:
        raise ModelError(f"with its weights it has {size:,} bytes, more than {BYTES_MAX:,}")
    load_external_data_for_model(model, str(folder))
    return model


def _weights(tensor: TensorProto, folder: Path) -> Path:
    """The file that a tensor's values are in. Raises ModelError for one outside of the folder."""
    location = str(ExternalDataInfo(tensor).location)
    file = (folder / location).resolve()
    if Path(location).is_absolute() or not file.is_relative_to(folder):
        raise ModelError(
            f"its weights are to come from {location!r}, outside of the model's own folder; put "
            "them beside the model"
        )
    if not file.is_file():
        raise ModelError(f"its weights are to come from {location!r}, which is no file beside it")
    return file


def _tensors(message: Any) -> Iterator[TensorProto]:
    """All tensors in a model, those of nodes and functions too."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for each in value if hasattr(value, "__len__") else (value,):
            if isinstance(each, TensorProto):
                yield each
            else:
                yield from _tensors(each)
