"""Pages that are left while their images wait: nobody works for them, and each of those counts as
cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect
from redis import Redis

from frontend.pages.batches import CONCURRENCY
from tests.browser.conftest import OpenPage
from tests.faults.test_clients import (
    eventually_counted,
    images,
    no_worker_takes,
    outcomes,
    waiting,
)
from tests.integration import pictures
from tests.servers import Service, eventually

#: Images of a batch: more than wait in the queue at once.
BATCH = CONCURRENCY + 4


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One of its own, whose requests nobody else adds to."""
    with Service(tmp_path_factory.mktemp("leaving") / "home", pages=True) as running:
        yield running.wait_until_ready()


def close(page: Page) -> None:
    page.close()


def go_elsewhere(page: Page) -> None:
    page.goto(page.url.split("?")[0] + "monitor")


Leave = Callable[[Page], None]
LEAVE = pytest.mark.parametrize("leave", [close, go_elsewhere])


@LEAVE
def test_a_page_with_one_image(
    open_page: OpenPage, photo: Path, redis: Redis, client: httpx.Client, leave: Leave
) -> None:
    """Its image leaves the queue with it."""
    before = outcomes(client)
    with no_worker_takes(redis):
        page = open_page()
        page.locator("#photo input[type=file]").set_input_files(photo)
        eventually(lambda: waiting(redis) == 1, "the image in the queue")
        leave(page)
        eventually(lambda: waiting(redis) == images(redis) == 0, "an empty queue")
        eventually_counted(client, before, {"cancelled": 1})


@LEAVE
def test_a_page_with_a_batch(
    open_page: OpenPage, tmp_path: Path, redis: Redis, client: httpx.Client, leave: Leave
) -> None:
    """Its images that wait leave the queue with it, and the others are never begun: they count as
    nothing."""
    before = outcomes(client)
    finished = redis.zcard("rq:finished:detections")
    paths = [tmp_path / f"{number}.jpg" for number in range(BATCH)]
    for number, path in enumerate(paths):
        path.write_bytes(pictures.jpeg(320, 240, number))
    with no_worker_takes(redis):
        page = open_page()
        page.get_by_role("tab", name="Several images").click()
        page.locator("#photos input[type=file]").set_input_files(paths)
        expect(page.locator(".ds-several")).to_be_visible()
        eventually(lambda: waiting(redis) == CONCURRENCY, "images in the queue")
        leave(page)
        eventually(lambda: waiting(redis) == images(redis) == 0, "an empty queue")
        eventually_counted(client, before, {"cancelled": CONCURRENCY})
    answer = client.post(
        "/api/v1/detect", content=paths[0].read_bytes(), headers={"content-type": "image/jpeg"}
    )
    assert answer.status_code == 200
    assert redis.zcard("rq:finished:detections") == finished + 1  # type: ignore[operator]
    eventually_counted(client, before, {"cancelled": CONCURRENCY, "ok": 1})
