"""What a client prefers, by the field `Prefer` (RFC 7240)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

#: Characters of the field, all its lines together, that are read. Nothing of ours needs as many.
CHARACTERS_MAX = 1000

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PREFERENCE = re.compile(
    rf"\s*(?P<name>{_TOKEN})(?:\s*=\s*(?P<value>{_TOKEN}|{_QUOTED}))?"
    rf"(?P<parameters>(?:\s*;(?:\s*{_TOKEN}(?:\s*=\s*(?:{_TOKEN}|{_QUOTED}))?)?)*)\s*"
)
#: The members of the list: commas within quotation marks part nothing.
_MEMBER = re.compile(rf"(?:{_QUOTED}|[^,])+")


@dataclass(frozen=True)
class Preferences:
    """Those that are known here; all others are to be ignored."""

    #: An answer at once, or when `wait_s` is over, rather than the result.
    respond_async: bool = False
    #: Whole seconds for which the client wants to wait.
    wait_s: int | None = None


def read(lines: Iterable[str]) -> Preferences:
    """What all lines of the field say together. What cannot be read counts as absent, and of what
    is given twice the first counts: RFC 7240, 2."""
    found: dict[str, str] = {}
    for member in _MEMBER.findall(", ".join(lines)[:CHARACTERS_MAX]):
        if preference := _PREFERENCE.fullmatch(member):
            found.setdefault(preference["name"].lower(), _plain(preference["value"] or ""))
    # An empty value is no value (2), and this one has none.
    respond_async = found.get("respond-async") == ""
    wait = found.get("wait", "")
    return Preferences(respond_async, int(wait) if re.fullmatch(r"[0-9]{1,9}", wait) else None)


def _plain(value: str) -> str:
    if value.startswith('"'):
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value
