"""The models that are installed: `NAME/model.onnx` and `NAME/model.json` in a folder.

An entry comes and goes whole: it is made beside its place and renamed into it. Readers need no
lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from models.catalogue import Fraction, Side, catalogue
from models.errors import ModelStoreError
from models.names import checked_name, is_name

MODEL: Final = "model.onnx"
FACTS: Final = "model.json"
#: Of one model.json, in bytes; 80 names take one.
FACTS_MAX: Final = 2**20
#: Entries that are listed; nobody installs more in earnest.
ENTRIES_MAX: Final = 1000
#: Digits of the SHA-256 of a file that are its version.
VERSION_DIGITS: Final = 12


class ModelFacts(BaseModel):
    """What is known of a model, beside its file."""

    model_config = ConfigDict(frozen=True)

    #: Where it is from: an address, or the name of a file.
    source: Annotated[str, Field(max_length=2000)]
    #: As SPDX writes it; empty where nobody said.
    licence: Annotated[str, Field(max_length=200)] = ""
    #: Class names in the order of the scores.
    labels: Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(min_length=1)]
    #: Height and width in pixels.
    input_size: tuple[Side, Side]
    score_threshold: Fraction
    iou_threshold: Fraction
    #: What was looked at when it was installed, and what came of it.
    checked: dict[str, JsonValue] = Field(default_factory=dict)


class StoredFacts(ModelFacts):
    """The same with what the store adds: model.json."""

    name: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=1)]
    added: datetime


@dataclass(frozen=True)
class InstalledModel:
    """An entry of the store."""

    name: str
    file: Path
    facts: StoredFacts

    @property
    def version(self) -> str:
        """What tells two files of one name apart."""
        return self.facts.sha256[:VERSION_DIGITS]

    def verify(self) -> None:
        """Read the file. Raises ModelStoreError when it is not the one that was installed."""
        try:
            found = sha256_of(self.file)
        except OSError as error:
            raise ModelStoreError(f"{self.file} cannot be read: {error.strerror}") from error
        if found != self.facts.sha256:
            raise ModelStoreError(
                f"{self.file} is not the file that was installed (SHA-256 {found[:12]}..., not "
                f"{self.version}...): remove the model and install it again"
            )


@dataclass(frozen=True)
class ModelSource:
    """The file to load, and what is known of it where it has a name."""

    file: Path
    installed: InstalledModel | None = None


class Store:
    """The entries of a folder, which need not be there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Names of all entries, whole or damaged."""
        try:
            found = sorted(each.name for each in self.folder.iterdir() if is_name(each.name))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise ModelStoreError(f"{self.folder} cannot be read: {error.strerror}") from error
        return found[:ENTRIES_MAX]

    def get(self, name: str) -> InstalledModel | None:
        """The entry; None where there is none. Raises ModelStoreError for a damaged one."""
        folder = self.folder / checked_name(name)
        try:
            with (folder / FACTS).open("rb") as file:
                text = file.read(FACTS_MAX + 1)
            size = (folder / MODEL).stat().st_size
        except (FileNotFoundError, NotADirectoryError) as error:
            if not folder.exists():
                return None
            raise _damaged(folder, f"{Path(str(error.filename)).name} is missing") from error
        except OSError as error:
            raise _damaged(folder, str(error.strerror)) from error
        if len(text) > FACTS_MAX:
            raise _damaged(folder, f"{FACTS} has more than {FACTS_MAX:,} bytes")
        try:
            facts = StoredFacts.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise _damaged(folder, f"{FACTS}: {where or 'it'}: {first['msg']}") from error
        if facts.name != name:
            raise _damaged(folder, f"{FACTS} is that of {facts.name!r}")
        if facts.bytes != size:
            raise _damaged(folder, f"{MODEL} has {size:,} bytes, not {facts.bytes:,}")
        return InstalledModel(name, folder / MODEL, facts)

    def add(
        self, name: str, file: Path, facts: ModelFacts, *, replace: bool = False
    ) -> InstalledModel:
        """Install a copy of a checked file.

        Raises ModelStoreError when the name is taken (unless `replace`), or nothing can be written.
        """
        if checked_name(name) in catalogue() and catalogue()[name].bundled_file:
            raise ModelStoreError(f"{name} is the name of a model that ships: choose another")
        with self._locked():
            taken = (self.folder / name).exists()
            if taken and not replace:
                raise ModelStoreError(
                    f"a model {name} is installed: choose another name, or remove it first "
                    f"(damoscope model remove {name})"
                )
            made = self._beside(name)
            try:
                whole = _write(made, name, file, facts)
                if taken:
                    (self.folder / name).rename(made / "before")
                made.rename(self.folder / name)
                _sync(self.folder)
            except BaseException:
                if taken and (made / "before").exists():
                    (made / "before").rename(self.folder / name)
                shutil.rmtree(made, ignore_errors=True)
                raise
        shutil.rmtree(self.folder / name / "before", ignore_errors=True)
        return InstalledModel(name, self.folder / name / MODEL, whole)

    def remove(self, name: str) -> None:
        """Remove an entry, damaged or not. Raises ModelStoreError when there is none."""
        with self._locked():
            folder = self.folder / checked_name(name)
            if not folder.exists():
                raise ModelStoreError(f"no model {name} is installed")
            gone = self._beside(name)
            folder.rename(gone / name)
            shutil.rmtree(gone, ignore_errors=True)

    def resolve(self, model: Path) -> ModelSource:
        """What `DAMOSCOPE_MODEL` or `--model` names: a file, or a model by its name.

        Raises ModelStoreError when it can only be a name, and no such model is installed.
        """
        name = str(model)
        if not is_name(name) or model.is_file():
            return ModelSource(model)
        return self.named(name)

    def named(self, name: str) -> ModelSource:
        """A model by its name: the one that ships, or an installed one. Raises ModelStoreError."""
        known = catalogue().get(checked_name(name))
        if known is not None and known.bundled_file:
            return ModelSource(known.bundled_file)
        if (found := self.get(name)) is not None:
            return ModelSource(found.file, found)
        how = (
            f"fetch it first: damoscope model pull {name}"
            if known is not None
            else "damoscope model list shows those that there are"
        )
        raise ModelStoreError(f"no file, and no model of that name is installed; {how}")

    def _beside(self, name: str) -> Path:
        """A new folder that is no entry. (Not by `tempfile`, which hides it from other users.)"""
        folder = self.folder / f".{name}.{uuid4().hex}"
        folder.mkdir()
        return folder

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time. What cannot be written is a ModelStoreError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / ".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield
        except BlockingIOError:
            raise ModelStoreError(
                f"another command changes {self.folder} at this moment; try again when it has ended"
            ) from None
        except OSError as error:
            what = error.strerror or str(error)
            raise ModelStoreError(f"{self.folder} cannot be written: {what}") from error


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits. Raises OSError."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _write(folder: Path, name: str, file: Path, facts: ModelFacts) -> StoredFacts:
    shutil.copyfile(file, folder / MODEL)
    whole = StoredFacts(
        **facts.model_dump(include=set(ModelFacts.model_fields)),
        name=name,
        sha256=sha256_of(folder / MODEL),
        bytes=(folder / MODEL).stat().st_size,
        added=datetime.now(UTC).replace(microsecond=0),
    )
    text = whole.model_dump_json(indent=2) + "\n"
    if len(text.encode()) > FACTS_MAX:
        raise ModelStoreError(f"what is to be kept of {name} has more than {FACTS_MAX:,} bytes")
    (folder / FACTS).write_text(text, encoding="utf-8")
    for each in (folder / MODEL, folder / FACTS, folder):
        _sync(each)
    return whole


def _sync(path: Path) -> None:
    """Have it on the disk before what follows."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _damaged(folder: Path, why: str) -> ModelStoreError:
    return ModelStoreError(
        f"the model {folder.name} is damaged ({folder}: {why}); remove it and install it again: "
        f"damoscope model remove {folder.name}"
    )
