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
#: How files of PyTorch begin: a zip, or in older ones a pickle.
CHECKPOINT = (b"PK\x03\x04", b"\x80\x02")


def read(path: Path) -> onnx.ModelProto:
    """The model with its weights. Raises ModelError for files that it must not have, and what onnx
    raises for one that it cannot read."""
    size = path.stat().st_size
    if size > BYTES_MAX:
        raise ModelError(f"it has {size:,} bytes, more than the {BYTES_MAX:,} that ONNX allows")
    _check_kind(path)
    model = onnx.load(str(path), load_external_data=False)
    folder = path.resolve().parent
    files = {_weights(tensor, folder) for tensor in _tensors(model) if uses_external_data(tensor)}
    size += sum(file.stat().st_size for file in files)
    if size > BYTES_MAX:
        raise ModelError(f"with its weights it has {size:,} bytes, more than {BYTES_MAX:,}")
    load_external_data_for_model(model, str(folder))
    return model


def is_checkpoint(path: Path) -> bool:
    """Whether a file begins as PyTorch's do. What cannot be read is none, nor is a pipe."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(4).startswith(CHECKPOINT)
    except OSError:
        return False


def _check_kind(path: Path) -> None:
    """Raises ModelError for what is known not to be ONNX by how it begins."""
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"version https://git-lfs"):
        raise ModelError(
            "not a model, but a Git LFS pointer to one: `git lfs pull` in its repository fetches "
            "the file itself, as does the site's download button"
        )
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise ModelError(
            "not a model, but a web page, as downloads bring that lead to a page about the file or "
            "to a login; download the raw file"
        )
    if start.startswith(CHECKPOINT):
        raise ModelError(
            "not an ONNX model, but a PyTorch checkpoint by its looks; make a model of it first: "
            f"damoscope model import {path}"
        )


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
