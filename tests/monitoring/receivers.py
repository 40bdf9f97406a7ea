"""Where notifications arrive: a real SMTP server and a real HTTP server on free ports."""

from __future__ import annotations

import email
import email.policy
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from tests.servers import free_port

USER, PASSWORD, TOKEN = "robot", "hunter2secret", "t0kent0kent0ken"
#: What must never be seen of the addresses below.
SECRETS = (PASSWORD, TOKEN, "oncall@example.com")


class Mailbox:
    """An SMTP server that wants a login, and what it received."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        #: Called with each mail before it is accepted.
        self.before: Callable[[], None] = lambda: None
        self._controller = Controller(
            self, hostname="127.0.0.1", port=free_port(), auth_require_tls=False,
            authenticator=self._login,
        )  # fmt: skip

    @property
    def url(self) -> str:
        port = self._controller.port
        return (
            f"mailto://{USER}:{PASSWORD}@localhost:{port}"
            f"?smtp=127.0.0.1&from=robot@example.com&to=oncall@example.com&mode=insecure"
        )

    @property
    def subjects(self) -> list[str]:
        return [str(mail["subject"]) for mail in self.mails]

    def _login(self, *args: Any) -> AuthResult:
        right = LoginPassword(USER.encode(), PASSWORD.encode())
        # Not handled: the server itself answers the client.
        return AuthResult(success=args[-1] == right, handled=False)

    async def handle_DATA(self, _: object, __: Session, envelope: Envelope) -> str:  # noqa: N802
        self.before()
        assert isinstance(envelope.content, bytes)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"

    @contextmanager
    def running(self) -> Iterator[Mailbox]:
        self._controller.start()
        try:
            yield self
        finally:
            self._controller.stop()


class Hook:
    """A webhook: `json://` of Apprise posts to it. `answers` are its next statuses, then 200."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.delay_s = 0.0
        #: Bodies of the posts that were answered with 200, and the number of all posts.
        self.accepted: list[dict[str, Any]] = []
        self.posts = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"json://{USER}:{PASSWORD}@127.0.0.1:{self._server.server_address[1]}/in/{TOKEN}"

    @property
    def titles(self) -> list[str]:
        return [body["title"] for body in self.accepted]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                hook.posts += 1
                time.sleep(hook.delay_s)
                status = hook.answers.pop(0) if hook.answers else 200
                if status == 200:
                    hook.accepted.append(body)
                try:
                    self.send_response(status)
                    self.end_headers()
                except OSError:
                    pass  # who posted did not wait for the answer

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    @contextmanager
    def running(self) -> Iterator[Hook]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()
