"""Which of the two languages a browser's user reads."""

from __future__ import annotations

from monitoring.messages import Language


def language(accept_language: str | None) -> Language:
    """The language of a browser's `Accept-Language`: by its first entry, as the browser's own
    `navigator.language` has it, so that server and browser agree."""
    first = (accept_language or "").split(",")[0].strip().lower()
    return "zh" if first.split(";")[0].split("-")[0] == "zh" else "en"
