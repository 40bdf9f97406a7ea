"""Roles: what each may do, whose jobs are whose, and under which name somebody is counted."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.security.guarded import IMAGE, JPEG, Guarded
from tests.servers import eventually

#: Some address of each kind -> who may; the whole table is asked in tests/frontend/identity.
ADDRESSES = {
    ("GET", "/api/v1/stats"): {"board", "owner", "考场-3"},
    ("GET", "/api/v1/report"): {"board", "owner", "考场-3"},
    ("GET", "/api/v1/models"): {"board", "owner", "考场-3"},
    ("POST", "/api/v1/models/use"): {"owner"},
    ("GET", "/pages/traces"): {"board", "owner", "考场-3"},
    ("GET", "/monitor"): {"board", "owner", "考场-3"},
    ("GET", "/"): {"camera-1", "owner", "考场-3"},
    ("POST", "/gradio_api/run/predict"): {"camera-1", "owner", "考场-3"},
    ("POST", "/gradio_api/upload"): {"camera-1", "owner", "考场-3"},
    ("POST", "/api/v1/alerts/test"): {"owner"},
    ("POST", "/api/v1/alerts/silences"): {"owner"},
    ("GET", "/docs"): {"camera-1", "board", "owner", "考场-3"},
    ("GET", "/openapi.json"): {"camera-1", "board", "owner", "考场-3"},
}


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_each_role(guarded: Guarded, method: str, path: str) -> None:
    """401 for strangers, 403 for those without the role, neither for the others."""
    with guarded.client() as stranger:
        assert stranger.request(method, path).status_code == 401
    for name in ("camera-1", "board", "owner", "考场-3"):
        with guarded.as_(name) as client:
            status = client.request(method, path).status_code
        allowed = name in ADDRESSES[method, path]
        assert (status not in (401, 403)) == allowed, (name, status)
        assert allowed or status == 403


def submitted(client: httpx.Client) -> str:
    answer = client.post(
        "/api/v1/detect", content=IMAGE, headers=JPEG | {"prefer": "respond-async"}
    )
    assert answer.status_code == 202, answer.text
    return str(answer.headers["location"])


def test_jobs_are_their_senders(guarded: Guarded) -> None:
    """The sender finds its job, and `admin` finds every job; for other keys there is none, in the
    very words in which there is none that never was."""
    with guarded.as_("camera-1") as one, guarded.as_("camera-2") as other:
        job = submitted(one)
        eventually(lambda: one.get(job).json()["status"] == "finished", "the job is done")
        refused, never = other.get(job), other.get(f"/api/v1/jobs/{'0' * 32}")
        assert refused.status_code == never.status_code == 404
        name = job.rpartition("/")[2]
        assert refused.text.replace(name, "") == never.text.replace("0" * 32, "")
        assert "owner" not in one.get(job).json()
    with guarded.as_("owner") as admin:
        assert admin.get(job).json()["status"] == "finished"
    with guarded.as_("board") as reader:
        assert reader.get(job).status_code == 403


def test_a_key_is_the_client_everywhere(guarded: Guarded) -> None:
    """In its trace, in the metrics and in the report; a forged address changes nothing."""
    with guarded.as_("考场-3") as client:
        answer = client.post(
            "/api/v1/detect", content=IMAGE, headers=JPEG | {"x-forwarded-for": "203.0.113.9"}
        )
        assert answer.status_code == 200
    spans = guarded.trace(answer.headers["x-trace-id"], 8)
    (root,) = (span for span in spans if span["name"] == "POST /api/v1/detect")
    assert root["attributes"]["enduser.id"] == "考场-3"
    with guarded.as_("board") as reader:

        def counted() -> list[Any]:
            clients = reader.get("/api/v1/report", params={"days": 1}).json()["clients"]
            return [each for each in clients if "考场-3" in str(each)]

        eventually(lambda: counted(), "the key's name in the report")


def test_probes_need_no_key(guarded: Guarded) -> None:
    """/healthz and /readyz answer everybody; only who has a key is told how many workers."""
    with guarded.client() as stranger, guarded.as_("camera-1") as known:
        assert stranger.get("/healthz").json() == {"status": "ok"}
        assert stranger.get("/readyz").json() == {"status": "ready"}
        assert known.get("/readyz").json() == {"status": "ready", "workers": 1}


def test_pages_are_told_what_to_show(guarded: Guarded) -> None:
    """The header asks for name and roles."""
    with guarded.as_("board") as reader:
        found = reader.get("/pages/status").json()
    assert (found["name"], found["roles"], found["session"]) == ("board", ["read"], False)
