"""Debian's Firefox, driven by WebDriver BiDi: the W3C's protocol, which Firefox speaks itself, over
a WebSocket. Playwright drives only a Firefox of its own, which it downloads."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.servers import PATIENCE_S, Process, eventually

#: Debian's, or as others name it.
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
#: Where Firefox leaves the address at which it listens.
SERVER = "WebDriverBiDiServer.json"
WIDTH, HEIGHT = 1400, 900
#: Keys as WebDriver writes them.
KEYS = {"ArrowRight": "\ue014", "Enter": "\ue007"}


class Refused(Exception):
    """Firefox could not do what it was asked."""


@contextlib.contextmanager
def firefox(folder: Path, url: str) -> Iterator[Firefox]:
    """One tab of a Firefox without a window, with a new profile in `folder`, for the service at
    `url`."""
    assert FIREFOX, "no Firefox is installed"
    profile = folder / "profile"
    profile.mkdir(parents=True)
    command = [
        FIREFOX, "--headless", "--no-remote", "--profile", str(profile),
        "--remote-debugging-port", "0",
    ]  # fmt: skip

    def port() -> int | None:
        try:
            return int(json.loads((profile / SERVER).read_text(encoding="utf-8"))["ws_port"])
        except (OSError, ValueError):  # not there, or half written
            return None

    # Its home is not this one's: what it writes there goes with the folder.
    with Process(command, folder, {"HOME": str(folder)}) as process:
        listening = process.until(port, "Firefox to listen")
        with connect(f"ws://127.0.0.1:{listening}/session", max_size=None) as socket:
            yield Firefox(socket, url)


class Firefox:
    """A tab, and what a person does in it: as tests.browser.test_smoke has it for Chromium."""

    def __init__(self, socket: ClientConnection, url: str) -> None:
        self.url = url
        #: Scripts that failed, and addresses of other hosts that were asked.
        self.wrong: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._tab = self._open()

    def _open(self) -> str:
        self._ask("session.new", capabilities={})
        self._ask("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])
        tab = str(self._ask("browsingContext.create", type="tab")["context"])
        size = {"width": WIDTH, "height": HEIGHT}
        self._ask("browsingContext.setViewport", context=tab, viewport=size)
        return tab

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a command. What happened meanwhile is heard."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE_S))
            if message.get("id") == number:
                break
            if message["type"] == "event":
                self._hear(message["method"], message["params"])
        if message["type"] == "error":
            raise Refused(f"{method}: {message['error']}: {message['message']}")
        return dict(message["result"])

    def _hear(self, event: str, told: dict[str, Any]) -> None:
        if event == "log.entryAdded" and told["level"] == "error":
            self.wrong.append(f"{told['type']}: {told['text']}")
        if event == "network.beforeRequestSent":
            address = told["request"]["url"]
            if not address.startswith((self.url, "data:", "blob:", "about:")):
                self.wrong.append(f"fetched from elsewhere: {address}")

    def _evaluate(self, script: str) -> dict[str, Any]:
        answer = self._ask(
            "script.evaluate", expression=script, target={"context": self._tab}, awaitPromise=False
        )
        if answer["type"] == "exception":
            raise Refused(f"{script}: {answer['exceptionDetails']['text']}")
        return dict(answer["result"])

    def _element(self, selector: str) -> dict[str, str]:
        """The first that matches, in sight."""
        self.until(f"Boolean(document.querySelector({json.dumps(selector)}))")
        seen = (
            f"(at => {{ at.scrollIntoView({{block: 'center', behavior: 'instant'}}); return at; }})"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        return {"sharedId": self._evaluate(seen)["sharedId"]}

    def _act(self, kind: str, *actions: dict[str, Any]) -> None:
        source = {"type": kind, "id": kind, "actions": list(actions)}
        self._ask("input.performActions", context=self._tab, actions=[source])

    def goto(self, path: str) -> None:
        self._ask(
            "browsingContext.navigate", context=self._tab, url=self.url + path, wait="complete"
        )

    def until(self, script: str) -> Any:
        """The first true value of a script, which is a number, a text, or whether something is."""

        def value() -> Any:
            try:
                return self._evaluate(script).get("value")
            except Refused:  # between two pages there is nothing to ask
                return None

        return eventually(value, script)

    def click(self, selector: str) -> None:
        origin = {"type": "element", "element": self._element(selector)}
        self._act(
            "pointer",
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        )

    def choose(self, selector: str, path: Path) -> None:
        element = self._element(selector)
        self._ask("input.setFiles", context=self._tab, element=element, files=[str(path)])

    def press(self, key: str) -> None:
        """A key by its name, or a letter."""
        value = KEYS.get(key, key)
        self._act("key", *({"type": kind, "value": value} for kind in ("keyDown", "keyUp")))
