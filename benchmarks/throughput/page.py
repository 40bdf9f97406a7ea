"""Figures as Markdown, and into the page that holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.throughput import plot
from benchmarks.throughput.sections import SECTIONS


class NoPlace(Exception):
    """The page lacks the markers between which the figures go."""


def markdown(results: dict[str, Any], drawing: str | None = None) -> str:
    """All sections that were measured; `drawing` is the plot's file name beside the page."""
    machine = results["machine"]
    lines = [
        f"Measured on {machine['machine']}; {machine['system']}.",
        "",
        f"Versions: {machine['versions']}.",
    ]
    for name, section in SECTIONS.items():
        found = results["sections"].get(name)
        if found is None:
            continue
        lines += ["", f"### {section.TITLE}", ""]
        if name == "servers" and drawing is not None:
            lines += [f"![Images a second of each server, by bare loops]({drawing})", ""]
        lines += section.render(found["figures"])
        lines += [
            "",
            f"<sub>{found['when']}; {found['rounds']} round(s); load average "
            f"{found['load']} before.</sub>",
        ]
    return "\n".join(lines)


def write(page: Path, results: dict[str, Any]) -> None:
    """Put the figures into the page, and the plot beside it. Raises NoPlace."""
    drawing = None
    servers = results["sections"].get("servers")
    if servers is not None and plot.bars(servers["figures"]):
        drawing = page.with_suffix(".svg")
        drawing.write_text(plot.svg(servers["figures"]), encoding="utf-8")
    replace(page, "figures", markdown(results, drawing.name if drawing else None))


def replace(page: Path, name: str, lines: str) -> None:
    """Put lines between the page's markers of this name. Raises NoPlace."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise NoPlace(f"{page.name} has no lines {begin} and {end}")
    page.write_text(f"{before}{begin}\n{lines}\n{end}{after}", encoding="utf-8")
