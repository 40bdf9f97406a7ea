"""Measure the service beside bare loops and other servers.

    python -m benchmarks.throughput [--peers all|none|mosec,litserve] [--sections servers,lone]

Figures are printed as they come and kept in .cache/bench/results.json, section by section: one
that is measured again replaces what was there. `--output docs/performance.md` rewrites that page's
figures and plot from all that is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.throughput import machine, page, picture
from benchmarks.throughput.install import install
from benchmarks.throughput.options import BUNDLED, STOCK, NoModel, Options, make_stock
from benchmarks.throughput.sections import SECTIONS
from benchmarks.throughput.servers import CACHE, peers


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"Sections: {', '.join(SECTIONS)}.",
    )
    parser.add_argument("--peers", default="none", help="all, none, or names separated by commas")
    parser.add_argument("--install", action="store_true", help="install the peers that are missing")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--images", type=int, default=50_000, help="of the section memory")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)),
                        help="inferences at a time; default: one a core")  # fmt: skip
    parser.add_argument("--sections", default=",".join(SECTIONS), help="separated by commas")
    parser.add_argument("--output", type=Path, help="page to rewrite")
    parser.add_argument("--results", type=Path, default=CACHE / "results.json",
                        help="file that keeps the figures")  # fmt: skip
    options = parser.parse_args(arguments)
    if unknown := set(options.sections.split(",")) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    try:
        peers(options.peers)
    except ValueError as error:
        parser.error(str(error))
    return options


def say(text: str) -> None:
    """A line of progress."""
    print(f"  {text}", flush=True)


def main() -> None:
    """Measure what is asked for, keep it, print it, and write the page."""
    arguments = parse()
    CACHE.mkdir(parents=True, exist_ok=True)
    found = list(peers(arguments.peers))
    if arguments.install:
        found = [peer for peer in found if install(peer, say)]
    picture.picture(CACHE / "picture.jpg")
    options = Options(
        peers=tuple(found), seconds=arguments.seconds, rounds=arguments.rounds,
        images=arguments.images, workers=arguments.workers, picture=CACHE / "picture.jpg",
        stock=make_stock("ns", STOCK), bundled=BUNDLED,
    )  # fmt: skip
    results = _run(arguments, options)
    print("\n" + page.markdown(results), flush=True)
    if arguments.output is not None:
        page.write(arguments.output, results)
        print(f"\nwritten: {arguments.output.name}")


def _run(arguments: argparse.Namespace, options: Options) -> dict[str, Any]:
    """Each section in turn; one that fails is reported, and the others go on."""
    results = _kept(arguments.results)
    names = [name for name in SECTIONS if name in arguments.sections.split(",")]
    left_s = {name: SECTIONS[name].estimate_s(options) for name in names}
    print(f"about {sum(left_s.values()) / 60:.0f} minutes in all", flush=True)
    for name in names:
        section = SECTIONS[name]
        print(f"{section.TITLE} (about {left_s[name] / 60:.1f} minutes)", flush=True)
        before, began = machine.now(), time.monotonic()
        try:
            figures = section.measure(options, say)
        except Exception as error:  # whatever one section does must not cost the others
            say(f"this section is left out: {type(error).__name__}: {error}")
            continue
        say(f"done after {(time.monotonic() - began) / 60:.1f} minutes")
        results["machine"] = machine.describe()
        results["sections"][name] = {**before, "rounds": options.rounds, "figures": figures}
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        arguments.results.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return results


def _kept(path: Path) -> dict[str, Any]:
    """Figures of earlier runs."""
    if path.exists():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    return {"machine": machine.describe(), "sections": {}}


if __name__ == "__main__":
    try:
        main()
    except (NoModel, page.NoPlace) as error:
        sys.exit(f"benchmarks.throughput: {error}")
    except KeyboardInterrupt:
        sys.exit("benchmarks.throughput: interrupted; what was measured is kept")
