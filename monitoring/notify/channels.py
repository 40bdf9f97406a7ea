"""Where notifications go: the channels that the settings name as Apprise URLs.

A channel is known by its kind (`mailto`, `dingtalk`, `slack`, `json` ...) and its position,
never by its address: an address holds secrets and appears in no text that leaves this module.
"""

from __future__ import annotations

import logging
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import apprise
from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType
from apprise.attachment.memory import AttachMemory
from apprise.plugins import NotifyBase

from monitoring.markdown import escaped
from monitoring.notify import message
from monitoring.notify.notice import Notice
from monitoring.notify.redact import Redactor, silence_senders
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings

log = logging.getLogger("damoscope.alerts")

_SEVERITIES = {
    "info": NotifyType.INFO,
    "warning": NotifyType.WARNING,
    "critical": NotifyType.FAILURE,
}
_KIND = re.compile(r"^([A-Za-z0-9]+)://")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of one notice on one channel. `error` is free of secrets, empty when ok."""

    kind: str
    ok: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Channel:
    kind: str
    service: NotifyBase
    redactor: Redactor


class Channels:
    """The channels of the settings, in their order: those of `notify`, then of `notify_file`."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError that names an unusable address by position and kind."""
        silence_senders()
        self._language = settings.notify_language
        self._service_url = settings.public_url or settings.base_url
        # Inline and without a time limit of its own: who calls sets one, and no thread is left.
        self._asset = AppriseAsset(
            app_id="damoscope",
            app_desc="damoscope notifications",
            app_url=self._service_url,
            async_mode=False,
            service_timeout=0,
            storage_mode="memory",
            pgp_autogen=False,
            pem_autogen=False,
        )
        self._channels = [self._open(source, n, url) for source, n, url in _addresses(settings)]

    def _open(self, source: str, number: int, address: str) -> _Channel:
        scheme = _KIND.match(address)
        kind = scheme[1].lower() if scheme and scheme[1].lower() in _known_kinds() else ""
        service = Apprise.instantiate(address, asset=self._asset) if kind else None
        if not isinstance(service, NotifyBase):
            what = f"is no usable {kind}:// address" if kind else "is of no kind that is known"
            raise ConfigurationError(
                f"{source}: address {number} {what}; see docs/notifications.md for how to write it"
            )
        return _Channel(_plain_kind(service) or kind, service, Redactor([address]))

    @property
    def kinds(self) -> list[str]:
        """Kind of each channel, such as `mailto`."""
        return [channel.kind for channel in self._channels]

    def send(self, notice: Notice) -> list[Attempt]:
        """Send to every channel at once; one that fails or is slow does not stop the others."""
        if not self._channels:
            return []
        with ThreadPoolExecutor(len(self._channels), "notify") as pool:
            return list(pool.map(lambda n: self.send_to(n, notice), range(len(self._channels))))

    def send_to(self, index: int, notice: Notice) -> Attempt:
        """Send to one channel. Never raises for what the channel does."""
        channel = self._channels[index]
        title, body = message.compose(notice, self._language, self._service_url)
        files = [AttachMemory(a.text, a.name, a.media_type) for a in notice.attachments]
        if channel.service.title_maxlen <= 0:
            title = escaped(title)  # becomes a part of the body, which is Markdown
        sender = Apprise(asset=self._asset)
        sender.add(channel.service)
        try:
            result = sender.notify(
                title=title,
                body=body,
                body_format=NotifyFormat.MARKDOWN,
                notify_type=_notify_type(notice),
                attach=files if files and channel.service.attachment_support else None,
            )
        except Exception as error:
            # The kind of error alone: its text may hold the address.
            return Attempt(channel.kind, ok=False, error=type(error).__name__)
        # Not the result itself: `optional=yes` in an address makes it true whatever happened.
        tries = [attempt for service in result for attempt in service.attempts]
        if any(tries):
            return Attempt(channel.kind, ok=True)
        said = [entry.message for attempt in tries for entry in attempt.logs]
        why = channel.redactor.clean(said[-1]) if said else "not accepted"
        return Attempt(channel.kind, ok=False, error=" ".join(why.split())[:300])


class Kinds:
    """The kinds of the channels there are now, as `notify_file` has them: cheap to ask for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._addresses: list[tuple[str, int, str]] | None = None
        self._kinds: list[str] = []

    def __call__(self) -> list[str]:
        """Those known last while the file cannot be read or used; its jobs say why."""
        try:
            addresses = _addresses(self._settings)
            if addresses != self._addresses:
                self._kinds, self._addresses = Channels(self._settings).kinds, addresses
        except ConfigurationError as error:
            log.debug("the channels cannot be read: %s", error)
        return self._kinds


@cache
def _known_kinds() -> frozenset[str]:
    """All kinds of addresses there are; asking imports Apprise's plugins."""
    with warnings.catch_warnings():
        # Its mail plugin looks for a module that Python 3.13 has no more, and copes.
        warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
        return frozenset(apprise.NotificationManager().schemas())


def _notify_type(notice: Notice) -> NotifyType:
    if notice.kind == "resolved":
        return NotifyType.SUCCESS
    return _SEVERITIES[notice.severity] if notice.kind == "firing" else NotifyType.INFO


def _plain_kind(service: NotifyBase) -> str:
    """The kind without the `s` of its encrypted form."""
    plain = service.protocol or service.secure_protocol or ""
    return str(plain if isinstance(plain, str) else next(iter(plain), ""))


def _addresses(settings: Settings) -> list[tuple[str, int, str]]:
    """(setting, position in it from 1, address) of each channel."""
    given = settings.notify.get_secret_value().split() if settings.notify else []
    found = [("DAMOSCOPE_NOTIFY", number, url) for number, url in enumerate(given, 1)]
    if settings.notify_file is None:
        return found
    name = f"DAMOSCOPE_NOTIFY_FILE={settings.notify_file}"
    try:
        lines = settings.notify_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"{name}: cannot be read: {reason}") from None
    urls = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return found + [(name, number, url) for number, url in enumerate(urls, 1)]
