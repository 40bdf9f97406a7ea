"""Whether the service may start as it is told to, and as what: open, or for holders of keys."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from frontend.identity.keys import FILE_NAME
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings

REMEDY = (
    "make a key first, with `damoscope keys add NAME --role admin`, or let everybody in, with "
    "--insecure (DAMOSCOPE_INSECURE=true)"
)


def keys_file(settings: Settings) -> Path:
    """Where the keys are."""
    return settings.keys_file or settings.home / FILE_NAME


def keys_needed(settings: Settings) -> bool:
    """Whether somebody has to say who they are. Raises ConfigurationError when that cannot be
    known: more than this machine reaches the service, and nothing says who may."""
    # Not `exists`, which is true of no file that we may not look at.
    if settings.oidc_issuer is not None or _there(keys_file(settings)):
        return True
    if settings.insecure:
        return False
    if settings.keys_file is not None:
        raise ConfigurationError(
            f"DAMOSCOPE_KEYS_FILE={settings.keys_file}: there is no such file; {REMEDY}"
        )
    if not is_loopback(settings.host):
        raise ConfigurationError(
            f"DAMOSCOPE_HOST={settings.host}: others than this machine could use the service; "
            f"{REMEDY}"
        )
    if not only_here(settings):
        raise ConfigurationError(
            f"DAMOSCOPE_PUBLIC_URL={settings.public_url}: whoever reaches this address could use "
            f"the service; {REMEDY}"
        )
    return False


def only_here(settings: Settings) -> bool:
    """Whether nobody but this machine is meant to reach the service."""
    public = urlsplit(settings.public_url).hostname if settings.public_url else None
    return is_loopback(settings.host) and (public is None or is_loopback(public))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, seen from itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # something is there that we may not look at: never open because of that
    return True
