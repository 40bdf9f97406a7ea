"""Whose trace context is continued, by the headers of every propagator that is in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from frontend.identity import keys
from tests.frontend.application import application
from tests.security.guarded import IMAGE, JPEG, Guarded

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


def test_a_key_continues_its_trace(guarded: Guarded) -> None:
    """A camera's own trace goes on into the worker."""
    with guarded.as_("camera-1") as client:
        answer = client.post("/api/v1/detect", content=IMAGE, headers=JPEG | SENT)
    assert answer.headers["x-trace-id"] == TRACE
    spans = guarded.trace(TRACE, 8)
    (root,) = (span for span in spans if span["name"] == "POST /api/v1/detect")
    assert root["parent_span_id"] == PARENT


@pytest.mark.parametrize(
    ("setting", "who", "goes_on"),
    [
        ("all", "stranger", True), ("all", "key", True),
        ("keys", "stranger", False), ("keys", "here", True), ("keys", "key", True),
        ("none", "stranger", False), ("none", "here", False), ("none", "key", False),
    ],
)  # fmt: skip
def test_the_setting(setting: str, who: str, goes_on: bool, tmp_path: Path) -> None:
    """`all`, those who are known, or nobody; on loopback without keys everybody is."""
    headers, given = {**JPEG, **SENT}, {}
    if who == "stranger":
        given = {"host": "0.0.0.0"}
    if who == "key":
        secret = keys.add(tmp_path / "keys.json", "camera", ["detect"])
        headers["x-api-key"] = secret
    with application(tmp_path, trace_context=setting, **given) as app:
        answer = app.ask("POST", "/api/v1/detect", content=b"1", headers=headers)
        assert answer.status_code == 200, answer.text
        assert (answer.headers["x-trace-id"] == TRACE) == goes_on
        assert (app.span().parent is not None) == goes_on
