"""`damoscope report` and the scheduled report: real stores, a real Redis, a real mail server."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from rq.serializers import JSONSerializer

from monitoring.alerts.ledger import Ledger
from monitoring.notify.queue import REPORT, notices
from monitoring.notify.worker import NoticeWorker
from monitoring.reports.schema import Report
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.selection import FILE_NAME
from telemetry import catalogue
from tests.monitoring.readings import Process
from tests.monitoring.receivers import Mailbox
from tests.monitoring.reports.test_build import episode
from tests.servers import RedisProcess, damoscope, eventually


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder in whose store 41 requests are, two of which failed."""
    folder = tmp_path / "home"
    folder.mkdir()
    store, process, at = EmbeddedStore(folder / FILE_NAME), Process(), time.time() - 60
    store.receive_metrics(process.counter(catalogue.REQUESTS, at, 39, outcome="ok", route="api"))
    store.receive_metrics(process.counter(catalogue.REQUESTS, at, 2, outcome="failed", route="api"))
    store.flush()
    store.close()
    return folder


@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_ending(home: Path, tmp_path: Path, language: str) -> None:
    """The file's ending is the format; no service runs, and none is needed."""
    for ending in ("html", "md", "json"):
        found = damoscope(
            "report", "-o", f"report.{ending}", "--days", "2", "--language", language,
            "--home", str(home), folder=tmp_path,
        )  # fmt: skip
        assert found.returncode == 0, found.stderr
        assert f"report.{ending}: 2 days" in found.stdout
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ("服务报告" if language == "zh" else "Service report") in page
    assert "41" in (tmp_path / "report.md").read_text(encoding="utf-8")
    report = Report.model_validate_json((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report.requests == {"ok": 39, "failed": 2}
    assert not report.alerts.known


def test_beside_a_running_redis(home: Path, tmp_path: Path) -> None:
    """The history of alerts comes from the Redis that runs in the data folder."""
    with RedisProcess(home) as redis:
        now = time.time()
        Ledger(redis.client).begin("slow", episode("slow", "warning", now - 600, None))
        found = damoscope("report", "-o", "r.json", "--home", str(home), folder=tmp_path)
    assert found.returncode == 0, found.stderr
    alerts = json.loads((tmp_path / "r.json").read_text())["alerts"]
    assert alerts["known"]
    assert [(each["name"], each["firing"]) for each in alerts["fired"]] == [("slow", True)]


def test_before_there_is_a_store(tmp_path: Path) -> None:
    """A fresh installation gets an empty report, and no store is made for it."""
    found = damoscope("report", "-o", "r.md", "--home", "empty", folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "There is nothing to report yet." in (tmp_path / "r.md").read_text()
    assert not (tmp_path / "empty" / FILE_NAME).exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-o", "report.pdf"], "report.pdf: give a file that ends in .html, .md, .json"),
        (["-o", "report"], "give a file that ends in"),
        (["-o", "r.md", "--language", "fr"], "--language fr: give one of en, zh"),
        (["-o", "missing/r.md"], "missing/r.md cannot be written: No such file or directory"),
        (["-o", "r.md", "--days", "31"], "less than or equal to 30"),
    ],
)
def test_what_cannot_be_done(home: Path, tmp_path: Path, arguments: list[str],
                             complaint: str) -> None:  # fmt: skip
    """One clear line, exit code 2, and no file."""
    found = damoscope("report", *arguments, "--home", str(home), folder=tmp_path)
    assert found.returncode == 2
    assert complaint in found.stderr
    assert "Traceback" not in found.stderr
    assert not list(tmp_path.glob("r*.md"))


def test_prometheus_away(tmp_path: Path) -> None:
    """No figures, no report: exit code 1 and a line that says what is away."""
    found = damoscope(
        "report", "-o", "r.md", folder=tmp_path, DAMOSCOPE_PROMETHEUS_URL="http://127.0.0.1:1"
    )
    assert found.returncode == 1
    assert "Prometheus on 127.0.0.1 cannot be read" in found.stderr
    assert not (tmp_path / "r.md").exists()


def test_sent_by_schedule(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job that the schedule enqueues sends a mail: a summary, and the report as a file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAMOSCOPE_HOME", str(home))
    monkeypatch.setenv("DAMOSCOPE_PUBLIC_URL", "https://phones.example")
    monkeypatch.setenv("DAMOSCOPE_NOTIFY_LANGUAGE", "zh")
    with RedisProcess(home) as redis, Mailbox().running() as mailbox:
        monkeypatch.setenv("DAMOSCOPE_REDIS_URL", redis.url)
        monkeypatch.setenv("DAMOSCOPE_NOTIFY", mailbox.url)
        queue = notices(redis.client)
        queue.enqueue(REPORT, args=(7, "zh"))
        assert queue.serializer is JSONSerializer
        worker = NoticeWorker(redis.client)

        def arrived() -> bool:
            worker.step(1)
            return bool(mailbox.mails)

        eventually(arrived, "the mail")
    (mail,) = mailbox.mails
    assert "服务报告：最近 7 天" in str(mail["subject"])
    (attached,) = mail.iter_attachments()
    assert attached.get_filename() == "damoscope-report.html"
    page = attached.get_payload(decode=True)
    assert isinstance(page, bytes)
    assert "服务报告" in page.decode()
    body = mail.get_body(("plain", "html"))
    assert body is not None
    assert "https://phones.example/report" in body.get_content()
    assert "41" in body.get_content()
