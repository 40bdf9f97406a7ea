"""Fetches the file of a model: in parts where need be, and only the bytes that are meant.

What has come stays beside the place that it is for until all is there, so that a later try goes on
where this one ended. Proxies and certificates are those of the environment, as `requests` reads it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import requests
import urllib3

from models.errors import ModelStoreError

#: Of one model: what fits into one message of protobuf, and so into an ONNX file.
BYTES_MAX: Final = 2**31 - 1
#: Bytes that are read at a time, and those that tell a file from a page.
BLOCK, HEAD = 2**18, 512
REDIRECTS_MAX: Final = 5
SILENT: Final = "it sends nothing for too long"
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
#: How a pointer of Git LFS begins, and a page.
_POINTER, _PAGE = b"version https://git-lfs.github.com/", (b"<!doctype html", b"<html", b"<?xml")

#: Called with the bytes that are there, and all of them, where that is known.
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Limits:
    """How long a download may take, in seconds, and how often it is begun again after a break."""

    connect_s: float = 15.0
    #: Without a byte.
    silent_s: float = 30.0
    whole_s: float = 3600.0
    tries: int = 4
    pause_s: float = 1.0


class _BrokenOff(Exception):
    """The connection ended before the file did."""


def fetch(
    address: str, file: Path, git_blob: str, progress: Progress, limits: Limits | None = None
) -> None:
    """Have the bytes named by `git_blob` in `file`, from `address`, or from what is there of them.

    Raises ModelStoreError that says what to do. What has come is kept for the next try, unless it
    is not the beginning of what is meant.
    """
    limits = limits or Limits()
    until_s = time.monotonic() + limits.whole_s
    part = file.with_name(f"{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(part) as opened, requests.Session() as session:
            session.max_redirects = REDIRECTS_MAX
            for number in range(limits.tries):
                if number:
                    time.sleep(limits.pause_s)
                before = opened.seek(0, 2)
                try:
                    _go_on(session, address, opened, progress, limits, until_s)
                    break
                except _BrokenOff as error:
                    why = str(error)
                    if opened.seek(0, 2) == before and number:
                        raise _try_again(address, why) from error
            else:
                raise _try_again(address, why)
            opened.flush()
            if git_blob_of(part) != git_blob:
                with part.open("rb") as read:
                    head = read.read(HEAD)
                opened.truncate(0)
                _check_head(head, address)
                raise ModelStoreError(
                    f"{address}: what came is not the file that is meant (its git blob id is not "
                    f"{git_blob}): the server has another one, or somebody on the way changed it. "
                    "It is not kept. Try another mirror, or --from with a file from elsewhere"
                )
            part.rename(file)
    except OSError as error:
        if isinstance(error, requests.RequestException):
            raise ModelStoreError(f"{address}: {_explain(error)}") from error
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "the disk is full; make room, and run it again" if full else error.strerror
        raise ModelStoreError(f"{part} cannot be written: {what}") from error


def check_file(file: Path, git_blob: str) -> None:
    """Raises ModelStoreError unless a file that was had otherwise has the bytes that are meant."""
    try:
        with file.open("rb") as opened:
            _check_head(opened.read(HEAD), str(file))
        found = git_blob_of(file)
    except OSError as error:
        raise ModelStoreError(f"{file} cannot be read: {error.strerror}") from error
    if found != git_blob:
        raise ModelStoreError(
            f"{file} is not the file that is meant: its git blob id is {found}, not {git_blob}. "
            "One of your own is installed by `damoscope model import`"
        )


def git_blob_of(file: Path) -> str:
    """The name that git gives to a file's bytes, in hexadecimal digits. Raises OSError."""
    digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with file.open("rb") as opened:
        while block := opened.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _go_on(
    session: requests.Session,
    address: str,
    part: IO[bytes],
    progress: Progress,
    limits: Limits,
    until_s: float,
) -> None:
    """Fetch what is missing. Raises _BrokenOff, ModelStoreError, or what requests and files do."""
    there = part.seek(0, 2)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
    timeout = limits.connect_s, limits.silent_s
    with _asked(session, address, headers, timeout) as answer:
        if there and answer.status_code == requests.codes.requested_range_not_satisfiable:
            found = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("Content-Range", ""))
            if found and int(found[1]) == there:
                return  # all of it is there
            part.truncate(0)  # it is no part of what the server has
            raise _BrokenOff("the server has another file than before")
        _check_answer(answer, address)
        there, total = _position(answer, there)
        if part.seek(0, 2) != there:
            part.truncate(there)
        if total is not None and total > BYTES_MAX:
            raise ModelStoreError(f"{address}: it has {total:,} bytes, more than any ONNX file")
        progress(there, total)
        try:
            # Whatever has come: to wait for a whole block would give a trickle hours for each.
            while block := answer.raw.read1(BLOCK):
                there += len(block)
                if there > BYTES_MAX:
                    raise ModelStoreError(f"{address}: it has more bytes than any ONNX file")
                part.write(block)
                progress(there, total)
                if time.monotonic() > until_s:
                    raise _try_again(address, f"it took longer than {limits.whole_s:g} s")
        except urllib3.exceptions.ReadTimeoutError as error:
            raise _BrokenOff(SILENT) from error
        except urllib3.exceptions.HTTPError as error:
            raise _BrokenOff("the connection ended before the file did") from error
        finally:
            part.flush()
    if total is not None and there < total:
        raise _BrokenOff(f"the connection ended after {there:,} of {total:,} bytes")


def _asked(
    session: requests.Session, address: str, headers: dict[str, str], timeout: tuple[float, float]
) -> requests.Response:
    """The answer, of which only the header was read. Raises _BrokenOff for what may pass."""
    try:
        return session.get(address, headers=headers, timeout=timeout, stream=True)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _BrokenOff(_explain(error)) from error


def _check_answer(answer: requests.Response, address: str) -> None:
    status = answer.status_code
    if status in (requests.codes.too_many_requests, *range(500, 600)):
        raise _BrokenOff(f"the server answers {status} {answer.reason}")
    if status not in (requests.codes.ok, requests.codes.partial_content):
        raise ModelStoreError(
            f"{address}: the server answers {status} {answer.reason}; check DAMOSCOPE_MODEL_MIRROR "
            "if you set it, or have the file from elsewhere and use --from FILE"
        )
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise _page(answer.url)


def _position(answer: requests.Response, asked: int) -> tuple[int, int | None]:
    """Where the answer begins, and how many bytes there are in all, where the server says so."""
    if answer.status_code == requests.codes.partial_content:
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != asked:
            raise ModelStoreError(f"{answer.url}: the server sends another part than was asked for")
        return asked, int(found[2]) if found[2].isdigit() else None
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _check_head(head: bytes, where: str) -> None:
    if head.startswith(_POINTER):
        raise ModelStoreError(
            f"{where}: this is a pointer of Git LFS, not the file that it stands for; have that by "
            "`git lfs pull`, or from elsewhere, and use --from FILE"
        )
    if head.lstrip().lower().startswith(_PAGE):
        raise _page(where)


def _page(where: str) -> ModelStoreError:
    return ModelStoreError(
        f"{where}: a web page came in place of the file: a login or a proxy's notice, or the page "
        "about the file instead of its raw bytes"
    )


def _try_again(address: str, why: str) -> ModelStoreError:
    return ModelStoreError(
        f"{address}: {why}. Run it again, which goes on where it ended; or set "
        "DAMOSCOPE_MODEL_MIRROR, or HTTPS_PROXY"
    )


def _explain(error: requests.RequestException) -> str:
    match error:
        case requests.exceptions.ProxyError():
            return "the proxy (HTTPS_PROXY, HTTP_PROXY) cannot be used"
        case requests.exceptions.SSLError():
            return "its certificate is not trusted (REQUESTS_CA_BUNDLE names further ones)"
        case requests.ConnectTimeout():
            return "no connection in time"
        case requests.ReadTimeout():
            return SILENT
        case requests.TooManyRedirects():
            return f"it leads on more than {REDIRECTS_MAX} times"
        case requests.ConnectionError():
            return "no connection: its name is not known, or nobody listens there"
    return str(error) or type(error).__name__


@contextmanager
def _alone(part: Path) -> Iterator[IO[bytes]]:
    """What is there of a file, while nobody else adds to it."""
    with part.open("ab") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelStoreError(f"{part}: another command fetches it at this moment") from None
        yield opened
