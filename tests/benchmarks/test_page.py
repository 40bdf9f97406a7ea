"""Figures into the page, and what is asked for on the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.throughput import machine, page, plot
from benchmarks.throughput.__main__ import parse
from benchmarks.throughput.options import Options
from benchmarks.throughput.sections import SECTIONS
from benchmarks.throughput.sections import servers as section
from benchmarks.throughput.servers import ALL_PEERS, PEERS, peers
from tests.paths import ROOT

NAMES = ("images_per_s", "ratio", "ratio_stock", "p50_ms", "p99_ms", "tail", "beside_ms", "pss_mb",
         "errors", "client_cpu_ms")  # fmt: skip


def row(title: str, rate: float, rounds: int = 2) -> dict[str, Any]:
    cell = {name: [rate + turn / 10 for turn in range(rounds)] for name in NAMES}
    return {"title": title, "failures": 2 - rounds, "clients": {"8": cell, "32": cell}}


@pytest.fixture
def servers() -> dict[str, Any]:
    return {
        "workers": 2,
        "seconds": 10,
        "bare": {"images_per_s": [36.0, 35.0], "cpu_ms": [45.0, 46.0]},
        "rows": {
            "damoscope": row("damoscope, stock model", 0.9),
            "mosec": row("mosec 1 <&>", 0.8),
            "ray": row("Ray Serve", 0.0, rounds=0),
        },
    }


@pytest.fixture
def results(servers: dict[str, Any]) -> dict[str, Any]:
    taken = {**machine.now(), "rounds": 2, "figures": servers}
    return {"machine": machine.describe(), "sections": {"servers": taken}}


def test_only_what_lies_between_the_markers_is_rewritten(
    tmp_path: Path, results: dict[str, Any]
) -> None:
    """Written twice, the page is the same; what a person wrote stays."""
    path = tmp_path / "performance.md"
    path.write_text("by hand\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nthe end\n")
    page.write(path, results)
    text = path.read_text()
    assert text.startswith("by hand\n")
    assert text.endswith("the end\n")
    assert "old" not in text
    assert "performance.svg" in text
    page.write(path, results)
    assert path.read_text() == text


def test_a_page_without_markers_is_left_as_it_is(tmp_path: Path, results: dict[str, Any]) -> None:
    """Figures never go where nobody made room for them."""
    path = tmp_path / "other.md"
    path.write_text("text")
    with pytest.raises(page.NoPlace):
        page.write(path, results)
    assert path.read_text() == "text"


def test_a_server_that_did_not_run_has_dashes_and_is_named(servers: dict[str, Any]) -> None:
    """Nothing is made up for it, and it is not in the plot."""
    text = "\n".join(section.render(servers))
    assert re.search(r"\| Ray Serve \| – \|", text)
    assert "Ray Serve failed in 2 round(s)" in text
    assert "best peer (mosec 1 <&>): **1.12**" in text
    assert [bar.title for bar in plot.bars(servers)] == ["damoscope, stock model", "mosec 1 <&>"]


def test_the_plot_is_a_drawing_of_its_own(servers: dict[str, Any]) -> None:
    """Well-formed, and nothing in it is fetched from elsewhere."""
    text = plot.svg(servers)
    ElementTree.fromstring(text)
    assert "href" not in text
    assert "url(" not in text


def test_peers_are_asked_for_by_name() -> None:
    """All, none, or some, and a name that is none of them is said to be so."""
    assert peers("none") == []
    assert [peer.name for peer in peers("litserve,mosec")] == ["mosec", "litserve"]
    assert peers("all") == list(ALL_PEERS)
    with pytest.raises(SystemExit):
        parse(["--peers", "mosecc"])
    with pytest.raises(SystemExit):
        parse(["--sections", "servers,moon"])


@pytest.mark.parametrize("peer", ALL_PEERS, ids=lambda peer: peer.name)
def test_each_peer_has_an_app_and_pinned_requirements(peer: Any) -> None:
    """Every line pins one version, and no index address is named."""
    assert (PEERS / f"{peer.name}_app.py").is_file()
    lines = (PEERS / f"{peer.name}.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.\-]+==[\w.+\-]+", line) for line in pins)
    assert {"numpy", "onnxruntime"} <= {line.partition("==")[0] for line in pins}


def test_the_time_that_a_run_takes_is_estimated() -> None:
    """Longer with more rounds, in every section that has rounds."""
    for name, one in SECTIONS.items():
        few, many = (
            one.estimate_s(Options(tuple(peers("all")), 10.0, rounds, 1000, 2, ROOT))
            for rounds in (1, 3)
        )
        assert 0 < few <= many, name
