"""Reading a header costs bounded time, and never the event loop's."""

from __future__ import annotations

import threading

import httpx
import pytest

from tests.security import images
from tests.servers import Service

DETECT = "/api/v1/detect"
RAW = {"content-type": "application/octet-stream"}
#: Seconds between two questions to `/healthz` while an image is read.
PAUSE_S = 0.05


class Pulse:
    """Asks whether the frontend is alive, again and again, and keeps what it was told."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._ends, self._asked = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.answers: list[int | str] = []

    def _ask(self) -> None:
        with self._service.client() as client:
            while not self._ends.is_set():
                try:
                    self.answers.append(client.get("/healthz").status_code)
                except httpx.HTTPError as error:
                    self.answers.append(repr(error))
                self._asked.set()
                self._ends.wait(PAUSE_S)

    def __enter__(self) -> Pulse:
        self._thread.start()
        assert self._asked.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join(60)


@pytest.mark.parametrize("name", images.HEADERS)
def test_a_header_of_20_mb(name: str, service: Service, client: httpx.Client) -> None:
    """The worst 20 MB that a header can be are refused with 400 and what is wrong; meanwhile
    `/healthz` answers. How few steps it takes is tested with `pipeline.images`."""
    data = images.HEADERS[name]()[: 20 * 2**20]
    with Pulse(service) as pulse:
        answer = client.post(DETECT, content=data, headers=RAW)
    assert set(pulse.answers) == {200}
    assert answer.status_code == 400, answer.text
    assert answer.json()["type"] == "urn:damoscope:invalid_image"


def test_a_tiff_of_many_pages(client: httpx.Client) -> None:
    """Only the first page of a TIFF is read, however many there are."""
    answer = client.post(DETECT, content=images.tiff_of_many_directories(), headers=RAW)
    assert answer.status_code == 200, answer.text
    assert answer.json()["image"]["width"] == 8
