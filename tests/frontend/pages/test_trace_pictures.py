"""frontend.pages.trace_pictures, trace_known, traces: what a trace shows beside its spans."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from frontend.pages import trace_pictures
from frontend.pages.i18n import EN
from frontend.pages.trace_pictures import TracedBox, TracedImage
from monitoring.stores.contract import Span
from monitoring.stores.selection import FILE_NAME
from pipeline.queue.kept import kept_key
from tests.frontend.application import Application, application
from tests.monitoring import traffic
from tests.servers import RedisProcess

TRACE, JOB = "a1" * 16, "b2" * 16
BOXES: dict[str, Any] = {
    "damoscope.boxes.labels": ["phone", "person"],
    "damoscope.boxes.scores": [0.912, 0.5],
    "damoscope.boxes.corners": [10, 20, 110, 220, 0, 0, 400, 300],
}


def span(name: str, id: str, parent: str | None, **attributes: Any) -> Span:
    given = {key.replace("__", "."): value for key, value in attributes.items()}
    return Span(TRACE, id, parent, name, "INTERNAL", "damoscope-worker", 0, 1.0, attributes=given)


def spans(boxes: dict[str, Any] = BOXES, job: str = JOB, of: str = "") -> list[Span]:
    """Those of one image, as far as its picture goes."""
    return [
        span("detect (page)", f"{of}s", None),
        span("upload", f"{of}u", f"{of}s", damoscope__image__width=400,
             damoscope__image__height=300),
        span("enqueue detections", f"{of}e", f"{of}s"),
        span("process detections", f"{of}p", f"{of}e", messaging__message__id=job,
             damoscope__detections=2),
        span("nms", f"{of}n", f"{of}p", **{name.replace(".", "__"): each
                                          for name, each in boxes.items()}),
    ]  # fmt: skip


def test_an_image_of_a_trace() -> None:
    """Its size, and its boxes with their labels and scores, are those that its spans name."""
    (image,) = trace_pictures.of_spans(spans())
    assert image == TracedImage(
        TRACE, JOB, 400, 300, 2,
        (TracedBox("phone", 0.912, (10, 20, 110, 220)), TracedBox("person", 0.5, (0, 0, 400, 300))),
    )  # fmt: skip
    html = trace_pictures.view([image], {JOB}, {JOB}, EN)
    assert f'src="api/v1/traces/{TRACE}/images/{JOB}"' in html
    assert 'title="phone 0.91"' in html
    assert "left:2.500%;top:6.667%;width:25.000%;height:66.667%" in html
    assert f'href="./?result={JOB}"' in html
    assert f'href="api/v1/jobs/{JOB}"' in html


def test_a_picture_that_may_still_come() -> None:
    """Of a trace that has just ended the page is told to look again, until all pictures are
    there."""
    images = trace_pictures.of_spans(spans())
    awaits = [
        "data-awaited" in trace_pictures.view(images, kept, set(), EN, fresh=fresh)
        for kept, fresh in ((set[str](), True), ({JOB}, True), (set[str](), False))
    ]
    assert awaits == [True, False, False]
    nothing = trace_pictures.of_spans(spans({}))
    assert "data-awaited" in trace_pictures.view(nothing, set(), set(), EN, fresh=True)
    assert trace_pictures.view([], set(), set(), EN, fresh=True) == ""


def test_several_images_of_a_trace() -> None:
    """Each has its own size and boxes; so many are shown and no more; a second try of one is
    the one that is shown."""
    jobs = [f"{number:032x}" for number in range(trace_pictures.MOST + 3)]
    every = [each for job in jobs for each in spans(job=job, of=job)]
    found = trace_pictures.of_spans(every)
    assert [image.job_id for image in found] == jobs[: trace_pictures.MOST]
    assert all(len(image.boxes) == 2 and image.width == 400 for image in found)
    again = [span("process detections", "p2", "e", messaging__message__id=JOB,
                  damoscope__detections=0)]  # fmt: skip
    assert [image.found for image in trace_pictures.of_spans(spans() + again)] == [0]


@pytest.mark.parametrize(
    "boxes",
    [
        {},
        BOXES | {"damoscope.boxes.labels": "phone"},
        BOXES | {"damoscope.boxes.scores": [float("inf"), "0.5"]},
        BOXES | {"damoscope.boxes.corners": [1, 2, 3]},
        BOXES | {"damoscope.boxes.corners": [None] * 8},
        BOXES | {"damoscope.boxes.corners": [-1e300, 0, 1, 1, True, 0, 1, 1]},
        BOXES | {"damoscope.boxes.labels": [1, {"a": 1}]},
    ],
)
def test_attributes_that_are_not_ours(boxes: dict[str, Any]) -> None:
    """Spans come from whoever may send telemetry: what is no box is none."""
    (image,) = trace_pictures.of_spans(spans(boxes))
    assert image.boxes == ()
    html = trace_pictures.view([image], set(), set(), EN)
    assert "data-box" not in html
    assert "2 objects found" in html


def test_many_boxes() -> None:
    """So many are drawn and no more, and how many there are is said."""
    many = {"damoscope.boxes.labels": ["x"] * 9000, "damoscope.boxes.scores": [0.5] * 9000,
            "damoscope.boxes.corners": [1, 2, 3, 4] * 9000}  # fmt: skip
    (image,) = trace_pictures.of_spans(spans(many))
    assert len(image.boxes) == trace_pictures.BOXES_MOST
    html = trace_pictures.view([TracedImage(TRACE, JOB, 4, 4, 80, image.boxes)], set(), set(), EN)
    assert "30 more" in html


def test_nothing_is_markup() -> None:
    """Labels and ids come from elsewhere and are shown as text."""
    evil = '"><script>alert(1)</script>'
    (image,) = trace_pictures.of_spans(
        spans(BOXES | {"damoscope.boxes.labels": [evil, evil]}, job=evil)
    )
    html = trace_pictures.view([image], {evil}, {evil}, EN)
    assert "<script" not in html
    assert 'images/"' not in html


def test_without_a_picture() -> None:
    """The boxes are shown where they were; that there is no picture is said, also where nothing was
    found, unless it may still come."""
    (image,) = trace_pictures.of_spans(spans())
    html = trace_pictures.view([image], set(), set(), EN)
    assert "<img" not in html
    assert "The picture is not kept." in html
    assert html.count('class="ds-box') == 2
    html = trace_pictures.view([TracedImage(TRACE, JOB)], set(), set(), EN)
    assert "The picture is not kept." in html
    assert "Nothing found" in html
    html = trace_pictures.view([TracedImage(TRACE, JOB)], set(), {JOB}, EN, fresh=True)
    assert "data-awaited" in html
    assert "not kept" not in html
    assert "<img" in trace_pictures.view([TracedImage(TRACE, JOB)], {JOB}, set(), EN)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def app(home: Path, server: RedisProcess) -> Iterator[Application]:
    with application(home, pages=True, redis_url=server.url) as made:
        yield made


def store(app: Application, **image: Any) -> str:
    """Send the spans of an image; returns its trace."""
    frontend, worker = traffic.image(time.time_ns(), **image)
    receiver = app.app.state.stores.receiver
    for part in (frontend, worker):
        receiver.receive_traces(traffic.encoded(part))
    receiver.flush()
    return traffic.trace_id(frontend)


def test_a_trace_whose_spans_are_gone(app: Application, home: Path, server: RedisProcess) -> None:
    """Its page has what is known: when, what came of it, its stages, its picture; the API says
    where that is to be had. Of a trace that never was, nothing is known."""
    job = "c3" * 16
    trace_id = store(app, job_id=job, detections=3)
    server.client.hset(kept_key(trace_id, job), "picture", b"\xff\xd8\xff")  # type: ignore[arg-type]
    with contextlib.closing(sqlite3.connect(home / FILE_NAME)) as database, database:
        database.execute("DELETE FROM chunk WHERE trace_id = ?", (bytes.fromhex(trace_id),))
    html = app.ask("GET", f"/pages/traces/{trace_id}").text
    assert "The spans of this trace are kept no longer." in html
    assert 'data-complete="1"' in html
    assert re.search(r'<time datetime="20\d\d-', html)
    for known in ("worker-1", "damoyolo_ns_phone", "3 found", "60\u00a0ms", "stage-inference"):
        assert known in html, known
    assert f'src="api/v1/traces/{trace_id}/images/{job}"' in html
    missing = app.ask("GET", f"/api/v1/traces/{trace_id}")
    assert missing.status_code == 404
    assert f"/api/v1/traces?id={trace_id}" in missing.json()["detail"]
    never = app.ask("GET", f"/pages/traces/{'0' * 32}").text
    assert 'data-complete="0"' in never
    assert "never seen" in app.ask("GET", f"/api/v1/traces/{'0' * 32}").json()["detail"]


def test_redis_is_away(tmp_path: Path) -> None:
    """The trace is shown all the same."""
    with application(tmp_path, pages=True, redis_url="redis://127.0.0.1:1") as made:
        html = made.ask("GET", f"/pages/traces/{store(made)}").text
    assert 'data-name="inference"' in html
    assert "<img" not in html
