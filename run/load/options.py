"""The options of `damoscope load`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import ConfigurationError
from pipeline.tiles import readable
from run import extras
from run.load import plan as planned

Duration = Annotated[str, typer.Option(help="Of the run, or of each step of a search: 30s, 5m.")]


def load(
    url: Annotated[str, typer.Argument(help="The service: http://HOST:PORT.")],
    clients: Annotated[
        int | None,
        typer.Option(
            min=1, max=planned.CLIENTS_MAX,
            help="Closed loop: so many clients, each waiting for its answer. Default: 8.",
        ),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Open loop: requests a second, whatever the answers do.")
    ] = None,
    ramp: Annotated[
        str | None, typer.Option(help="Open loop, a rate that changes: FROM:TO:DURATION.")
    ] = None,
    search: Annotated[
        str | None, typer.Option(help="Find the highest rate within a latency: p99=300ms.")
    ] = None,
    arrivals: Annotated[str, typer.Option(help="poisson or constant.")] = "poisson",
    duration: Duration = "10s",
    requests: Annotated[
        int | None, typer.Option(min=1, max=planned.REQUESTS_MAX, help="End after so many.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder or file of images. Default: bundled examples.")
    ] = None,
    timeout: Annotated[str, typer.Option(help="The timeout of each request.")] = "30s",
    tiles: Annotated[
        str | None, typer.Option(help="Ask for tiles with each request: auto, or like 4x3.")
    ] = None,
    hang_up_after: Annotated[
        str | None, typer.Option(help="Impatient clients: leave after this time.")
    ] = None,
    hang_up_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of requests whose client is impatient.")
    ] = 1.0,
    pause: Annotated[
        str | None, typer.Option(help="Closed loop: pause of a client between two images.")
    ] = None,
    retry_after: Annotated[
        bool,
        typer.Option("--retry-after", help="Closed loop: wait as Retry-After says."),
    ] = False,
    connections: Annotated[
        int, typer.Option(min=1, max=planned.CLIENTS_MAX, help="Open loop: connections at most.")
    ] = 400,
    seed: Annotated[int, typer.Option(help="Of Poisson arrivals and who is impatient.")] = 1,
    key: Annotated[
        str | None,
        typer.Option(
            envvar="DAMOSCOPE_KEY", show_default=False,
            help="Key of the service; in the environment nobody else sees it.",
        ),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option("--output", "-o", help="Report to write, .html or .json; may be repeated."),
    ] = None,
) -> None:  # fmt: skip
    """Send images to a running service, and say what became of them."""
    extras.require("frontend")
    modes = {"--clients": clients, "--rate": rate, "--ramp": ramp, "--search": search}
    given = [name for name, value in modes.items() if value is not None]
    if len(given) > 1:
        raise ConfigurationError(f"{' and '.join(given)}: one of them")
    if arrivals not in ("poisson", "constant"):
        raise ConfigurationError(f"--arrivals {arrivals}: poisson or constant")
    if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key != ""):
        raise ConfigurationError("the key has characters that no key has")
    seconds, paced = planned.seconds(duration), None
    if rate is not None:
        flat = planned.rate(rate)
        paced = planned.ArrivalRate(flat, flat)
    elif ramp is not None:
        paced, seconds = planned.ramp(ramp)
    goal = planned.goal(search) if search is not None else None
    timeout_s = planned.seconds(timeout)
    from run.load.command import Wanted, run  # imported here: it needs the extra

    good = run(
        Wanted(
            url=url, images=images, goal=goal, key=key, output=output or [],
            params="" if tiles is None else f"tiles={readable(tiles)}",
            plan=planned.Plan(
                duration_s=seconds,
                clients=0 if paced or goal else clients or 8,
                rate=paced,
                poisson=arrivals == "poisson",
                requests=requests or planned.REQUESTS_MAX,
                timeout_s=timeout_s,
                hang_up_after_s=planned.seconds(hang_up_after) if hang_up_after else None,
                hang_up_share=hang_up_share,
                pause_s=planned.seconds(pause) if pause else 0.0,
                obey_retry_after=retry_after,
                connections=connections,
                seed=seed,
            ),
        )
    )  # fmt: skip
    if not good:
        raise typer.Exit(1)
