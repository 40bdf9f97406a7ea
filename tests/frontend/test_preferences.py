"""frontend.preferences: the language and the theme that a browser has chosen."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from frontend.preferences import ChosenLanguage, chosen, keep


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    said = Request(scope).headers.getlist("accept-language")
    await PlainTextResponse(" ".join(said))(scope, receive, send)


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [("damoscope_language=zh", "zh"), ("a=b; damoscope_language=en; c=d", "en"),
     ("damoscope_language=fr", "de"), ("damoscope_language=", "de"), ("damoscope_language", "de"),
     ("x_damoscope_language=zh", "de"), ("", "de")],
)  # fmt: skip
def test_the_language_that_was_chosen(cookie: str, expected: str) -> None:
    """It takes the place of the browser's; what is none of ours changes nothing."""
    headers = {"accept-language": "de"} | ({"cookie": cookie} if cookie else {})
    client = TestClient(ChosenLanguage(echo), headers=headers)
    assert client.get("/").text == expected


def test_a_choice_is_kept_for_the_whole_service() -> None:
    """Under the path it is known by, by https only where it came so, and read again as it was."""
    for scope, path, secure in (
        ({"root_path": "/eyes", "scheme": "https"}, "path=/eyes", True),
        ({"root_path": "", "scheme": "http"}, "path=/;", False),
    ):
        response = PlainTextResponse("")
        keep(response, scope, "theme", "dark")
        said = response.headers["set-cookie"] + ";"
        assert said.startswith("damoscope_theme=dark;")
        assert path in said.lower().replace("; ", ";")
        assert ("secure" in said.lower()) == secure
        field = (b"cookie", said.partition(";")[0].encode())
        assert chosen({"headers": [field]}, "theme") == "dark"
        assert chosen({"headers": [field]}, "language") is None
