"""Channels against a real SMTP server and a real HTTP receiver; addresses stay secret."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from monitoring.messages import Message
from monitoring.notify import command
from monitoring.notify.channels import Channels
from monitoring.notify.message import compose, held_back
from monitoring.notify.message import test_notice as make_test_notice
from monitoring.notify.notice import Attachment, Kind, Notice
from monitoring.notify.redact import Redactor
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from tests.monitoring.receivers import PASSWORD, SECRETS, TOKEN, Hook, Mailbox
from tests.paths import ROOT
from tests.servers import damoscope, free_port


def notice(kind: Kind = "firing", **fields: object) -> Notice:
    given = {
        "kind": kind,
        "severity": "critical",
        "title": Message(en="Latency is high", zh="延迟过高"),
        "body": Message(en="p95 is **1.2 s** (> 1 s)", zh="p95 为 **1.2 秒**（> 1 秒）"),
    }
    return Notice.model_validate(given | fields)


def settings(*urls: str, **fields: object) -> Settings:
    return Settings(notify=" ".join(urls) or None, **fields)  # type: ignore[arg-type]


def html(mailbox: Mailbox, index: int = 0) -> str:
    part = mailbox.mails[index].get_body(("html",))
    assert part is not None
    return str(part.get_content())


@pytest.mark.parametrize("kind", ["firing", "resolved"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_notice_arrives_by_mail_and_webhook(
    mailbox: Mailbox, hook: Hook, kind: Kind, language: str
) -> None:
    """Title, body and the link back arrive on both, in the language of the settings."""
    channels = Channels(
        settings(mailbox.url, hook.url, notify_language=language, public_url="https://d.example/x/")
    )
    assert channels.kinds == ["mailto", "json"]
    assert [delivery.ok for delivery in channels.send(notice(kind))] == [True, True]
    title = {"en": "Latency is high", "zh": "延迟过高"}[language]
    assert mailbox.subjects == hook.titles == [title]
    for text in (html(mailbox), hook.accepted[0]["message"]):
        assert {"en": "1.2 s", "zh": "1.2 秒"}[language] in text
        assert "https://d.example/x/monitor" in text
    assert "<strong>1.2" in html(mailbox)
    assert hook.accepted[0]["type"] == {"firing": "failure", "resolved": "success"}[kind]


def test_a_report_brings_its_file(mailbox: Mailbox) -> None:
    """An attachment goes with the mail, whole and under its name."""
    page = "<html>报告</html>"
    file = Attachment(name="report.html", media_type="text/html", text=page)
    Channels(settings(mailbox.url)).send(notice("report", attachments=[file]))
    (attached,) = mailbox.mails[0].iter_attachments()
    assert attached.get_filename() == "report.html"
    assert attached.get_content_type() == "text/html"
    content = attached.get_payload(decode=True)
    assert isinstance(content, bytes)
    assert content.decode() == page


def test_a_dead_channel_does_not_stop_the_others(mailbox: Mailbox, hook: Hook) -> None:
    """Each channel is tried by itself, and says why it failed without its address."""
    hook.answers = [500]
    dead = f"json://127.0.0.1:{free_port()}/t0kent0kent0ken"
    first, second, third = Channels(settings(dead, hook.url, mailbox.url)).send(notice())
    assert (first.kind, first.ok) == ("json", False)
    assert (second.kind, second.ok) == ("json", False)
    assert "error=500" in second.error
    assert (third.kind, third.ok, third.error) == ("mailto", True, "")
    assert mailbox.subjects == ["Latency is high"]


def test_optional_in_an_address_hides_no_failure(hook: Hook) -> None:
    """Apprise counts a failed `optional=yes` as sent; we do not."""
    hook.answers = [500]
    (delivery,) = Channels(settings(hook.url + "?optional=yes")).send(notice())
    assert not delivery.ok


def test_addresses_are_said_nowhere(hook: Hook, mailbox: Mailbox, tmp_path: Path) -> None:
    """No log line of any level, no error and no output holds a part of an address."""
    hook.answers = [500]
    wrong = mailbox.url.replace(PASSWORD, "an0thersecret")
    given = " ".join([hook.url, wrong, f"json://127.0.0.1:{free_port()}/{TOKEN}", mailbox.url])
    answer = damoscope(
        "alerts", "test", folder=tmp_path, DAMOSCOPE_NOTIFY=given, DAMOSCOPE_LOG_LEVEL="debug"
    )
    assert [line.split(":")[0] for line in answer.stdout.splitlines()] == [
        "1 json", "2 mailto", "3 json", "4 mailto",
    ]  # fmt: skip
    assert answer.stdout.endswith("4 mailto: sent\n")
    assert answer.returncode == 1
    hidden = (*SECRETS, "an0thersecret")
    assert [part for part in hidden if part in repr(settings(given))] == []
    seen = answer.stdout + answer.stderr
    assert [part for part in (*hidden, "127.0.0.1", "robot") if part in seen] == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("slack://hunter2secret", "address 2 is no usable slack:// address"),
        ("hunter2secret://t0kent0kent0ken", "address 2 is of no kind that is known"),
        ("hunter2secret", "address 2 is of no kind that is known"),
    ],
)
def test_an_unusable_address_is_named_by_its_position(url: str, said: str, tmp_path: Path) -> None:
    """One clear error: which setting, which address, which kind, but not the address."""
    answer = damoscope(
        "alerts", "test", folder=tmp_path, DAMOSCOPE_NOTIFY=f"json://localhost {url}",
        DAMOSCOPE_LOG_LEVEL="debug",
    )  # fmt: skip
    assert answer.returncode == 2
    assert f"damoscope: DAMOSCOPE_NOTIFY: {said}" in answer.stderr
    assert "hunter2" not in answer.stderr
    assert "t0ken" not in answer.stderr


def test_addresses_in_a_file(tmp_path: Path, hook: Hook) -> None:
    """One a line, with comments, after those of the other setting; a missing file is named."""
    file = tmp_path / "notify"
    file.write_text(
        f"# on call\n\n{hook.url}\nslack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ\n"
    )
    channels = Channels(settings("json://localhost", notify_file=file))
    assert channels.kinds == ["json", "json", "slack"]
    with pytest.raises(ConfigurationError, match=r"DAMOSCOPE_NOTIFY_FILE=.*none: cannot be read"):
        Channels(settings(notify_file=tmp_path / "none"))


def test_without_channels(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is sent anywhere, and the test command says what to set."""
    assert Channels(settings()).send(notice()) == []
    with pytest.raises(ConfigurationError, match="DAMOSCOPE_NOTIFY"):
        command.test(settings())


def test_the_test_command(hook: Hook, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints a line for each channel, and is true when all took the notice."""
    assert command.test(settings(hook.url))
    assert capsys.readouterr().out == "1 json: sent\n"
    hook.answers = [403]
    assert not command.test(settings(hook.url))
    assert "1 json: not sent: " in capsys.readouterr().out


def test_a_channel_that_hangs_is_given_up(hook: Hook) -> None:
    """A receiver that accepts a connection and then says nothing costs seconds, not forever."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"json://127.0.0.1:{mute.getsockname()[1]}/?rto=0.2"
        first, second = Channels(settings(url, hook.url)).send(notice())
    assert (first.ok, second.ok) == (False, True)


def test_titles_are_one_line_and_bodies_hold_no_html() -> None:
    """A line break would end a mail's header, and `<` would begin a tag."""
    text = Message(en="a\r\nBcc: x@y", zh="")
    body = Message(en="<b>x</b> 1 < 2 <https://h/x>", zh="")
    title, shown = compose(notice(title=text, body=body), "en", "http://h")
    assert title == "a Bcc: x@y"
    assert shown.startswith("&lt;b>x&lt;/b> 1 < 2 <https://h/x>\n\n")


def test_a_link_of_its_own_is_enough() -> None:
    """The link to the Monitor page is added only where there is no other to the service."""
    body = Message(en="[report](http://h/report)", zh="")
    assert compose(notice(body=body), "en", "http://h/")[1] == body.en
    other = "[report](http://h/report)\n\nMonitor page: http://other/monitor"
    assert compose(notice(body=body), "en", "http://other")[1] == other


def test_the_examples_of_the_documentation() -> None:
    """Each address in docs/notifications.md is one that Apprise takes, of the kind that it says."""
    page = (ROOT / "docs" / "notifications.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| `([^`]+)` \|$", page, re.MULTILINE)
    assert len(rows) >= 8
    for kind, address in rows:
        assert Channels(settings(address)).kinds == [kind]


def test_the_summary_of_what_was_held_back() -> None:
    """It lists the first titles with their times, and counts the others."""
    summary = held_back([(0.0, Message(en=f"alert {n}", zh="警报")) for n in range(25)], "1/hour")
    assert summary.title.en == "damoscope: 25 notification(s) were held back"
    assert "- 1970-01-01 00:00 UTC · alert 0\n" in summary.body.en
    assert "alert 20" not in summary.body.en
    assert summary.body.en.endswith("- and 5 more")
    assert summary.body.zh.endswith("- 另有 5 条")


def test_redacting_leaves_words_whole() -> None:
    """Short parts are removed as words only, long ones wherever they are."""
    redactor = Redactor(["json://us:p%40ss@host.example/abcdefghij?x=1"])
    assert redactor.clean("bus us p@ss xabcdefghijx") == "bus *** *** x***x"
    assert redactor.clean("at http://other/x and a@b.com") == "at *** and ***"
    assert Redactor([]).clean("as it is") == "as it is"


def test_the_test_notice_is_bilingual() -> None:
    """Both languages, and no more than a word to people."""
    assert make_test_notice().title.zh
    assert make_test_notice().severity == "info"
