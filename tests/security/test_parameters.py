"""Parameters: unknown labels, repeated values, and extremes of every number there is."""

from __future__ import annotations

import httpx
import pytest

from tests.security import images
from tests.servers import Service, eventually

DETECT = "/api/v1/detect"
RAW = {"content-type": "application/octet-stream"}
#: Query parameters of the operations that read.
READ = {
    "/api/v1/stats": ["window"],
    "/api/v1/stats/series": ["window", "step"],
    "/api/v1/traces": [
        "limit",
        "min_duration_ms",
        "max_duration_ms",
        "status",
        "outcome",
        "order",
        "window",
        "from",
        "to",
        "min_score",
        "max_score",
        "route",
        "cursor",
    ],
    "/api/v1/traces/compare": ["slowest", "window", "min_duration_ms"],
    "/api/v1/traces/histogram": ["window", "from", "outcome", "min_score"],
    "/api/v1/alerts": ["history"],
    "/api/v1/report": ["days", "format", "language", "timezone"],
}
EXTREMES = ["", " ", "inf", "-inf", "nan", "1e300", "-1e300", "1e-300", "0", "-1", "1", "9" * 18,
            "9" * 40, "9" * 5000, "0x10", "1_0", "٣", "\0", "%", "'; --", "../../etc/passwd",
            "Etc/../../etc/passwd", "null", "true", "[]", "a" * 3000]  # fmt: skip


def post(client: httpx.Client, params: list[tuple[str, str]]) -> httpx.Response:
    return client.post(DETECT, content=images.phone(), headers=RAW, params=params)


@pytest.mark.parametrize("given", ["phone", "PHONE", " Phone ", "phone,phone", "", ",", " , "])
def test_known_labels(client: httpx.Client, given: str) -> None:
    """A label counts whatever its case; an empty list means all."""
    answer = post(client, [("labels", given)])
    assert answer.status_code == 200, answer.text
    assert [found["label"] for found in answer.json()["detections"]] == ["phone"]


@pytest.mark.parametrize("path", [*READ, "/api/v1/stats/marks", f"/api/v1/traces/{'0' * 32}"])
def test_unknown_parameters(client: httpx.Client, path: str) -> None:
    """One that there is not is named and not passed over: it may be a slip of the pen."""
    answer = client.get(path, params={"windows": 60})
    assert answer.status_code == 422, answer.text
    assert "windows" in answer.json()["detail"]


@pytest.mark.parametrize("given", ["cat", "phone,cat", "phon", "\0", "a" * 1000])
def test_unknown_labels(client: httpx.Client, given: str) -> None:
    """A label that no model knows is refused with those that are known."""
    answer = post(client, [("labels", given)])
    assert answer.status_code == 422, answer.text
    assert "it knows phone" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("score_threshold", "0.1"), ("iou_threshold", "0.5"), ("max_detections", "5"),
     ("timeout", "30"), ("priority", "normal")],
)  # fmt: skip
def test_a_repeated_parameter(client: httpx.Client, name: str, value: str) -> None:
    """Of two values one would be lost: both are refused. It counts as an invalid request."""
    answer = post(client, [(name, value), (name, value)])
    assert answer.status_code == 422, answer.text
    assert f"{name}=" in answer.json()["detail"]
    assert "more than once" in answer.json()["detail"]
    assert (
        post(client, [(name, value), ("labels", "phone"), ("labels", "phone")]).status_code == 200
    )


@pytest.mark.parametrize("path", READ)
def test_a_repeated_parameter_of_what_is_read(client: httpx.Client, path: str) -> None:
    """So it is everywhere."""
    name = READ[path][0]
    answer = client.get(path, params=[(name, "10"), (name, "10")])
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    "name", ["score_threshold", "iou_threshold", "max_detections", "timeout", "priority", "labels",
             "other"])  # fmt: skip
def test_extremes_of_a_detection(client: httpx.Client, name: str) -> None:
    """Whatever a parameter says is taken or refused, and is never a fault of the service. A time
    too short for an image that is still reckoned ahead is refused as that."""
    taken = (200, 422, 503, 504) if name == "timeout" else (200, 422, 504)
    for value in EXTREMES:
        answer = post(client, [(name, value)])
        assert answer.status_code in taken, (name, value[:40], answer.text)
        if answer.status_code == 503:
            assert answer.json()["type"] == "urn:damoscope:overloaded"


@pytest.mark.parametrize("path", READ)
def test_extremes_of_what_is_read(client: httpx.Client, path: str) -> None:
    """So it is where figures, traces and reports are read, alone and together."""
    for name in READ[path]:
        for value in EXTREMES:
            answer = client.get(path, params={name: value})
            assert answer.status_code in (200, 422), (path, name, value[:40], answer.text[:300])
    for value in ("1", "1500", "2592000", "9" * 18):
        answer = client.get(path, params=dict.fromkeys(READ[path], value))
        assert answer.status_code in (200, 422), (path, value, answer.text[:300])


@pytest.mark.parametrize("trace", ["0" * 32, "f" * 32, "g" * 32, "F" * 32, "a", "%00"])
def test_odd_ids(client: httpx.Client, trace: str) -> None:
    """An id that is none is not found, or refused."""
    for path in (f"/api/v1/traces/{trace}", f"/api/v1/jobs/{trace}"):
        assert client.get(path).status_code in (404, 422)


def test_the_service_is_as_it_was(service: Service, client: httpx.Client) -> None:
    """After all of that it answers, and has logged no error of its own."""
    eventually(lambda: client.get("/readyz").status_code == 200, "the service to be ready")
    assert "Traceback" not in service.output
