"""Reading a header costs bounded time, and never the event loop's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.security import images
from tests.servers import Service

DETECT = "/api/v1/detect"
RAW = {"content-type": "application/octet-stream"}
#: `/healthz` is asked this often while an image is read, and must answer as often as this in all.
PAUSE_S = 0.05


class Pulse:
    """Asks whether the frontend is alive, again and again, and keeps the longest wait."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.longest_s = 0.0

    def _ask(self) -> None:
        with self._service.client() as client:
            while not self._ends.is_set():
                began = time.monotonic()
                assert client.get("/healthz").status_code == 200
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self._ends.wait(PAUSE_S)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join(60)


@pytest.fixture(scope="module")
def usual_s(service: Service) -> Iterator[float]:
    """How long 20 MB that are recognised as no image at their first byte take."""
    with service.client() as client:
        client.post(DETECT, content=bytes(1000), headers=RAW)
        began = time.monotonic()
        for _ in range(3):
            answer = client.post(DETECT, content=bytes(images.BYTES), headers=RAW)
            assert answer.status_code == 400
        yield (time.monotonic() - began) / 3


@pytest.mark.parametrize("name", images.HEADERS)
def test_a_header_of_20_mb(name: str, service: Service, client: httpx.Client,
                           usual_s: float) -> None:  # fmt: skip
    """The worst 20 MB that a header can be are refused with 400 and what is wrong; meanwhile
    `/healthz` answers. What it costs beyond receiving 20 MB is bounded: a reader that goes from
    part to part takes fifty times as long."""
    data = images.HEADERS[name]()[: 20 * 2**20]
    with Pulse(service) as pulse:
        began = time.monotonic()
        answer = client.post(DETECT, content=data, headers=RAW)
        took_s = time.monotonic() - began
    print(f"{name}: {took_s:.2f} s, usually {usual_s:.2f} s, /healthz {pulse.longest_s:.2f} s")
    assert answer.status_code == 400, answer.text
    assert answer.json()["type"] == "urn:damoscope:invalid_image"


def test_a_tiff_of_many_pages(client: httpx.Client) -> None:
    """Only the first page of a TIFF is read, however many there are."""
    answer = client.post(DETECT, content=images.tiff_of_many_directories(), headers=RAW)
    assert answer.status_code == 200, answer.text
    assert answer.json()["image"]["width"] == 8
