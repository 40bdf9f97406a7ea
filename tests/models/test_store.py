"""models.store: entries come and go whole, and damaged ones say so."""

from __future__ import annotations

import fcntl
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from models import BUNDLED
from models.errors import ModelStoreError
from models.store import FACTS_MAX, ModelFacts, Store

CONTENT = b"an ONNX file"


def facts(**changes: Any) -> ModelFacts:
    given = {
        "source": "https://example.org/a.onnx", "licence": "MIT", "labels": ("phone", "手机"),
        "input_size": (64, 96), "score_threshold": 0.4, "iou_threshold": 0.7,
        "checked": {"parity": 0.001},
    }  # fmt: skip
    return ModelFacts.model_validate(given | changes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "var" / "models")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.onnx"
    path.write_bytes(CONTENT)
    return path


def left_over(store: Store) -> list[str]:
    """What lies in the folder beside entries and the lock."""
    return [each.name for each in store.folder.iterdir() if each.name.startswith(".")]


def test_an_entry_comes_and_goes(store: Store, file: Path) -> None:
    """What was added is found with all that was said of it, and is gone once removed."""
    assert store.names() == []
    assert store.get("mine") is None
    added = store.add("mine", file, facts())
    found = Store(store.folder).get("mine")
    assert found == added
    assert found.file == store.folder / "mine" / "model.onnx"
    assert found.file.read_bytes() == CONTENT
    assert found.facts.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert found.version == found.facts.sha256[:12]
    assert found.facts.bytes == len(CONTENT)
    assert found.facts.labels == ("phone", "手机")
    assert found.facts.input_size == (64, 96)
    assert found.facts.checked == {"parity": 0.001}
    found.verify()
    assert store.names() == ["mine"]
    file.unlink()  # it was a copy
    store.remove("mine")
    assert store.names() == []
    assert store.get("mine") is None
    assert left_over(store) == [".lock"]


def test_a_taken_name(store: Store, file: Path) -> None:
    """A second model of one name is refused, or replaces the first where that is asked for."""
    store.add("mine", file, facts())
    file.write_bytes(b"another")
    with pytest.raises(ModelStoreError, match="choose another name, or remove it first"):
        store.add("mine", file, facts())
    again = store.add("mine", file, facts(labels=("cup",)), replace=True)
    assert store.get("mine") == again
    assert again.file.read_bytes() == b"another"
    assert sorted(each.name for each in again.file.parent.iterdir()) == ["model.json", "model.onnx"]
    assert left_over(store) == [".lock"]


def test_the_name_of_the_model_that_ships(store: Store, file: Path) -> None:
    """It stays that model's."""
    with pytest.raises(ModelStoreError, match="is the name of a model that ships"):
        store.add("damoyolo-ns-phone", file, facts())


def test_nothing_is_left_of_what_fails(store: Store, tmp_path: Path) -> None:
    """A file that cannot be copied leaves no entry, and the one that it was to replace."""
    with pytest.raises(ModelStoreError, match="No such file"):
        store.add("mine", tmp_path / "missing.onnx", facts())
    assert store.names() == []
    good = tmp_path / "good.onnx"
    good.write_bytes(CONTENT)
    before = store.add("mine", good, facts())
    with pytest.raises(ModelStoreError, match="No such file"):
        store.add("mine", tmp_path / "missing.onnx", facts(), replace=True)
    assert store.get("mine") == before
    assert left_over(store) == [".lock"]


def test_one_change_at_a_time(store: Store, file: Path) -> None:
    """While another command writes, one is told so; it does not wait for ever."""
    store.folder.mkdir(parents=True)
    with (store.folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ModelStoreError, match="another command changes"):
            store.add("mine", file, facts())
    store.add("mine", file, facts())


def test_where_nothing_can_be_written(tmp_path: Path, file: Path) -> None:
    """A folder that is a file is one clear error."""
    with pytest.raises(ModelStoreError, match="cannot be written"):
        Store(file).add("mine", file, facts())
    assert Store(file).names() == []


def _text(change: Any) -> Any:
    def damage(folder: Path) -> None:
        path = folder / "model.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return damage


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "model.onnx").unlink(), "model.onnx is missing"),
        (lambda folder: (folder / "model.json").unlink(), "model.json is missing"),
        (lambda folder: (folder / "model.json").write_text("{"), "Invalid JSON"),
        (lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe"), "Invalid JSON"),
        (lambda folder: (folder / "model.json").write_text(" " * FACTS_MAX + "{}"), "more than"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"cut"), "has 3 bytes, not 12"),
        (_text(lambda said: said | {"name": "other"}), "is that of 'other'"),
        (_text(lambda said: said | {"labels": []}), "labels"),
        (_text(lambda said: said | {"labels": "phone"}), "labels"),
        (_text(lambda said: said | {"sha256": "x"}), "sha256"),
        (_text(lambda said: said | {"score_threshold": 2}), "score_threshold"),
        (_text(lambda said: said | {"input_size": [64]}), "input_size"),
        (_text(lambda said: [said]), "model.json"),
    ],
)
def test_damaged_entries(store: Store, file: Path, damage: Any, says: str) -> None:
    """Each kind of damage is said, with what to do; such an entry can be removed."""
    store.add("mine", file, facts())
    damage(store.folder / "mine")
    with pytest.raises(ModelStoreError, match=says) as caught:
        store.get("mine")
    assert "damoscope model remove mine" in str(caught.value)
    assert store.names() == ["mine"]
    store.remove("mine")
    assert store.names() == []


def test_another_file_of_the_same_size(store: Store, file: Path) -> None:
    """Is found by its SHA-256 when the file is read."""
    found = store.add("mine", file, facts())
    found.file.write_bytes(CONTENT[::-1])
    with pytest.raises(ModelStoreError, match="is not the file that was installed"):
        found.verify()


def test_what_is_given_is_found(store: Store, file: Path, tmp_path: Path) -> None:
    """A file stays a file; a name is that of the model that ships, or of an installed one."""
    added = store.add("mine", file, facts())
    assert store.resolve(file).file == file
    assert store.resolve(file).installed is None
    assert store.resolve(tmp_path / "missing.onnx").file == tmp_path / "missing.onnx"
    assert store.resolve(Path("mine")).installed == added
    assert store.resolve(Path("damoyolo-ns-phone")).file == BUNDLED
    with pytest.raises(ModelStoreError, match="damoscope model pull damoyolo-s"):
        store.resolve(Path("damoyolo-s"))
    with pytest.raises(ModelStoreError, match="no model of that name is installed"):
        store.resolve(Path("other"))


def test_a_file_stands_before_a_model_of_its_name(
    store: Store, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever named a file before there were names gets it still."""
    store.add("mine", file, facts())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_bytes(b"")
    assert store.resolve(Path("mine")).installed is None


@pytest.mark.parametrize("name", ["", "../mine", "a/b", "Mine", "."])
def test_no_way_out_of_the_folder(store: Store, file: Path, name: str) -> None:
    """Whatever is no name is refused before any file is touched."""
    for call in (store.get, store.remove, lambda each: store.add(each, file, facts())):
        with pytest.raises(ModelStoreError, match="is no name for a model"):
            call(name)


def test_a_link_out_of_the_folder(store: Store, file: Path, tmp_path: Path) -> None:
    """Removing an entry that is a link removes the link, not what it leads to."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_bytes(b"1")
    store.add("mine", file, facts())
    (store.folder / "linked").symlink_to(elsewhere)
    store.remove("linked")
    assert (elsewhere / "kept").exists()
    assert store.names() == ["mine"]
