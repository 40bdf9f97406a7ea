"""What a first visit to a page costs: bytes on the wire, and no other host."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.servers import eventually

#: Bytes of a first visit, header fields included.
MOST = 1_500_000
#: What plotly.js alone takes of them, which Monitor has and a browser keeps for ever.
PLOTLY = 1_500_000


@pytest.mark.parametrize(
    ("path", "seen", "more"),
    [
        ("/", "#photo", 0),
        ("/monitor", ".ds-canvas .main-svg", PLOTLY),
        ("/traces", ".ds-rows > *", 0),
        ("/report", ".ds-report iframe[data-days]", 0),
        ("/model", ".ds-model h2", 0),
        ("/docs", "#swagger-ui .opblock", 0),
    ],
)
def test_a_first_visit(open_page: OpenPage, path: str, seen: str, more: int) -> None:
    """Under 1.5 MB, plotly.js apart, all that the browser received counted; `open_page` fails the
    test for whatever is asked of another host."""
    page = open_page("/healthz")  # nothing of a page is known yet
    received: list[float] = []
    network = page.context.new_cdp_session(page)
    network.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    network.send("Network.enable")
    page.goto(page.url.replace("/healthz", path))
    page.locator(seen).first.wait_for(state="attached")
    page.wait_for_load_state("load")
    eventually(lambda: page.evaluate("() => document.readyState") == "complete", "all of it")
    assert 10_000 < sum(received) < MOST + more, received
