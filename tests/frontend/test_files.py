"""frontend.files: what is served from a folder, compressed or as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from frontend.files import CompressedFiles

LONG = "const x = 1;\n" * 500


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    (tmp_path / "long.js").write_text(LONG)
    (tmp_path / "short.js").write_text("let x;")
    return TestClient(CompressedFiles(directory=tmp_path))


def test_a_script_is_compressed_for_who_takes_it(client: TestClient) -> None:
    """The same text either way; a short one is sent as it is; a part is a part of the text."""
    packed = client.get("/long.js", headers={"accept-encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    # text/ or application/: as this machine, or a library that was imported before, names it.
    assert "/javascript" in packed.headers["content-type"]
    assert int(packed.headers["content-length"]) < 200
    plain = client.get("/long.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text == LONG
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert "content-encoding" not in client.get("/short.js").headers
    part = {"range": "bytes=0-4"}
    given = client.get("/long.js", headers=part)
    assert (given.status_code, given.text) == (206, LONG[:5])
    # Not a part of what was compressed: whoever has the beginning of that gets the whole anew.
    whole = client.get("/long.js", headers=part | {"if-range": packed.headers["etag"]})
    assert (whole.status_code, whole.text) == (200, LONG)


def test_a_file_that_has_changed(client: TestClient, tmp_path: Path) -> None:
    """An unchanged one need not be sent again; one that has changed is."""
    first = client.get("/long.js")
    known = {"if-none-match": first.headers["etag"]}
    assert client.get("/long.js", headers=known).status_code == 304
    (tmp_path / "long.js").write_text(LONG + LONG)
    os.utime(tmp_path / "long.js", (1, 1))
    assert client.get("/long.js", headers=known).text == LONG + LONG
