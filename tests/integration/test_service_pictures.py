"""Pictures of a running service: kept after the answer, seen in the trace, deleted on demand."""

from __future__ import annotations

import io

import httpx
from PIL import Image

from tests.integration import pictures
from tests.servers import Service, damoscope, eventually

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}


def test_a_picture_from_its_answer_to_its_end(service: Service, client: httpx.Client) -> None:
    """`damoscope up` keeps a small one; the trace's page shows it, with its boxes and the way to
    the result; `damoscope images purge` deletes that of one trace and no other."""
    answers = [
        client.post(DETECT, content=pictures.phone(900, 600), headers=JPEG,
                    params={"score_threshold": 0.01}).json()
        for _ in range(2)
    ]  # fmt: skip
    first, second = (f"/api/v1/traces/{a['trace_id']}/images/{a['job_id']}" for a in answers)
    eventually(lambda: client.get(first).status_code == 200, "the first picture")
    eventually(lambda: client.get(second).status_code == 200, "the second picture")
    answer = client.get(first)
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (320, 213)

    trace_id, job_id = answers[0]["trace_id"], answers[0]["job_id"]
    service.spans(trace_id, 8)
    page = client.get(f"/pages/traces/{trace_id}").text
    assert f'src="{first.lstrip("/")}"' in page
    assert page.count("data-box=") == 2 * min(50, len(answers[0]["detections"]))
    assert f'href="./?result={job_id}"' in page

    said = damoscope(
        "images",
        "purge",
        "--trace",
        trace_id,
        folder=service.home,
        DAMOSCOPE_HOME=str(service.home),
    )
    assert said.returncode == 0, said.stderr
    assert "1 picture deleted." in said.stdout
    assert client.get(first).status_code == 404
    assert client.get(second).status_code == 200
    page = client.get(f"/pages/traces/{trace_id}").text
    assert "<img" not in page
    assert "data-box=" in page


def test_a_caller_who_leaves_no_trace(service: Service, client: httpx.Client) -> None:
    """leaves no picture."""
    headers = JPEG | {"traceparent": f"00-{'9f' * 16}-{'8e' * 8}-00"}
    answer = client.post(DETECT, content=pictures.jpeg(), headers=headers).json()
    seen = client.post(DETECT, content=pictures.jpeg(), headers=JPEG).json()
    path = "/api/v1/traces/{trace_id}/images/{job_id}"
    eventually(lambda: client.get(path.format(**seen)).status_code == 200, "the next one's")
    assert client.get(path.format(**answer)).status_code == 404
