"""What the variables of OpenTelemetry accept. Each check raises ValueError with the reason."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from importlib.metadata import entry_points
from math import isfinite
from pathlib import Path
from urllib.parse import urlsplit

Check = Callable[[str], None]

#: Those that the SDK makes by itself, of the argument in OTEL_TRACES_SAMPLER_ARG.
SAMPLERS = frozenset(
    f"{parent}{sampler}"
    for parent in ("", "parentbased_")
    for sampler in ("always_on", "always_off", "traceidratio")
)


def anything(_: str) -> None:
    """Whatever it is."""


def one_of(*values: str) -> Check:
    """One of these, in any case."""

    def check(value: str) -> None:
        if value.lower() not in values:
            raise ValueError(f"is none of {', '.join(values)}")

    return check


boolean = one_of("true", "false")


def integer(least: int) -> Check:
    """A whole number."""

    def check(value: str) -> None:
        if not value.lstrip("-").isdecimal():
            raise ValueError("is no whole number")
        if int(value) < least:
            raise ValueError(f"is below {least}")

    return check


def limit(value: str) -> None:
    """A number of things, or `unset` for none."""
    if value.lower() != "unset":
        integer(0)(value)


def port(value: str) -> None:
    """A TCP port."""
    integer(1)(value)
    if int(value) > 65535:
        raise ValueError("is above 65535")


def number_above_0(value: str) -> None:
    """A time."""
    if not (isfinite(_number(value)) and float(value) > 0):
        raise ValueError("is not above 0")


def share(value: str) -> None:
    """A part of all."""
    if not 0 <= _number(value) <= 1:
        raise ValueError("is not within 0 and 1")


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError("is no number") from None


def pairs(value: str) -> None:
    """`name=value`, separated by commas."""
    for pair in value.split(","):
        name, equals, _ = pair.partition("=")
        if pair.strip() and not (name.strip() and equals):
            raise ValueError("is not of the form name=value,name=value")


def endpoint(value: str) -> None:
    """An address of HTTP, or host and port for gRPC."""
    try:
        parts = urlsplit(value if "://" in value else f"//{value}")
        if parts.scheme in ("", "http", "https") and parts.hostname:
            _ = parts.port
            return
    except ValueError:  # a port that is none
        pass
    raise ValueError("is no address such as http://collector:4318")


def readable(value: str) -> None:
    """A file."""
    try:
        Path(value).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error


def authorities(value: str) -> None:
    """A file of certificates, as PEM."""
    readable(value)
    try:
        ssl.create_default_context(cafile=value)
    except ssl.SSLError as error:
        raise ValueError("holds no certificates in PEM") from error


def installed(group: str, *others: str) -> Check:
    """Names, separated by commas, of what packages offer in a group of entry points."""

    def check(value: str) -> None:
        for name in (part.strip() for part in value.split(",")):
            if name.lower() not in others and not entry_points(group=group, name=name):
                offered = sorted(entry_points(group=group).names | set(others))
                raise ValueError(f"{name!r} is none of {', '.join(offered)}")

    return check


def exporters(signal: str) -> Check:
    """`none` and what packages offer: `otlp` and `console` are of the SDK's own."""
    return installed(f"opentelemetry_{signal}_exporter", "none")


def sampler(value: str) -> None:
    """A sampler's name."""
    if value.lower() not in SAMPLERS:
        installed("opentelemetry_traces_sampler")(value)
