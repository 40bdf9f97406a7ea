"""benchmarks.fleet: what stub workers send, and a whole run with few of them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.fleet import __main__ as fleet
from benchmarks.fleet.page import LINES as LINES_DRAWN
from benchmarks.fleet.recording import Recording, recorded

TAKE = "ab" * 20
LINES = [
    b'100.10 [0 127.0.0.1:1] "SISMEMBER" "rq:workers" "rq:worker:host-17-ab12"',
    b'100.11 [0 127.0.0.1:2] "EVALSHA" "' + TAKE.encode() + b'" "0"',
    b'100.12 [0 lua] "TIME"',
    b'100.20 [0 127.0.0.1:1] "MULTI"',
    b'100.21 [0 127.0.0.1:2] "HSET" "k" "\\x00\\"\\r\\n"',
    b'100.22 [0 127.0.0.1:1] "EXEC"',
    b'100.90 [0 127.0.0.1:2] "BLPOP" "bell" "1"',
    b"OK",
    b'101.30 [0 127.0.0.1:1] "PING"',
]


def test_what_is_recorded() -> None:
    """By seconds; without takes, waits, and what scripts do; each connection's in its order."""
    found = recorded(LINES, b"host-17-ab12", TAKE)
    first, second = found.seconds
    assert first.index(b"SISMEMBER") < first.index(b"MULTI") < first.index(b"EXEC")
    assert not first[first.index(b"MULTI") : first.index(b"EXEC")].count(b"HSET")
    assert b'*3\r\n$4\r\nHSET\r\n$1\r\nk\r\n$4\r\n\x00"\r\n\r\n' in first
    assert second == b"*1\r\n$4\r\nPING\r\n"
    assert not any(word in first for word in (b"BLPOP", b"EVALSHA", b"TIME"))


def test_another_name() -> None:
    """Stands wherever the worker's did, in as many bytes. After the last second comes the first."""
    found = recorded(LINES, b"host-17-ab12", TAKE)
    assert b"\r\nrq:worker:s00-00000042\r\n" in found.at(2, b"s00-00000042")
    with pytest.raises(ValueError, match="12 bytes"):
        found.at(0, b"longer-than-that")


def test_written_and_read(tmp_path: Path) -> None:
    """The same bytes."""
    found = recorded(LINES, b"host-17-ab12", TAKE)
    found.write(tmp_path / "recording.json")
    assert Recording.read(tmp_path / "recording.json") == found


def test_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each stub is seen as a living worker, each image is answered; a table, JSON and a plot."""
    output = tmp_path / "fleet.json"
    fleet.main(["--workers", "1,5", "--record", "4", "--seconds", "2", "--images", "30",
                "-o", str(output)])  # fmt: skip
    few, more = json.loads(output.read_text())["rows"]
    assert (few["workers"], more["workers"]) == (1, 5)
    # A beat and a look at the queues each second, of each of them.
    assert more["idle"]["commands"] > 5 * 5
    assert all(row["image"]["bytes_in"] > 0 for row in (few, more))
    drawn = ElementTree.parse(output.with_suffix(".svg"))
    assert len(drawn.findall("{http://www.w3.org/2000/svg}polyline")) == len(LINES_DRAWN)
    output.with_suffix(".svg").unlink()
    fleet.main(["--draw", str(output)])
    assert output.with_suffix(".svg").exists()
    assert "| 5 |" in capsys.readouterr().out
