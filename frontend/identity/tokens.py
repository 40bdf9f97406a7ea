"""The tokens by which servers and processes of the installation itself are known."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final, Literal

from starlette.datastructures import Headers

from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from telemetry.variables import TOKEN_HEADER

#: What a token is for: to send telemetry to the receiver, or alerts to the webhook.
Use = Literal["otlp", "webhook"]
#: Bytes that a file with a token may have.
TOKEN_BYTES_MAX: Final = 4096


def new_token() -> str:
    """A token for the receiver."""
    return secrets.token_urlsafe(32)


class Tokens:
    """Compares tokens. Without one, nobody has it."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError when the file of one cannot be read."""
        given: dict[Use, str | None] = {
            "otlp": settings.otlp_token.get_secret_value() if settings.otlp_token else None,
            "webhook": _webhook(settings),
        }
        self._digests = {use: _digest(token) for use, token in given.items() if token}

    def known(self, use: Use) -> bool:
        """Whether there is a token for this."""
        return use in self._digests

    def has(self, use: Use, headers: Headers) -> bool:
        """Whether a request has the token of a use: as `Authorization: Bearer`, or as
        `x-damoscope-token`, which leaves the other to whatever stands in front of us."""
        wanted = self._digests.get(use)
        if wanted is None:
            return False
        given = headers.get(TOKEN_HEADER) or bearer(headers) or ""
        return secrets.compare_digest(_digest(given), wanted)


def bearer(headers: Headers) -> str | None:
    """What a request's `Authorization: Bearer` says, if that is its scheme."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def _digest(token: str) -> bytes:
    # Of equal length whatever was sent, so that its comparison tells nothing.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _webhook(settings: Settings) -> str | None:
    if settings.webhook_token is not None:
        return settings.webhook_token.get_secret_value()
    path = settings.webhook_token_file
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            token = file.read(TOKEN_BYTES_MAX).decode().strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"DAMOSCOPE_WEBHOOK_TOKEN_FILE={path}: cannot be read: {error}"
        ) from error
    if not token:
        raise ConfigurationError(f"DAMOSCOPE_WEBHOOK_TOKEN_FILE={path}: is empty")
    return token
