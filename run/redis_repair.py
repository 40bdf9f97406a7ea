"""What is done about Redis' append-only files when they are damaged, or not all there.

Redis itself takes a file that ends in the middle of a write, and says so in its log. It does not
start on one that is damaged before its end, and starts with nothing where the list of files is
gone. Here the first is cut where the damage begins, with a copy kept, and the list is written anew.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import ConfigurationError
from run.redis_files import FILES, ONE_FILE, RECORD

#: The list of files; `b` is what the others begin from, `i` what came since, `h` no longer counts.
MANIFEST = f"{ONE_FILE}.manifest"
#: Copies that are kept; the oldest goes.
COPIES = 2
#: Seconds for looking through the files: a gigabyte takes a few.
CHECK_S = 600
_LISTED = re.compile(r'file (\S+|"[^"]+") seq (\d+) type ([bih])( \S.*)?')
_NAMED = re.compile(re.escape(ONE_FILE) + r"\.(\d+)\.(base|incr)\.(rdb|aof)")


def complete(folder: Path) -> str:
    """See to it that Redis will not begin with nothing beside files of its own; what was done.

    Raises ConfigurationError when it would, and it cannot be told which files count.
    """
    files = folder / FILES
    found = sorted(
        (int(named[1]), named[2], path.name)
        for path in (files.iterdir() if files.is_dir() else ())
        if (named := _NAMED.fullmatch(path.name)) and path.stat().st_size
    )
    if not found:
        if (folder / RECORD).exists() and not (folder / ONE_FILE).exists():
            return f"Redis' files are gone from {folder}: it begins with nothing"
        return ""
    manifest = files / MANIFEST
    if _is_list(manifest):
        return ""
    bases = [each for each in found if each[1] == "base"]
    if len(bases) > 1:
        names = ", ".join(name for _, _, name in found)
        raise ConfigurationError(
            f"{manifest} is gone or damaged, and which of {names} count cannot be told: put it "
            f"back from a copy, or move {files} to another place to begin with nothing"
        )
    if manifest.exists():
        manifest.rename(_beside(manifest))
    lines = [
        f"file {name} seq {number} type {kind[0]}\n"
        for number, kind, name in bases + [each for each in found if each[1] == "incr"]
    ]
    manifest.write_text("".join(lines), encoding="ascii")
    return f"{manifest} was gone or damaged: it is made anew from the files beside it"


def repair(folder: Path, binary: Path) -> str:
    """Cut the file that was written last where its damage begins; what was lost, empty when it is
    sound. The others cannot be cut: what comes after them would not fit.

    Raises ConfigurationError when it cannot be repaired.
    """
    files, one_file = folder / FILES, folder / ONE_FILE
    target = _newest(files) if files.is_dir() else one_file
    if target is None or not target.exists() or _check(binary, target)[0]:
        return ""
    kept = files if files.is_dir() else one_file
    copy = _beside(kept)
    try:
        if kept.is_dir():
            shutil.copytree(kept, copy)
        else:
            shutil.copy2(kept, copy)
        _drop_old_copies(kept)
    except OSError as error:
        raise ConfigurationError(
            f"{kept} is damaged, and no copy can be kept before it is repaired: {error}; make room"
        ) from error
    before = _bytes(kept)
    is_sound, said = _check(binary, target, fix=True)
    if not is_sound or not _check(binary, target)[0]:
        raise ConfigurationError(
            f"{kept} is damaged and {_checker(binary)} --fix cannot repair it ({said}): put it "
            "back from a copy, or move it to another place to begin with nothing"
        )
    return (
        f"{kept} was damaged: {before - _bytes(kept)} of its {before} bytes, from where the damage "
        f"begins, are lost with the jobs, alerts and notifications in them; a copy of all is in "
        f"{copy.name}"
    )


def _newest(files: Path) -> Path | None:
    """The file that is written to."""
    lines = (files / MANIFEST).read_text(encoding="ascii", errors="replace").splitlines()
    listed = [found for line in lines if (found := _LISTED.fullmatch(line)) and found[3] == "i"]
    return files / listed[-1][1].strip('"') if listed else None


def _is_list(manifest: Path) -> bool:
    """Whether it is one that Redis can read, of files that are there."""
    try:
        lines = manifest.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    listed = [_LISTED.fullmatch(line) for line in lines if not line.startswith("#")]
    return bool(listed) and all(
        found is not None and (found[3] == "h" or (manifest.parent / found[1].strip('"')).exists())
        for found in listed
    )


def _checker(binary: Path) -> str:
    """A server under this name is the tool that checks its files."""
    return "valkey-check-aof" if "valkey" in binary.resolve().name else "redis-check-aof"


def _check(binary: Path, target: Path, *, fix: bool = False) -> tuple[bool, str]:
    """Whether the files are sound, and the last line of what was said."""
    try:
        answer = subprocess.run(
            [_checker(binary), *(["--fix"] if fix else []), str(target)],
            executable=binary, input="y\n" if fix else "", capture_output=True, text=True,
            errors="replace", timeout=CHECK_S, cwd=target.parent, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    said = (answer.stdout + answer.stderr).strip().splitlines()
    return answer.returncode == 0, said[-1] if said else f"exit code {answer.returncode}"


def _bytes(path: Path) -> int:
    each = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in each)


def _beside(path: Path) -> Path:
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return path.with_name(f"{path.name}.damaged-{now}")


def _drop_old_copies(path: Path) -> None:
    for old in sorted(path.parent.glob(f"{path.name}.damaged-*"))[:-COPIES]:
        shutil.rmtree(old) if old.is_dir() else old.unlink()
