"""What a service logs of images: nothing of those that are well, one line of each other."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from tests.integration import pictures
from tests.servers import PATIENCE_S, Service, eventually

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}


def damaged() -> bytes:
    """A PNG with a whole header, which only decoding finds damaged."""
    data = bytearray(pictures.encoded(pictures.noise(320, 240), "PNG"))
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    return bytes(data)


def lines_of(service: Service, trace_id: str) -> list[str]:
    return [line for line in service.output.splitlines() if trace_id in line]


def line_of(service: Service, trace_id: str) -> str:
    (line,) = eventually(lambda: lines_of(service, trace_id), f"a line of {trace_id}")
    return str(line)


def logs_of(client: httpx.Client, trace_id: str) -> dict[str, list[dict[str, Any]]]:
    """By span: the lines that the API gives of one trace, once there are any."""

    def look() -> dict[str, list[dict[str, Any]]]:
        answer = client.get(f"/api/v1/traces/{trace_id}")
        spans = answer.json() if answer.status_code == 200 else []
        return {span["name"]: span["logs"] for span in spans if span["logs"]}

    return dict(eventually(look, f"log lines of trace {trace_id}"))


def test_steady_state_is_quiet(service: Service, client: httpx.Client) -> None:
    """Twenty images that are well leave no line; alerts may, where a machine is slow."""
    before = len(service.output.splitlines())
    traces = []
    for seed in range(20):
        answer = client.post(DETECT, content=pictures.jpeg(seed=seed), headers=JPEG)
        assert answer.status_code == 200
        traces.append(answer.headers["x-trace-id"])
    service.spans(traces[-1], 8)
    written = service.output.splitlines()[before:]
    ours = [line for line in written if " damoscope." in line]
    assert [line for line in ours if " damoscope.alerts: " not in line] == []


def test_refused_image(service: Service, client: httpx.Client) -> None:
    """An image that the frontend refuses leaves one line there, which its trace shows."""
    answer = client.post(DETECT, content=b"no image", headers=JPEG)
    assert answer.status_code == 400
    trace_id = answer.headers["x-trace-id"]
    line = line_of(service, trace_id)
    assert re.search(
        r" INFO damoscope\.frontend \[trace_id=\w+ span_id=\w+\]: invalid_image: ", line
    )
    (found,) = logs_of(client, trace_id).values()
    assert [(each["level"], each["logger"]) for each in found] == [("INFO", "damoscope.frontend")]
    assert found[0]["message"] == f"invalid_image: {answer.json()['detail']}"


def test_failed_image(service: Service, client: httpx.Client) -> None:
    """An image that fails in the worker leaves one line there, and the page shows it."""
    answer = client.post(DETECT, content=damaged(), headers={"content-type": "image/png"})
    assert answer.status_code == 400
    trace_id = answer.headers["x-trace-id"]
    line = line_of(service, trace_id)
    assert " INFO damoscope.worker [" in line
    assert answer.json()["detail"] in line
    found = logs_of(client, trace_id)
    assert list(found) == ["process detections"]
    page = client.get(f"/pages/traces/{trace_id}").text
    assert page.count('<div class="ds-log">') == 1
    assert "invalid_image: " in page.partition('<div class="ds-log">')[2]


@pytest.mark.timeout(2 * PATIENCE_S)
def test_json_lines(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With DAMOSCOPE_LOG_FORMAT=json every line of frontend and worker is an object."""
    home = tmp_path_factory.mktemp("json") / "home"
    with Service(home, DAMOSCOPE_LOG_FORMAT="json") as running, running.client() as client:
        running.wait_until_ready()
        answer = client.post(DETECT, content=b"no image", headers=JPEG)
        trace_id = answer.headers["x-trace-id"]
        line = json.loads(line_of(running, trace_id))
    assert line["message"].startswith("invalid_image: ")
    assert (line["level"], line["logger"]) == ("INFO", "damoscope.frontend")
    assert line["trace_id"] == trace_id
