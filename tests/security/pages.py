"""What a script sends that does as the pages do, or as they never would."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Self

import httpx

from frontend.api.problems import MEDIA_TYPE
from tests.servers import Service

#: Of the service that these tests share.
UPLOADS_BYTES = 100 * 2**20
RATE = "300/minute"

PAGES = ("/", "/monitor", "/traces", "/report", "/model")
RUN = "/gradio_api/run/predict"


class Browser:
    """A client that has opened the Detect page, and so has a name."""

    def __init__(self, service: Service, **options: Any) -> None:
        self.client = httpx.Client(base_url=service.url, timeout=60, trust_env=False, **options)
        self.client.get("/").raise_for_status()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def config(self, page: str = "/") -> dict[str, Any]:
        """What Gradio's script is told of a page."""
        found = re.search(
            r"window.gradio_config = ({.*?});</script>", self.client.get(page).text, re.S
        )
        assert found
        return dict(json.loads(found[1]))

    def events(self) -> list[dict[str, Any]]:
        """Every registered event of every page, once."""
        every = {
            event["id"]: event for page in PAGES for event in self.config(page)["dependencies"]
        }
        return [every[number] for number in sorted(every)]

    def handled(self) -> list[dict[str, Any]]:
        """The events that the service handles."""
        return [event for event in self.events() if event["backend_fn"]]

    def upload(self, *files: bytes, name: str = "photo.jpg") -> list[str]:
        """Ids of what was uploaded."""
        given = [("files", (name, data, "image/jpeg")) for data in files]
        answer = self.client.post("/gradio_api/upload", files=given)
        assert answer.status_code == 200, answer.text
        return [str(each) for each in answer.json()]

    def event(self, number: Any, data: Any, address: str = RUN, **more: Any) -> httpx.Response:
        body = {"fn_index": number, "data": data, "session_hash": "abc", "event_data": None} | more
        return self.client.post(address, json=body)

    def detect(self, upload_id: str) -> str:
        """HTML of the result of one image."""
        number = next(e["id"] for e in self.handled() if len(e["inputs"]) == 5)
        answer = self.event(number, [upload_id, 0.3, 0.6, "", ""])
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"][0])

    def begin_batch(self, upload_ids: Sequence[str]) -> str:
        """HTML of a batch that has begun."""
        number = next(
            event["id"] for event in reversed(self.handled()) if len(event["inputs"]) == 5
        )
        answer = self.event(number, [" ".join(upload_ids), 0.3, 0.6, "", ""])
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"][0])


def is_refused(answer: httpx.Response) -> bool:
    """Whether an answer is a problem document that blames the client."""
    return 400 <= answer.status_code < 500 and answer.headers["content-type"] == MEDIA_TYPE
