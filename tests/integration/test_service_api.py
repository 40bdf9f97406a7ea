"""The HTTP API of a running service, as docs and OpenAPI promise it."""

from __future__ import annotations

import http.client
import json
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from pipeline.job import DetectionResult
from tests.integration import pictures
from tests.servers import Service, eventually

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}


def detect(client: httpx.Client, data: bytes, **params: Any) -> httpx.Response:
    return client.post(DETECT, content=data, headers=JPEG, params=params)


def found(client: httpx.Client, data: bytes, **params: Any) -> list[dict[str, Any]]:
    answer = detect(client, data, **params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["detections"])


def assert_problem(answer: httpx.Response, status: int, kind: str) -> None:
    """An RFC 9457 problem document of this kind, which names the trace of the request."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:damoscope:{kind}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert len(answer.headers["x-trace-id"]) == 32
    assert body["trace_id"] == answer.headers["x-trace-id"]


# -- results ------------------------------------------------------------------------------


def test_a_result(client: httpx.Client) -> None:
    """The result tells everything promised; boxes lie inside the image, best first."""
    data = pictures.phone(600, 400)
    answer = detect(client, data, score_threshold=0.01)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    result = DetectionResult.model_validate_json(answer.text)
    assert result.trace_id == answer.headers["x-trace-id"]
    assert result.status == "finished"
    assert result.model == "damoyolo-ns-phone"
    assert result.provider == "cpu"
    assert result.image.model_dump() == {
        "width": 600, "height": 400, "format": "JPEG", "bytes": len(data),
    }  # fmt: skip
    assert result.batch_size >= 1
    assert result.worker
    assert result.detections
    scores = [detection.score for detection in result.detections]
    assert scores == sorted(scores, reverse=True)
    assert all(0.01 <= score <= 1 for score in scores)
    for detection in result.detections:
        box = detection.box
        assert 0 <= box.x1 < box.x2 <= 600
        assert 0 <= box.y1 < box.y2 <= 400
        assert detection.label
    timings = result.timings_ms
    stages = (timings.upload, timings.queue_wait, timings.preprocess, timings.inference,
              timings.nms)  # fmt: skip
    assert all(value >= 0 for value in stages)
    assert timings.inference > 0
    assert timings.total >= sum(stages) - 1


def test_multipart_and_raw_are_one(client: httpx.Client) -> None:
    """The same image as multipart field and as raw body has the same detections."""
    data = pictures.phone()
    raw = found(client, data, score_threshold=0.01)
    form = client.post(
        DETECT, files={"note": b"x", "image": ("a.jpg", data, "image/jpeg")},
        params={"score_threshold": 0.01},
    )  # fmt: skip
    assert form.status_code == 200
    assert form.json()["detections"] == raw
    assert raw


def test_parameters_are_honoured(client: httpx.Client) -> None:
    """Thresholds, labels and the number of detections choose among what the model found."""
    data = pictures.phone()
    every = found(client, data, score_threshold=0.01, max_detections=500)
    assert len(every) > 2
    assert found(client, data, score_threshold=0.01, max_detections=2) == every[:2]
    middle = sum(detection["score"] for detection in every[:2]) / 2
    assert found(client, data, score_threshold=middle) == every[:1]
    assert found(client, data, score_threshold=1) == []
    label = every[0]["label"]
    asked = f" {label.upper()},"
    assert found(client, data, score_threshold=0.01, labels=asked, max_detections=500) \
        == every  # fmt: skip
    assert_problem(detect(client, data, labels="none"), 422, "invalid_parameter")
    loose = found(client, data, score_threshold=0.01, iou_threshold=1, max_detections=500)
    strict = found(client, data, score_threshold=0.01, iou_threshold=0, max_detections=500)
    assert len(strict) <= len(every) <= len(loose)
    assert len(strict) < len(loose)


@pytest.mark.parametrize("priority", ["high", "normal", "low"])
def test_priority(service: Service, client: httpx.Client, priority: str) -> None:
    """Each priority is a queue of its own, which the trace names."""
    answer = detect(client, pictures.jpeg(), priority=priority)
    assert answer.status_code == 200
    spans = service.spans(answer.headers["x-trace-id"], 8)
    name = {"high": "detections-high", "normal": "detections", "low": "detections-low"}[priority]
    queues = {span["attributes"].get("messaging.destination.name") for span in spans}
    assert queues == {None, name}


def test_respond_async(client: httpx.Client) -> None:
    """`Prefer: respond-async` answers at once; the job's address tells when it is done."""
    answer = client.post(
        DETECT, content=pictures.jpeg(200, 150), headers=JPEG | {"prefer": "respond-async"}
    )
    assert answer.status_code == 202
    job_id = answer.json()["job_id"]
    assert answer.json()["trace_id"] == answer.headers["x-trace-id"]
    assert answer.headers["location"] == f"/api/v1/jobs/{job_id}"

    def look() -> dict[str, Any] | None:
        state = client.get(answer.headers["location"])
        assert state.status_code == 200
        assert state.headers["x-trace-id"] == answer.headers["x-trace-id"]
        body: dict[str, Any] = state.json()
        assert body["status"] in ("queued", "started", "finished")
        return body if body["status"] == "finished" else None

    body = eventually(look, "the job to finish") or {}
    assert body["job_id"] == job_id
    assert body["error"] is None
    result = DetectionResult.model_validate(body["result"])
    assert (result.image.width, result.image.height) == (200, 150)


def test_fifty_at_once(client: httpx.Client) -> None:
    """Requests that run together each get the answer to their own image."""
    sizes = [(100 + 7 * i, 90 + 5 * i) for i in range(50)]

    def ask(size: tuple[int, int]) -> tuple[int, int]:
        answer = detect(client, pictures.jpeg(*size))
        assert answer.status_code == 200, answer.text
        image = answer.json()["image"]
        return image["width"], image["height"]

    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(ask, sizes)) == sizes


def test_keep_alive(service: Service) -> None:
    """One connection serves request after request, errors in between included."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    sockets = set()
    for data, status in (
        (pictures.jpeg(), 200),
        (b"junk", 400),
        (b"", 400),
        (pictures.jpeg(), 200),
    ):
        connection.request("POST", DETECT, data, JPEG)
        answer = connection.getresponse()
        assert answer.status == status
        json.loads(answer.read())
        sockets.add(id(connection.sock))
    assert len(sockets) == 1
    assert connection.sock is not None
    connection.close()


# -- images of every kind -----------------------------------------------------------------


def animated() -> bytes:
    frames = [pictures.noise(90, 60, seed) for seed in range(3)]
    return pictures.encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return pictures.encoded(pictures.noise(60, 90), "JPEG", exif=exif)


def sixteen_bit() -> bytes:
    grey = np.linspace(0, 65535, 90 * 60).reshape(60, 90).astype(np.uint16)
    return pictures.encoded(Image.fromarray(grey), "PNG")


KINDS = {
    "grey JPEG": lambda: pictures.encoded(pictures.noise(90, 60).convert("L"), "JPEG"),
    "CMYK JPEG": lambda: pictures.encoded(pictures.noise(90, 60).convert("CMYK"), "JPEG"),
    "palette PNG": lambda: pictures.encoded(pictures.noise(90, 60).convert("P"), "PNG"),
    "RGBA PNG": lambda: pictures.encoded(pictures.noise(90, 60).convert("RGBA"), "PNG"),
    "black and white PNG": lambda: pictures.encoded(pictures.noise(90, 60).convert("1"), "PNG"),
    "16-bit PNG": sixteen_bit,
    "WebP": lambda: pictures.encoded(pictures.noise(90, 60), "WEBP"),
    "BMP": lambda: pictures.encoded(pictures.noise(90, 60), "BMP"),
    "TIFF": lambda: pictures.encoded(pictures.noise(90, 60), "TIFF"),
    "animated GIF": animated,
    "EXIF-rotated JPEG": rotated,
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_work(client: httpx.Client, kind: str) -> None:
    """Every sensible kind of image is detected in, at the size that a person sees."""
    answer = client.post(DETECT, content=KINDS[kind](), headers={"content-type": "image/any"})
    assert answer.status_code == 200, answer.text
    image = answer.json()["image"]
    assert (image["width"], image["height"]) == (90, 60)


# -- errors -------------------------------------------------------------------------------


def bomb() -> bytes:
    """A small PNG that says it has 900 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def heavy() -> bytes:
    return pictures.jpeg() + bytes(20 * 2**20)


GOOD = pictures.jpeg()
BAD_IMAGES = {
    "empty": (b"", 400, "invalid_image"),
    "text": (b"hello, world", 400, "invalid_image"),
    "PDF": (b"%PDF-1.7\n1 0 obj", 400, "invalid_image"),
    "half a JPEG": (GOOD[: len(GOOD) // 2], 400, "invalid_image"),
    "half a PNG": (pictures.encoded(pictures.noise(90, 60), "PNG")[:600], 400, "invalid_image"),
    "random bytes": (np.random.default_rng(1).bytes(5000), 400, "invalid_image"),
    "PNG bomb": (bomb(), 413, "too_large"),
    "too many bytes": (heavy(), 413, "too_large"),
    "HEIC": (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", 415, "unsupported_format"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_bad_images(service: Service, client: httpx.Client, kind: str) -> None:
    """A bad image is answered with what is wrong, its trace is an error, others go on."""
    data, status, code = BAD_IMAGES[kind]
    answer = detect(client, data)
    assert_problem(answer, status, code)
    summary = service.summary(answer.headers["x-trace-id"])
    assert (summary["status"], summary["outcome"]) == ("error", "invalid")
    assert summary["error_type"] == code
    assert summary["error_message"] == answer.json()["detail"]
    assert detect(client, GOOD).status_code == 200


def test_damage_that_only_decoding_shows(service: Service, client: httpx.Client) -> None:
    """An image that is found broken by the worker is the client's error as well."""
    data = bytearray(pictures.encoded(pictures.noise(300, 200), "PNG"))
    start = data.index(b"IDAT") + 4
    data[start : start + 200] = bytes(200)
    answer = detect(client, bytes(data))
    assert_problem(answer, 400, "invalid_image")
    spans = service.spans(answer.headers["x-trace-id"], 6)
    assert {span["status"] for span in spans} == {"unset"}
    wrong = {span["name"] for span in spans if "damoscope.problem.code" in span["attributes"]}
    assert wrong == {"POST /api/v1/detect", "process detections", "preprocess"}
    recorded = [span["name"] for span in spans for event in span["events"]]
    assert recorded == ["preprocess"]


@pytest.mark.parametrize(
    "params",
    [
        {"score_threshold": "2"}, {"score_threshold": "-0.1"}, {"score_threshold": "high"},
        {"score_threshold": "nan"}, {"iou_threshold": "1.01"}, {"max_detections": "0"},
        {"max_detections": "501"}, {"max_detections": "1.5"}, {"timeout": "0"},
        {"timeout": "inf"}, {"priority": "urgent"}, {"scorethreshold": "0.5"},
    ],
    ids=str,
)  # fmt: skip
def test_parameters_out_of_range(
    service: Service, client: httpx.Client, params: dict[str, str]
) -> None:
    """A parameter that cannot be is refused by name; the trace says so."""
    answer = detect(client, GOOD, **params)
    assert_problem(answer, 422, "invalid_parameter")
    assert next(iter(params)) in answer.json()["detail"]
    summary = service.summary(answer.headers["x-trace-id"])
    assert (summary["status"], summary["error_type"]) == ("error", "invalid_parameter")


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"content-type": "text/plain"}, b"x", 415, "unsupported_format"),
        ({}, b"x", 415, "unsupported_format"),
        ({"content-type": "multipart/form-data"}, b"x", 422, "invalid_parameter"),
        ({"content-type": "multipart/form-data; boundary=b"}, b"junk", 400, "invalid_image"),
        (
            {"content-type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--b--\r\n',
            422, "invalid_parameter",
        ),
        (
            {"content-type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n\xff\xd8',
            400, "invalid_image",
        ),
    ],
    ids=["text", "no type", "no boundary", "no parts", "other field", "cut off"],
)  # fmt: skip
def test_bodies_that_hold_no_image(
    client: httpx.Client, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    """A body that is not an image in one of the two forms is refused with what to send."""
    assert_problem(client.post(DETECT, content=body, headers=headers), status, code)


def test_an_upload_that_stops(service: Service) -> None:
    """A client that goes away in the middle of its upload harms nobody."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.putrequest("POST", DETECT)
    connection.putheader("content-type", "image/jpeg")
    connection.putheader("content-length", "100000")
    connection.endheaders(GOOD[:500])
    connection.close()
    with service.client() as client:
        assert detect(client, GOOD).status_code == 200


def test_jobs_that_are_not(client: httpx.Client) -> None:
    """An unknown job is 404; an id that cannot be one is 422."""
    answer = client.get("/api/v1/jobs/" + "0" * 32)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:damoscope:not_found"
    assert client.get("/api/v1/jobs/none").status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", DETECT, 405), ("GET", "/api/v1/nothing", 404), ("GET", "/api/v1/traces/xyz", 422),
        ("GET", "/api/v1/traces/" + "0" * 32, 404), ("GET", "/api/v1/traces?limit=0", 422),
    ],
)  # fmt: skip
def test_other_errors(client: httpx.Client, method: str, path: str, status: int) -> None:
    """Whatever else is asked wrongly is answered with a problem document too."""
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


# -- the rest -----------------------------------------------------------------------------


def test_health(client: httpx.Client) -> None:
    """The process is up, and ready."""
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ready", "workers": 1}


def test_openapi(client: httpx.Client) -> None:
    """OpenAPI names every error of a detection, its body and its parameters."""
    operation = client.get("/openapi.json").json()["paths"][DETECT]["post"]
    assert set(operation["responses"]) >= {
        "200", "202", "400", "413", "415", "422", "429", "500", "503", "504",
    }  # fmt: skip
    for status in ("400", "413", "415", "422", "429", "503", "504"):
        assert list(operation["responses"][status]["content"]) == ["application/problem+json"]
    assert set(operation["requestBody"]["content"]) == {
        "multipart/form-data", "image/*", "application/json",
    }  # fmt: skip
    assert {parameter["name"] for parameter in operation["parameters"]} == {
        "score_threshold", "iou_threshold", "max_detections", "labels", "model", "tiles", "timeout",
        "priority", "prefer", "idempotency-key",
    }  # fmt: skip
    assert "/otlp/v1/traces" not in client.get("/openapi.json").json()["paths"]
    assert client.get("/docs").status_code == 200


def test_images_are_not_kept(service: Service, client: httpx.Client) -> None:
    """Once answered, an image is gone from Redis."""
    detect(client, GOOD)
    redis = service.redis()
    job_id = detect(client, GOOD).json()["job_id"]
    assert redis.get(f"damoscope:image:{job_id}") is None
    redis.close()
