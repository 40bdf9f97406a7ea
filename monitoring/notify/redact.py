"""Nothing of a channel's address is ever said: texts are cleaned of its parts."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from urllib.parse import unquote

HIDDEN = "***"
#: What stands between the parts of an address.
_BETWEEN = re.compile(r"[\s:/@?&=#,;+]+")
_ADDRESS = re.compile(r"\w+://\S+|[^\s@<>()]+@[\w.-]+")
#: Loggers of Apprise and of what it sends with: they print addresses at their lower levels.
_TALKATIVE = ("urllib3", "requests", "requests_oauthlib", "oauthlib")


def silence_senders() -> None:
    """Keep what Apprise and its libraries log to themselves; we report failures in our words.

    Apprise's records still reach the captures from which `channels` reads why sending failed.
    """
    apprise = logging.getLogger("apprise")
    apprise.propagate = False
    if not apprise.handlers:
        apprise.addHandler(logging.NullHandler())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)


class Redactor:
    """Removes every part of the given addresses, and whatever looks like an address, from texts."""

    def __init__(self, addresses: Iterable[str]) -> None:
        parts = {part for address in addresses for part in _parts(address)}
        # The longest first: a part may be the beginning of another.
        ordered = sorted(parts, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_anywhere, ordered))) if ordered else None

    def clean(self, text: str) -> str:
        """`text` without them."""
        text = _ADDRESS.sub(HIDDEN, text)
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


def _parts(address: str) -> set[str]:
    """The parts of an address, as written and decoded, but for its kind and names of options."""
    _, _, rest = address.partition("://")
    place, _, options = rest.partition("?")
    values = [option.partition("=")[2] for option in options.split("&")]
    texts = [rest, place, *values]
    texts += [unquote(text) for text in texts]
    return {part for text in texts for part in (text, *_BETWEEN.split(text)) if len(part) > 1}


def _anywhere(part: str) -> str:
    """Long parts are found within words, too; short ones would maim ordinary words."""
    return re.escape(part) if len(part) > 7 else rf"(?<!\w){re.escape(part)}(?!\w)"
