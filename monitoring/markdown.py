"""Text from outside inside Markdown: clients' names, labels, errors, what an alert says."""

from __future__ import annotations

import re

#: Characters that move a terminal's cursor, or turn the direction of what follows.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
#: Of Markdown, of tables, of strike-through; an underscore between letters is none.
_ACTIVE = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)|^[#+=-]")
#: What begins a numbered list.
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
#: What readers turn into a link by themselves.
_ADDRESS = re.compile(r"\b(www)\.|:(?=//)", re.IGNORECASE)


def plain(text: str) -> str:
    """Untrusted text in one line of plain text, without what a terminal would act on."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", re.sub(r"\s+", " ", text).strip())


def escaped(text: str) -> str:
    """Untrusted text in one line, to be read as it is: no markup, no link, no table cell."""
    text = _ACTIVE.sub(r"\\\g<0>", plain(text))
    text = _NUMBERED.sub(r"\1\\\2", text)
    text = _ADDRESS.sub(lambda found: f"{found[1]}\\." if found[1] else "\\:", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
