"""The keys of an installation: a file that commands write and every frontend reads.

A key is 256 random bits, so its SHA-256 is all that has to be kept: slow hashes, such as bcrypt,
make guessing dear where people choose passwords, and there is nothing to guess here. Nobody can
get from the file back to a key, and a lookup costs microseconds for each request.

Nothing but the standard library is imported: a host that only runs containers can make keys too.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import secrets
import stat
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from frontend.identity.principal import ROLES, Role
from pipeline.errors import ConfigurationError

log = logging.getLogger("damoscope.frontend")

#: What keys begin with, so that people and scanners of secrets know one when they see it.
PREFIX: Final = "damo_"
SECRET_BYTES: Final = 32
FILE_NAME: Final = "keys.json"
VERSION: Final = 1
NAME_CHARACTERS_MAX: Final = 64
#: Bounds of the file; a key takes some 200 bytes.
KEYS_MAX, FILE_BYTES_MAX = 5000, 4 * 2**20
#: Names that figures use for those that are not told apart.
RESERVED: Final = frozenset({"other", "unknown", "anonymous", "open"})
#: Seconds between two looks at whether the file has changed.
LOOK_S: Final = 1.0


@dataclass(frozen=True)
class Key:
    """What is kept of a key."""

    #: Of this very key: one that is made anew under the same name has another.
    id: str
    name: str
    roles: tuple[Role, ...]
    sha256: str
    created: str
    #: When it stops being of use, in UTC; None is never.
    expires: str | None = None

    def stands(self) -> bool:
        """Whether it has not expired."""
        return self.expires is None or datetime.fromisoformat(self.expires) > datetime.now(UTC)


class Unreadable(Exception):
    """The file is damaged, or cannot be read; the message says what to do."""


def digest(secret: str) -> str:
    """What is kept of a key's secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def find(keys: Iterable[Key], secret: str) -> Key | None:
    """The key of a secret. How long it takes tells nothing: each digest is compared, wholly."""
    wanted, found = digest(secret).encode(), None
    for key in keys:
        if secrets.compare_digest(key.sha256.encode(), wanted):
            found = key
    return found


# -- commands ------------------------------------------------------------------------------------


def add(path: Path, name: str, roles: Iterable[str], days: float | None = None) -> str:
    """Make a key and return its secret, which is kept nowhere. Raises ConfigurationError."""
    name, wanted = _name(name), _roles(roles)
    expires = None
    if days is not None:
        if not 0 < days <= 36500:
            raise ConfigurationError("a key's days are more than 0 and at most 36500")
        expires = _moment(datetime.now(UTC) + timedelta(days=days))
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    key = Key(
        secrets.token_hex(8), name, wanted, digest(secret), _moment(datetime.now(UTC)), expires
    )
    with _changing(path) as keys:
        if any(each.name == name for each in keys):
            raise ConfigurationError(
                f"there is a key of the name {name}; revoke it first: damoscope keys revoke {name}"
            )
        if len(keys) >= KEYS_MAX:
            raise ConfigurationError(f"there are {KEYS_MAX} keys, and no more can be made")
        keys.append(key)
    return secret


def revoke(path: Path, name: str) -> int:
    """Take a key away; frontends that run notice within seconds. Returns how many keys are left.
    Raises ConfigurationError when there is none of this name."""
    with _changing(path) as keys:
        left = [key for key in keys if key.name != unicodedata.normalize("NFC", name)]
        if len(left) == len(keys):
            raise ConfigurationError(f"there is no key of the name {name}; see damoscope keys list")
        keys[:] = left
    return len(left)


def read(path: Path) -> list[Key]:
    """Every key of the file; none where there is no file. Raises Unreadable."""
    try:
        return list(_parsed(path))
    except FileNotFoundError:
        return []


@contextmanager
def _changing(path: Path) -> Iterator[list[Key]]:
    """The keys of the file, alone while the block runs; what is made of them is written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path.parent} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            keys = read(path)
        except Unreadable as error:
            raise ConfigurationError(str(error)) from error
        yield keys
        _write(path, keys)


def _write(path: Path, keys: list[Key]) -> None:
    """Replace the file at once, so that nobody ever reads half of it."""
    text = json.dumps({"version": VERSION, "keys": [asdict(key) for key in keys]}, indent=1)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error


def _name(name: str) -> str:
    """A name that can be shown anywhere, and that no address and no user of a login has."""
    name = unicodedata.normalize("NFC", name)
    good = name[:1].isalpha() and all(each.isalnum() or each in "-_." for each in name)
    if not good or len(name) > NAME_CHARACTERS_MAX:
        raise ConfigurationError(
            f"{name!r} cannot be a key's name: it begins with a letter, goes on with letters, "
            f"digits, '-', '_' or '.', and has {NAME_CHARACTERS_MAX} characters at most"
        )
    if name.lower() in RESERVED:
        raise ConfigurationError(f"{name!r} cannot be a key's name: figures use it for others")
    return name


def _roles(roles: Iterable[str]) -> tuple[Role, ...]:
    given = set(roles)
    if unknown := sorted(given - set(ROLES)):
        raise ConfigurationError(f"there is no role {unknown[0]!r}; there are {', '.join(ROLES)}")
    if not given:
        raise ConfigurationError(f"say what the key may do: --role {'|'.join(ROLES)}")
    return tuple(role for role in ROLES if role in given)


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


# -- reading -------------------------------------------------------------------------------------


def _bytes(path: Path) -> bytes:
    """The file's content. A pipe or a device is not waited for. Raises FileNotFoundError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > FILE_BYTES_MAX:
                raise Unreadable(f"{path} is no file of keys; {_REMEDY}")
            return file.read(FILE_BYTES_MAX)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}; give it to our user") from error


_REMEDY = "put it back from a backup, or remove it and make new keys: damoscope keys add"


def _parsed(path: Path) -> Iterator[Key]:
    content = _bytes(path)
    try:
        data = json.loads(content)
        if data["version"] != VERSION or len(data["keys"]) > KEYS_MAX:
            raise ValueError
        for each in data["keys"]:
            key = Key(**{**each, "roles": _roles(each["roles"])})
            if _name(key.name) != key.name or len(bytes.fromhex(key.sha256)) != 32:
                raise ValueError
            key.stands()
            yield key
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ConfigurationError):
        raise Unreadable(f"{path} is damaged; {_REMEDY}") from None


def _gone(path: Path) -> str:
    return f"{path} is gone; {_REMEDY}"


class KeyRing:
    """The keys that stand now. A file that changes is read again within a second or two."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._keys: list[Key] = []
        self._seen: tuple[int, ...] | None = None
        self._looked: float | None = None
        #: Whether there has been a file, so that it is needed from then on.
        self.present = False
        #: Why nobody gets in by a key now; empty when the file is as it should be.
        self.problem = ""
        self._look()

    def find(self, secret: str) -> Key | None:
        """The key of a secret, if it stands."""
        self._look()
        key = find(self._keys, secret)
        return key if key is not None and key.stands() else None

    def named(self, name: str, id: str) -> Key | None:
        """This very key of a name, if it stands."""
        self._look()
        for key in self._keys:
            if key.name == name and key.id == id:
                return key if key.stands() else None
        return None

    def look(self) -> bool:
        """Whether there is a file of keys, or has been one."""
        self._look()
        return self.present

    def _look(self) -> None:
        now = self._clock()
        if self._looked is not None and now - self._looked < LOOK_S:
            return
        self._looked = now
        try:
            facts = self.path.stat()
            seen: tuple[int, ...] | None = (
                facts.st_mtime_ns, facts.st_ino, facts.st_size, facts.st_dev, facts.st_mode,
                facts.st_uid,
            )  # fmt: skip
        except FileNotFoundError:
            seen = None
        except OSError as error:
            self._lost(f"{self.path} cannot be read: {error.strerror}; give it to our user")
            return
        if seen is None:
            if self.present:
                self._lost(_gone(self.path))
            return
        if seen == self._seen:
            return
        self.present = True
        try:
            self._keys = list(_parsed(self.path))
        except (Unreadable, FileNotFoundError) as error:
            self._lost(str(error) if isinstance(error, Unreadable) else _gone(self.path))
            return
        self._seen = seen
        if self.problem:
            log.info("%s can be read again: %d keys", self.path, len(self._keys))
        self.problem = ""

    def _lost(self, problem: str) -> None:
        """From now on nobody gets in by a key, and the log says so once."""
        self.present = True
        self._keys, self._seen = [], None
        if problem != self.problem:
            log.error("nobody gets in by a key: %s", problem)
        self.problem = problem
