"""The plain work of one image, the same in the bare loops and in every peer.

It imports nothing but numpy, OpenCV and ONNX Runtime, so that each peer can have it in an
environment of its own.
"""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort

#: Only so many of the best-scored candidates enter NMS.
CANDIDATES_MAX = 300
#: Where the model names none.
SCORE_THRESHOLD, IOU_THRESHOLD = 0.4, 0.65


class Vision:
    """A loaded DAMO-YOLO. `detect` may be called from several threads."""

    def __init__(self, model: str, threads: int = 1) -> None:
        """`model` is an ONNX file; `threads` is how many one inference may use."""
        cv2.setNumThreads(threads)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        source = self._session.get_inputs()[0]
        self._input = source.name
        self._height, self._width = source.shape[2], source.shape[3]
        meta = self._session.get_modelmeta().custom_metadata_map
        self._labels: list[str] = json.loads(meta.get("damoscope.labels", "[]"))
        self._score = float(meta.get("damoscope.score_threshold", SCORE_THRESHOLD))
        self._iou = float(meta.get("damoscope.iou_threshold", IOU_THRESHOLD))
        self.infer(np.zeros((1, 3, self._height, self._width), np.float32))

    def answer(self, data: bytes) -> bytes:
        """Encoded image to the JSON that a client gets."""
        return json.dumps({"detections": self.detect(data)}).encode()

    def detect(self, data: bytes) -> list[dict[str, Any]]:
        """Encoded image to detections, best first, boxes in its pixels."""
        planes, width, height = self.prepare(data)
        return self.choose(*self.infer(planes), width, height)

    def prepare(self, data: bytes) -> tuple[Any, int, int]:
        """float32 1 x 3 x H x W, RGB 0..255, stretched; and the image's width and height."""
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            raise ValueError("not an image")
        image = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        height, width = image.shape[:2]
        image = cv2.resize(image, (self._width, self._height), interpolation=cv2.INTER_LINEAR)
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)[np.newaxis], dtype=np.float32)
        return planes, width, height

    def infer(self, planes: Any) -> tuple[Any, Any]:
        """Scores A x C and boxes A x 4; exports differ in order, the last axis tells."""
        first, second = self._session.run(None, {self._input: planes})
        scores, boxes = (second, first) if first.shape[-1] == 4 else (first, second)
        return scores[0], boxes[0]

    def choose(self, scores: Any, boxes: Any, width: int, height: int) -> list[dict[str, Any]]:
        """Score threshold, the best 300, class-aware NMS, boxes in pixels of the image."""
        rows, classes = np.nonzero(scores > self._score)
        values = scores[rows, classes]
        order = np.argsort(-values, kind="stable")[:CANDIDATES_MAX]
        rows, classes, values = rows[order], classes[order], values[order]
        chosen = boxes[rows]
        corners = np.concatenate([chosen[:, :2], chosen[:, 2:] - chosen[:, :2]], axis=1)
        kept = cv2.dnn.NMSBoxesBatched(
            corners.tolist(), values.tolist(), classes.tolist(), 0.0, self._iou
        )
        scale = np.array([width / self._width, height / self._height] * 2)
        scaled = np.clip(chosen * scale, 0, [width, height] * 2).round(2).tolist()
        return [
            {
                "label": self._label(int(classes[index])),
                "score": round(float(values[index]), 4),
                "box": dict(zip(("x1", "y1", "x2", "y2"), scaled[index], strict=True)),
            }
            for index in kept
        ]

    def _label(self, index: int) -> str:
        return self._labels[index] if index < len(self._labels) else str(index)
