"""A notice as the text that a channel gets."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from monitoring.markdown import escaped, plain
from monitoring.messages import Language, Message
from monitoring.notify.notice import Notice

#: The page that a notification leads to when it names none itself.
PAGE = "/monitor"
#: Titles in the message that sums up what was held back.
LISTED = 20

_LINK = Message(en="Monitor page: {url}", zh="监控页：{url}")
# `<` before a letter, `/` or `!` would begin HTML, which mail readers would show as such.
_HTML = re.compile(r"<(?=[A-Za-z/!?])(?!https?://)")


def text(message: Message, language: Language) -> str:
    """One of its languages."""
    return message.zh if language == "zh" else message.en


def compose(notice: Notice, language: Language, service_url: str) -> tuple[str, str]:
    """Title (one line) and body (Markdown without HTML, with a link back to the service)."""
    title = plain(text(notice.title, language))
    body = _HTML.sub("&lt;", text(notice.body, language)).strip()
    service = service_url.rstrip("/")
    if f"{service}/" in body:  # a link of the notice's own
        return title, body
    link = text(_LINK, language).format(url=service + PAGE)
    return title, f"{body}\n\n{link}" if body else link


def test_notice() -> Notice:
    """What a person sends to see whether the channels work."""
    return Notice(
        kind="test",
        severity="info",
        title=Message(en="damoscope: test notification", zh="damoscope：测试通知"),
        body=Message(
            en="Notifications of this service reach this channel.",
            zh="本服务的通知可以送达此渠道。",
        ),
    )


def held_back(held: list[tuple[float, Message]], rate: str) -> Notice:
    """The notice that sums up what was held back: (Unix time, title) of each, oldest first."""
    count = len(held)

    def body(language: Language, intro: str, more: str) -> str:
        lines = [
            f"- {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC · "
            + escaped(text(title, language))
            for at, title in held[:LISTED]
        ]
        if count > LISTED:
            lines.append("- " + more.format(count=count - LISTED))
        return intro + "\n\n" + "\n".join(lines)

    return Notice(
        kind="report",
        severity="warning",
        title=Message(
            en=f"damoscope: {count} notification(s) were held back",
            zh=f"damoscope：{count} 条通知被合并",
        ),
        body=Message(
            en=body(
                "en",
                f"There were more than the {rate} that `DAMOSCOPE_NOTIFY_RATE` allows. "
                "Not sent one by one:",
                "and {count} more",
            ),
            zh=body(
                "zh",
                f"通知数量超过了 `DAMOSCOPE_NOTIFY_RATE` 允许的 {rate}，以下通知未逐条发送：",
                "另有 {count} 条",
            ),
        ),
    )
