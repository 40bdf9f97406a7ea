"""Pictures of a running service: kept after the answer, seen in the trace, deleted on demand."""

from __future__ import annotations

import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
from PIL import Image

from pipeline.queue.kept import MB, room_of
from tests.integration import pictures
from tests.integration.test_pictures_that_age import taken
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


def test_pictures_under_load(tmp_path: Path) -> None:
    """While images arrive from several callers, and `damoscope images purge` runs again and again:
    no answer fails, the pictures take no more than their limit, and whichever of them went is said
    to be gone; after the last purge there is none."""
    with Service(
        tmp_path / "home", pages=True, DAMOSCOPE_WORKERS="2", DAMOSCOPE_KEEP_IMAGES="full",
        DAMOSCOPE_KEEP_IMAGES_MB="1",
    ).wait_until_ready() as running, running.client() as client:  # fmt: skip
        image = pictures.phone(900, 700)
        # What the workers have in hand may be beside what is counted, for a moment.
        most = MB + 2 * room_of(len(image))

        done = Event()

        def send() -> dict[str, str]:
            answer = client.post(
                DETECT, content=image, headers=JPEG, params={"score_threshold": 0.01}
            )
            assert answer.status_code == 200, answer.text
            assert taken(running.redis()) <= most
            return dict(answer.json())

        def call() -> list[dict[str, str]]:
            answers = [send()]
            while not done.is_set():
                answers.append(send())
            return answers

        with ThreadPoolExecutor(4) as callers:
            called = [callers.submit(call) for _ in range(4)]
            try:
                purged = [_purge(running) for _ in range(3)]
            finally:
                done.set()
        answers = [answer for each in called for answer in each.result()]
        assert any(purged)
        answers += [send() for _ in range(2 * MB // len(image))]
        last = answers[-1]
        path = "/api/v1/traces/{trace_id}/images/{job_id}"
        eventually(lambda: client.get(path.format(**last)).status_code == 200, "the last picture")
        assert MB / 2 < taken(running.redis()) <= MB
        gone = answers[0]
        assert client.get(path.format(**gone)).status_code == 404
        running.spans(gone["trace_id"], 8)
        assert "The picture is not kept." in client.get(f"/pages/traces/{gone['trace_id']}").text
        assert _purge(running)
        # A worker keeps a picture after its answer: the last of the other one may come late.
        eventually(lambda: _purge(running) == 0, "none that is still on its way")
        assert taken(running.redis()) == 0
        running.spans(last["trace_id"], 8)
        assert "The picture is not kept." in client.get(f"/pages/traces/{last['trace_id']}").text


def _purge(running: Service) -> int:
    """How many pictures it deleted."""
    home = {"DAMOSCOPE_HOME": str(running.home)}
    said = damoscope("images", "purge", "--all", folder=running.home, **home)
    found = re.search(r"(\d+) pictures? deleted", said.stdout)
    assert said.returncode == 0, said.stderr
    assert found, said.stdout
    return int(found[1])
