"""The model that ships: how it was made and how good it is stands in README.md beside it."""

from pathlib import Path

#: DAMO-YOLO-Ns that finds phones.
BUNDLED = Path(__file__).parent / "damoyolo_ns_phone.onnx"
