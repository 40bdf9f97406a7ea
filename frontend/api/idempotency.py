"""The field `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a string of RFC 8941."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.errors import MalformedRequest

FIELD = "idempotency-key"
#: Characters of a key, and of the field.
CHARACTERS_MAX, FIELD_MAX = 255, 1000
#: As a pattern of JSON Schema, for OpenAPI.
PATTERN = rf'^"([ !#-\[\]-~]|\\["\\]){{1,{CHARACTERS_MAX}}}"$'

_BARE = r'(?:"(?:[ !#-\[\]-~]|\\["\\])*"|[^\s";,]+)'
#: Parameters are allowed after any string, and mean nothing here.
_STRING = re.compile(
    r' *"(?P<key>(?:[ !#-\[\]-~]|\\["\\])*)"'
    rf"(?: *; *[a-z*][a-z0-9_.*-]*(?:={_BARE})?)* *"
)


def read(lines: Sequence[str]) -> str | None:
    """The key that the lines of the field give; None without one. Raises MalformedRequest."""
    if not lines:
        return None
    alone = len(lines) == 1 and len(lines[0]) <= FIELD_MAX
    found = _STRING.fullmatch(lines[0]) if alone else None
    key = re.sub(r"\\(.)", r"\1", found["key"]) if found else ""
    if not 1 <= len(key) <= CHARACTERS_MAX:
        raise MalformedRequest(
            f"Idempotency-Key: send one string of 1 to {CHARACTERS_MAX} ASCII characters in "
            'quotation marks, such as "8e03978e-40d5-43e8-bc93-6894a57f9324"'
        )
    return key
