"""Small objects in large pictures, by the running service."""

from __future__ import annotations

import io
from datetime import datetime

import httpx
import numpy as np
import pytest
from PIL import Image
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from tests.paths import ROOT
from tests.servers import Service, caught, eventually

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
#: Columns and rows of phones, and the picture's size: each phone has 5 x 6 pixels of the model's
#: input when the picture is run as a whole.
COLUMNS, ROWS, WIDTH, HEIGHT = 10, 8, 2560, 1920
#: The phone of examples/desk.jpg with its surroundings, and how tall it becomes.
PHONE, MARGIN, TALL = (640, 480, 897, 807), 20, 60


def many_phones() -> tuple[bytes, np.ndarray]:
    """A photograph strewn with phones, and where they are: N x 4, xyxy."""
    rng = np.random.default_rng(3)
    with Image.open(ROOT / "examples" / "no-phone.jpg") as opened:
        picture = opened.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    x1, y1, x2, y2 = PHONE
    with Image.open(ROOT / "examples" / "desk.jpg") as opened:
        cut = opened.crop((x1 - MARGIN, y1 - MARGIN, x2 + MARGIN, y2 + MARGIN))
    share = TALL / cut.height
    small = cut.resize((round(cut.width * share), TALL), Image.Resampling.LANCZOS)
    across, down = WIDTH / COLUMNS, HEIGHT / ROWS
    boxes = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            x = round(column * across + rng.uniform(2, across - small.width - 2))
            y = round(row * down + rng.uniform(2, down - TALL - 2))
            picture.paste(small, (x, y))
            edge = MARGIN * share
            boxes.append((x + edge, y + edge, x + small.width - edge, y + TALL - edge))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue(), np.array(boxes)


@pytest.fixture(scope="module")
def phones() -> tuple[bytes, np.ndarray]:
    return many_phones()


def send(service: Service, image: bytes, headers: dict[str, str] | None = None,
         **query: object) -> httpx.Response:  # fmt: skip
    asked = {"timeout": 300, **query}
    with service.client() as client:
        return client.post(
            DETECT, params=asked, content=image, headers=JPEG | (headers or {}), timeout=300
        )


def share_found(answer: httpx.Response, boxes: np.ndarray) -> float:
    """Of the phones, how many have a box of their own of IoU 0.5."""
    assert answer.status_code == 200, answer.text
    found = [each["box"] for each in answer.json()["detections"]]
    mine = np.array([[box[name] for name in ("x1", "y1", "x2", "y2")] for box in found])
    hits = 0
    for box in boxes if len(mine) else ():
        start, end = np.maximum(mine[:, :2], box[:2]), np.minimum(mine[:, 2:], box[2:])
        both = (end - start).clip(0).prod(axis=1)
        sizes = (mine[:, 2:] - mine[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
        hits += bool((both / (sizes - both) > 0.5).any())
    return hits / len(boxes)


def test_small_phones_are_found_in_tiles(
    service: Service, phones: tuple[bytes, np.ndarray]
) -> None:
    """Of eighty, few without and nearly all with; each once. The answer says which tiles it were,
    and the same by name gives the same."""
    image, boxes = phones
    without = send(service, image, max_detections=500)
    auto = send(service, image, max_detections=500, tiles="auto")
    assert "tiles" not in without.json()
    assert auto.json()["tiles"] == "5x4"
    assert share_found(without, boxes) < 0.2
    assert share_found(auto, boxes) >= 0.8
    assert len(auto.json()["detections"]) <= 1.05 * len(boxes)
    named = send(service, image, max_detections=500, tiles="5x4")
    assert named.json()["detections"] == auto.json()["detections"]


def test_the_trace_has_the_same_spans_and_tells_the_tiles(
    service: Service, phones: tuple[bytes, np.ndarray]
) -> None:
    """One span for each stage, which are what the answer's milliseconds say."""
    answer = send(service, phones[0], tiles="2x2").json()
    told, timings = service.spans(answer["trace_id"], 8), answer["timings_ms"]
    spans = {span["name"]: span for span in told}
    assert len(spans) == len(told) == 8
    for stage in ("preprocess", "inference", "nms"):
        assert spans[stage]["attributes"]["damoscope.tiles"] == 4
        assert spans[stage]["duration_ms"] == pytest.approx(timings[stage], abs=0.01)
    inference = spans["inference"]["attributes"]
    assert inference["damoscope.inference.calls"] == 5
    assert 0 < inference["damoscope.inference.calls_ms"] <= timings["inference"]
    assert inference["damoscope.batch.size"] == answer["batch_size"] == 1
    stages = sum(timings[stage] for stage in timings if stage != "total")
    assert stages <= timings["total"]


def test_a_small_picture_has_no_tiles(service: Service) -> None:
    """`auto` then answers as without."""
    with Image.open(ROOT / "examples" / "desk.jpg") as opened:
        file = io.BytesIO()
        opened.resize((640, 480)).save(file, "JPEG")
    plain, auto = (send(service, file.getvalue(), **asked) for asked in ({}, {"tiles": "auto"}))
    assert plain.json()["detections"] == auto.json()["detections"]
    assert "tiles" not in auto.json()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("9x9", "from 2 to 64 tiles"),
        ("1x1", "from 2 to 64 tiles"),
        ("0x4", "tiles"),
        ("4", "tiles"),
        ("4x", "tiles"),
        ("many", "tiles"),
        ("-1x2", "tiles"),
        ("", "tiles"),
        ("30x2", "may have at most 24x18 tiles"),
    ],
)
def test_what_cannot_be_is_refused(service: Service, asked: str, says: str) -> None:
    """With what is allowed, as 422; so is another number of tiles with the same Idempotency-Key."""
    image = (ROOT / "examples" / "desk.jpg").read_bytes()
    answer = send(service, image, tiles=asked)
    assert answer.status_code == 422, answer.text
    assert says in answer.json()["detail"]


def test_tiles_are_part_of_what_an_idempotency_key_stands_for(service: Service) -> None:
    """The same tiles get the first one's answer; others are refused."""
    image = (ROOT / "examples" / "desk.jpg").read_bytes()
    key = {"idempotency-key": '"tiles-of-an-image"'}
    first = send(service, image, key, tiles="auto")
    again = send(service, image, key, tiles="auto")
    assert first.json()["job_id"] == again.json()["job_id"]
    assert first.json()["tiles"] == again.json()["tiles"] == "3x2"
    assert send(service, image, key).status_code == 422
    assert send(service, image, key, tiles="2x2").status_code == 422


def test_who_does_not_wait_gets_the_same(service: Service) -> None:
    """A job in tiles has its result at the same address as any."""
    image = (ROOT / "examples" / "desk.jpg").read_bytes()
    accepted = send(service, image, {"prefer": "respond-async"}, tiles="3x2")
    assert accepted.status_code == 202
    with service.client() as client:
        place = accepted.headers["location"]
        eventually(lambda: client.get(place).json()["status"] == "finished", "the result")
        result = client.get(place).json()["result"]
    assert result["tiles"] == "3x2"
    assert result["detections"] == send(service, image, tiles="3x2").json()["detections"]


def test_others_are_answered_between_tiles(
    service: Service, phones: tuple[bytes, np.ndarray]
) -> None:
    """While an image of 64 tiles is in the worker's hands, one that comes then has its turn before
    that ends."""
    small = (ROOT / "examples" / "desk.jpg").read_bytes()
    later = {"prefer": "respond-async"}
    (worker,) = service.children("worker")
    with service.client() as client, service.redis() as redis:
        tiled = send(service, phones[0], later, tiles="8x8").headers["location"]
        # However long it takes to send the next one, it comes meanwhile.
        caught(worker, lambda: redis.zcard("rq:wip:detections") == 1, "tiles in work")
        try:
            assert client.get(tiled).json()["status"] == "started"
            other = send(service, small, later).headers["location"]
        finally:
            worker.resume()
        for place in (tiled, other):
            eventually(lambda: client.get(place).json()["status"] == "finished", place)  # noqa: B023
        ended = [_ended(redis, place) for place in (other, tiled)]
        assert ended == sorted(ended), ended


def test_what_is_withdrawn_between_tiles_is_left(
    service: Service, phones: tuple[bytes, np.ndarray]
) -> None:
    """Unless it was done already."""
    with service.client() as client, service.redis() as redis:
        answer = send(service, phones[0], {"prefer": "respond-async"}, tiles="8x8")
        place = answer.headers["location"]
        eventually(lambda: redis.zcard("rq:wip:detections") == 1, "tiles in work")
        client.delete(place)
        eventually(lambda: not redis.zcard("rq:wip:detections"), "what was withdrawn to be left")
        assert client.get(place).json()["status"] in ("cancelled", "finished")


def _ended(redis: Redis, place: str) -> datetime:
    """When a job was done, by its worker."""
    job_id = place.rpartition("/")[2]
    ended = Job.fetch(job_id, connection=redis, serializer=JSONSerializer).ended_at
    assert ended
    return ended
