"""run.models.command: `damoscope model list | info | remove`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models import BUNDLED
from models.catalogue import catalogue
from models.store import ModelFacts, Store
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from run import checks
from run.cli import app, main
from tests.servers import RedisProcess, damoscope, eventually, worker
from tests.worker.onnx_models import SIZE, Export

SHIPPED = "damoyolo-ns-phone"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a model of three classes, `mine`."""
    monkeypatch.setenv("DAMOSCOPE_HOME", str(tmp_path))
    monkeypatch.delenv("REDIS_URL", raising=False)
    install(tmp_path)
    return tmp_path


def install(home: Path, name: str = "mine", **export: Any) -> None:
    """A small model of three classes, with labels and thresholds that its file does not have."""
    home.mkdir(exist_ok=True)
    file = Export(**export).save(home / "export.onnx")
    said = ModelFacts(
        source="export.onnx", labels=("cup", "phone", "person"), input_size=(SIZE, SIZE),
        score_threshold=0.37, iou_threshold=0.61,
    )  # fmt: skip
    Store(home / "models").add(name, file, said)


def command(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, and what was printed."""
    code = 0
    try:
        main(lambda: app(["model", *words], standalone_mode=False))
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    code, out, _ = command("list", "--json", capsys=capsys)
    assert code == 0
    return {row["name"]: row for row in json.loads(out)["models"]}


def test_list(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What ships, what is installed, what can be fetched; and that nothing is known to run."""
    rows = listed(capsys)
    assert rows[SHIPPED]["state"] == "bundled"
    assert rows[SHIPPED]["bytes"] == BUNDLED.stat().st_size
    assert (rows[SHIPPED]["classes"], rows[SHIPPED]["labels"]) == (1, ["phone"])
    assert rows[SHIPPED]["input_size"]
    assert rows["mine"]["state"] == "installed"
    assert rows["mine"]["classes"] == 3
    assert rows["mine"]["input_size"] == [SIZE, SIZE]
    assert rows["damoyolo-s"]["state"] == "available"
    assert rows["damoyolo-s"]["classes"] == 80
    code, out, _ = command("list", capsys=capsys)
    assert code == 0
    for name in (*catalogue(), "mine"):
        assert name in out
    assert "What runs is not known: no service runs in this data folder" in out


def test_list_with_a_damaged_entry(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is shown as such, with the reason, and the others are shown all the same."""
    (home / "models" / "mine" / "model.json").write_text("{}")
    rows = listed(capsys)
    assert rows["mine"]["state"] == "damaged"
    assert "damoscope model remove mine" in rows["mine"]["about"]
    assert rows[SHIPPED]["state"] == "bundled"


def test_info(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that is known of an installed model, the bundled one, and one that can be fetched."""
    _, out, _ = command("info", "mine", "--json", capsys=capsys)
    said = json.loads(out)
    assert said["state"] == "installed"
    assert said["loads"] == "yes, on cpu"
    assert said["labels"] == ["cup", "phone", "person"]
    assert (said["score_threshold"], said["iou_threshold"]) == (0.37, 0.61)
    assert said["batch_axis"] == "free"
    _, out, _ = command("info", SHIPPED, "--json", capsys=capsys)
    said = json.loads(out)
    assert said["labels"] == ["phone"]
    assert said["sha256"].startswith(said["version"])
    code, out, _ = command("info", "damoyolo-s", capsys=capsys)
    assert code == 0
    assert catalogue()["damoyolo-s"].git_blob in out
    assert "cell phone" in out
    for name, file in ((SHIPPED, BUNDLED), ("mine", home / "models" / "mine" / "model.onnx")):
        assert command("info", name, "--file", capsys=capsys)[:2] == (0, f"{file}\n")
    code, out, err = command("info", "damoyolo-s", "--file", capsys=capsys)
    assert (code, out) == (1, "")
    assert "damoscope model pull damoyolo-s" in err


def test_info_of_a_changed_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with other bytes than were installed is told, with exit code 1."""
    file = home / "models" / "mine" / "model.onnx"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    code, _, err = command("info", "mine", capsys=capsys)
    assert code == 1
    assert "is not the file that was installed" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("info", "other"), "there is no model other"),
        (("info", "../mine"), "is no name for a model"),
        (("remove", "other"), "no model other is installed"),
        (("remove", SHIPPED), "it cannot be removed"),
        (("remove", "damoyolo-s"), "no model damoyolo-s is installed"),
    ],
)
def test_what_there_is_not(
    home: Path, words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that says so, and exit code 1."""
    code, out, err = command(*words, capsys=capsys)
    assert code == 1
    assert out == ""
    assert says in err
    assert len(err.splitlines()) == 1


def test_remove(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An installed model is gone afterwards, damaged or not."""
    (home / "models" / "mine" / "model.json").write_text("{}")
    code, out, _ = command("remove", "mine", capsys=capsys)
    assert (code, out) == (0, "mine is removed\n")
    assert "mine" not in listed(capsys)


def test_a_name_where_a_file_was(tmp_path: Path) -> None:
    """`damoscope detect --model NAME` and DAMOSCOPE_MODEL take an installed model's name, with the
    labels that were installed with it; a name that is none says how to get it."""
    home = tmp_path / "var"
    home.mkdir()
    install(home)
    image = Path(__file__).parents[3] / "examples" / "no-phone.jpg"
    found = damoscope(
        "detect", str(image), "--model", "mine", "--score-threshold", "0", "--json",
        folder=tmp_path, DAMOSCOPE_PROVIDER="cpu",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    labels = {each["label"] for each in json.loads(found.stdout)["detections"]}
    assert labels <= {"cup", "phone", "person"}
    assert labels
    missing = damoscope("detect", str(image), folder=tmp_path, DAMOSCOPE_MODEL="damoyolo-s")
    assert missing.returncode == 2
    assert missing.stderr == (
        "damoscope: DAMOSCOPE_MODEL=damoyolo-s: no file, and no model of that name is installed; "
        "fetch it first: damoscope model pull damoyolo-s\n"
    )


def test_a_name_at_the_start_of_everything(home: Path) -> None:
    """`damoscope up` takes a name, and refuses one that is none before it starts anything."""
    checks.model(Settings(model=Path("mine"), home=home))
    checks.model(Settings(home=home))
    says = "DAMOSCOPE_MODEL=other: no file, and no model of that name is installed"
    with pytest.raises(ConfigurationError, match=says):
        checks.model(Settings(model=Path("other"), home=home))
    with pytest.raises(ConfigurationError, match=r"other\.onnx: there is no such file"):
        checks.model(Settings(model=Path("other.onnx"), home=home))


def test_what_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A running worker's model and version are in the list, and it cannot be removed meanwhile."""
    home = tmp_path / "var"
    home.mkdir()
    install(home)
    with RedisProcess(tmp_path / "redis") as redis:
        options = ("--home", str(home), "--redis-url", redis.url)
        with worker(redis.url, tmp_path / "w", DAMOSCOPE_HOME=str(home), DAMOSCOPE_MODEL="mine"):

            def row() -> Any:
                _, out, _ = command("list", "--json", *options, capsys=capsys)
                rows = {row["name"]: row for row in json.loads(out)["models"]}
                return rows["mine"]["workers"] and rows

            rows = eventually(row, "the worker in the list")
            assert rows["mine"]["workers"] == 1
            assert rows[SHIPPED]["workers"] == 0
            code, _, err = command("remove", "mine", *options, capsys=capsys)
            assert code == 1
            assert "1 worker runs mine" in err
    code, out, _ = command("list", *options, capsys=capsys)
    assert code == 0
    assert "What runs is not known: Redis does not answer." in out
