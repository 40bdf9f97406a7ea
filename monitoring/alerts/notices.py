"""What is sent to people about an episode, and when: silences and the cooldown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from monitoring.alerts.ledger import Ledger
from monitoring.alerts.rules import Rule
from monitoring.alerts.schema import Episode
from monitoring.alerts.units import shown
from monitoring.markdown import escaped
from monitoring.messages import Message, Severity
from monitoring.notify.notice import Kind, Notice
from pipeline.settings import Settings

_SEVERITY: dict[Severity, Message] = {
    "info": Message(en="Info", zh="提示"),
    "warning": Message(en="Warning", zh="警告"),
    "critical": Message(en="Critical", zh="严重"),
}
_RESOLVED = Message(en="Resolved", zh="已恢复")
_UNMEASURED = Message(
    en="The figure is not measured any more: nobody knows that anything is still wrong.",
    zh="该指标已无法测得：没有迹象表明问题仍然存在。",
)


@dataclass(frozen=True, slots=True)
class Announcer:
    """Sends what is to be sent of an episode. Call it again as long as the episode goes on:
    one that was silenced, or came within the cooldown, is sent when that is over."""

    ledger: Ledger
    cooldown_s: float
    notify: Callable[[Notice], object]
    settings: Settings
    #: Kinds of the channels there are now; None where that is not known here.
    channels: Callable[[], Sequence[str]] | None = None

    def firing(
        self, key: str, episode: Episode, now_s: float, rule: Rule | None = None,
        action: Message | None = None,
    ) -> Episode:  # fmt: skip
        """Send that it fires, unless that was done or may not be done now: to all channels, and
        later to those that came since. Without a channel nothing is sent, nor does it count."""
        if self.ledger.silenced_until(episode.name, now_s) is not None:
            return episode
        kinds = self.channels() if self.channels is not None else None
        if episode.notified:
            if kinds and self.ledger.deliveries.newcomers(episode.id, kinds):
                self._fires(episode, rule, action)
            return episode
        if kinds is not None and not kinds:
            self.ledger.deliveries.nobody(episode.id)
            return episode
        last_s = self.ledger.sent_at(key)
        if last_s is not None and 0 <= now_s - last_s < self.cooldown_s:
            return episode
        if kinds:
            self.ledger.deliveries.newcomers(episode.id, kinds)
        self._fires(episode, rule, action)
        return self.ledger.sent(key, episode, now_s)

    def _fires(self, episode: Episode, rule: Rule | None, action: Message | None) -> None:
        told = notice("firing", episode, self.settings, rule, action)
        self.notify(told.model_copy(update={"about": episode.id}))

    def resolved(
        self, episode: Episode, now_s: float, rule: Rule | None = None, *, unmeasured: bool = False
    ) -> None:
        """Send that it is over, if it was sent that it fires; `unmeasured`: nobody knows more."""
        if episode.notified and self.ledger.silenced_until(episode.name, now_s) is None:
            action = _UNMEASURED if unmeasured else None
            self.notify(notice("resolved", episode, self.settings, rule, action))


@dataclass(frozen=True, slots=True)
class _Words:
    """The lines of a body in one language, to be filled in."""

    was: str
    since: str
    until: str
    value: str
    example: str
    monitor: str


_EN = _Words(
    was="While it fired: {}",
    since="Since: {}",
    until="Until: {}",
    value="Value: {} (worst {}, threshold {} {})",
    example="Example: {}",
    monitor="Alert: {}",
)
_ZH = _Words(
    was="触发时：{}",
    since="开始于：{}",
    until="恢复于：{}",
    value="数值：{}（最差 {}，阈值 {} {}）",
    example="示例链路：{}",
    monitor="告警：{}",
)


def notice(
    kind: Kind,
    episode: Episode,
    settings: Settings,
    rule: Rule | None = None,
    action: Message | None = None,
) -> Notice:
    """An episode in words: title, what to do, figures, and where to look.

    Only what the rules themselves say to do may be Markdown; `action` and the message may come
    from outside.
    """
    name, message = episode.name, episode.message
    said = Message(en=escaped(action.en), zh=escaped(action.zh)) if action else None
    if kind == "resolved":
        title = Message(en=f"{_RESOLVED.en}: {name}", zh=f"{_RESOLVED.zh}：{name}")
        first = Message(
            en=_EN.was.format(escaped(message.en)), zh=_ZH.was.format(escaped(message.zh))
        )
    else:
        word = _SEVERITY[episode.severity]
        title = Message(
            en=f"{word.en}: {name}: {message.en}", zh=f"{word.zh}：{name}：{message.zh}"
        )
        first = Message(en="", zh="")
        if rule is not None and rule.action is not None:
            said = rule.text(rule.action, episode.value)
    return Notice(
        kind=kind,
        severity=episode.severity,
        title=title,
        body=Message(
            en=_body(_EN, first.en, said.en if said else "", episode, settings, rule),
            zh=_body(_ZH, first.zh, said.zh if said else "", episode, settings, rule),
        ),
    )


def _body(
    words: _Words, first: str, action: str, episode: Episode, settings: Settings, rule: Rule | None
) -> str:
    lines = [words.since.format(_time(episode.pending_at))]
    if episode.resolved_at is not None:
        lines.append(words.until.format(_time(episode.resolved_at)))
    if rule is not None and episode.value is not None:
        value, worst, threshold = (
            shown(number, rule.figure.unit)
            for number in (episode.value, episode.worst, rule.threshold)
        )
        lines.append(words.value.format(value, worst, rule.comparison, threshold))
    if episode.example_trace_id is not None:
        lines.append(words.example.format(trace_link(settings, episode.example_trace_id)))
    if settings.public_url is not None:
        lines.append(words.monitor.format(alert_link(settings.public_url, episode.name)))
    paragraphs = [first, action, "\n".join(f"- {line}" for line in lines)]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def alert_link(public_url: str, name: str) -> str:
    """Where an alert is seen on the Monitor page."""
    return f"{public_url.rstrip('/')}/monitor?alert={quote(name, safe='')}"


def trace_link(settings: Settings, trace_id: str) -> str:
    """Where a trace can be seen; its id alone where no address is known."""
    if settings.public_url is not None:
        return f"{settings.public_url.rstrip('/')}/traces?trace={trace_id}"
    if settings.jaeger_ui_url is not None:
        return f"{settings.jaeger_ui_url.rstrip('/')}/trace/{trace_id}"
    return trace_id


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
