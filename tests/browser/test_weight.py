"""What a first visit to a page costs: bytes on the wire, and no other host."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.servers import eventually

#: Bytes of a first visit, header fields included.
MOST = 1_500_000


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/", "#photo"),
        ("/monitor", ".ds-canvas .main-svg"),
        ("/traces", ".ds-rows > *"),
        ("/report", ".ds-report iframe[data-days]"),
        ("/model", ".ds-model h2"),
        ("/docs", "#swagger-ui .opblock"),
    ],
)
def test_a_first_visit(open_page: OpenPage, path: str, seen: str) -> None:
    """Under 1.5 MB, all that the browser received counted; `open_page` fails the test for whatever
    is asked of another host."""
    page = open_page("/healthz")  # nothing of a page is known yet
    received: list[float] = []
    network = page.context.new_cdp_session(page)
    network.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    network.send("Network.enable")
    page.goto(page.url.replace("/healthz", path))
    page.locator(seen).first.wait_for(state="attached")
    page.wait_for_load_state("load")
    eventually(lambda: page.evaluate("() => document.readyState") == "complete", "all of it")
    assert 10_000 < sum(received) < MOST, received
