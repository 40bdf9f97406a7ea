"""frontend.pages.events: what of an event reaches its handler."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
import pytest

from frontend.pages.events import ImageId, ImageIds, Threshold, arguments, read
from pipeline.errors import InvalidParameter

ID = "0123456789abcdef" * 2


async def one(photo: ImageId, score: Threshold, request: gr.Request) -> None:
    """A handler like those of the pages."""


async def several(photos: ImageIds) -> None:
    """Another."""


WANTED = {3: arguments(one), 5: arguments(several)}


def body(number: Any, *data: Any, **more: Any) -> bytes:
    return json.dumps({"fn_index": number, "data": data} | more).encode()


def test_what_passes() -> None:
    """Values of the kinds that the handler declares, and nothing that is said besides."""
    event = read(body(3, ID, 0.5, session_hash="x", event_data={"path": "/"}), WANTED)
    assert event.model_dump() == {"fn_index": 3, "data": [ID, 0.5]}
    assert read(body(3, "", 1), WANTED).data == ["", 1.0]
    assert read(body(5, f"{ID} {ID}"), WANTED).data == [f"{ID} {ID}"]
    assert read(body(5, " ".join([ID] * 1000)), WANTED).data


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (body(4, ID, 0.5), "there is no such event"), (body("3", ID, 0.5), "fn_index"),
        (body(3, ID), "takes 2 values, not 1"), (body(3, ID, 0.5, 1), "takes 2 values, not 3"),
        (body(3, {"path": ID}, 0.5), r"data\[0\]"), (body(3, [ID], 0.5), r"data\[0\]"),
        (body(3, f"{ID} ", 0.5), r"data\[0\]"), (body(3, f"../{ID}", 0.5), r"data\[0\]"),
        (body(3, ID.upper(), 0.5), r"data\[0\]"), (body(3, ID, "0.5"), r"data\[1\]"),
        (body(3, ID, True), r"data\[1\]"), (body(3, ID, 1.01), r"data\[1\]"),
        (body(3, ID, float("nan")), r"data\[1\]"), (body(3, ID, None), r"data\[1\]"),
        (body(5, f"{ID}  {ID}"), r"data\[0\]"), (body(5, f"{ID}\n{ID}"), r"data\[0\]"),
        (body(5, " ".join([ID] * 1001)), r"data\[0\]"), (b"{", "cannot be read"),
        (body(3, *[0] * 100), "data"),
    ],
)  # fmt: skip
def test_what_does_not_pass(given: bytes, why: str) -> None:
    """Everything else, and the reason never repeats what was sent."""
    with pytest.raises(InvalidParameter, match=why) as refused:
        read(given, WANTED)
    assert ID not in str(refused.value)
    assert len(str(refused.value)) < 200


def test_a_handler_says_what_it_takes() -> None:
    """One without annotations cannot be an event: what would be let through to it?"""

    def careless(photo):  # type: ignore[no-untyped-def]
        pass

    with pytest.raises(TypeError, match="photo"):
        arguments(careless)
