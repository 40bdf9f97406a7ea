"""How soon a page is of use on its first visit, and what it weighs: `make bench-pages`.

A service of its own on this machine, and Debian's Chromium with an empty cache for each visit. A
page is of use when what it is opened for is there, and its controls take input: then its scripts
have run and the service has answered them. Pages are visited in turns, so that a busy moment of
the machine meets all of them. Bytes are those on the wire, header fields included.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.paths import ROOT
from tests.servers import Service

READY = ".ds-state[data-ready=true]"
#: By page: what is there when it is of use.
PAGES = {
    "/": (READY, ".ds-choices:not([inert])", "#photo button", "#examples img"),
    "/monitor": (READY, ".ds-filter:not([inert])", ".ds-figure b", ".ds-canvas .main-svg"),
    "/traces": (READY, ".ds-filter:not([inert])", ".ds-rows tr[data-trace]"),
    "/report": (READY, ".ds-report iframe[data-days]"),
    "/model": (READY, ".ds-model h2"),
    "/docs": ("#swagger-ui .opblock",),
}
#: Whether all of them are seen.
SEEN = "(all) => all.every((one) => document.querySelector(one)?.checkVisibility())"
IMAGES = 20


def visit(browser: Browser, address: str, seen: tuple[str, ...]) -> dict[str, float]:
    """Milliseconds until a page is of use, and kilobytes until it is at rest."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        page = context.new_page()
        received: list[float] = []
        network = context.new_cdp_session(page)
        network.on(
            "Network.loadingFinished", lambda told: received.append(told["encodedDataLength"])
        )
        network.send("Network.enable")
        begun = time.perf_counter()
        page.goto(address, wait_until="commit")
        page.wait_for_function(SEEN, arg=list(seen))
        took = time.perf_counter() - begun
        page.wait_for_load_state("load")
        return {"ms": 1000 * took, "kb": sum(received) / 1000, "requests": len(received)}
    finally:
        context.close()


def measured(url: str, rounds: int) -> dict[str, list[dict[str, float]]]:
    """All visits, by page. One before them brings the service to where it always is after."""
    visits: dict[str, list[dict[str, float]]] = {path: [] for path in PAGES}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        for number in range(rounds + 1):
            for path, seen in PAGES.items():
                found = visit(browser, url + path, seen)
                if number:
                    visits[path].append(found)
        browser.close()
    return visits


def table(visits: dict[str, list[dict[str, float]]]) -> str:
    """In Markdown: median, and the range of the times."""
    lines = ["| page | of use after, s | kB | requests |", "| --- | ---: | ---: | ---: |"]
    for path, found in visits.items():
        seconds = [each["ms"] / 1000 for each in found]
        lines.append(
            f"| `{path}` | {median(seconds):.2f} [{min(seconds):.2f}–{max(seconds):.2f}] "
            f"| {median(each['kb'] for each in found):,.0f} "
            f"| {median(each['requests'] for each in found):.0f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Start, visit, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="visits of each page")
    parser.add_argument("--output", type=Path, help="where all visits go as JSON")
    chosen = parser.parse_args(arguments)
    photo = sorted((ROOT / "examples").glob("*.jpg"))[0].read_bytes()
    with (
        tempfile.TemporaryDirectory(prefix="pages-") as home,
        Service(Path(home), pages=True) as service,
    ):
        service.wait_until_ready()
        with service.client() as client:  # so that there is something to show
            for _ in range(IMAGES):
                client.post("/api/v1/detect", files={"image": photo}).raise_for_status()
        visits = measured(service.url, chosen.rounds)
    load = f"{os.getloadavg()[0]:.1f}"
    print(table(visits))
    print(f"\n{chosen.rounds} visits of each, {os.cpu_count()} CPUs, load average {load}.")
    if chosen.output:
        chosen.output.write_text(json.dumps({"load": load, "visits": visits}, indent=1))


if __name__ == "__main__":
    main()
