"""`damoscope up` with what cannot work: one line that says what to change, nothing left behind."""

from __future__ import annotations

import io
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from run import checks
from run.up import workers
from tests.integration import pictures
from tests.servers import Service, damoscope, eventually, free_port, in_redis_file, left_running


def assert_refused(answer: subprocess.CompletedProcess[str], folder: Path, *said: str) -> None:
    """Exit code 2, one line of ours on stderr that holds `said`, no process left.

    Beside it stands at most what processes log that were up already.
    """
    assert answer.returncode == 2, answer.stderr
    (line,) = (line for line in answer.stderr.splitlines() if line.startswith("damoscope: "))
    assert "Traceback" not in answer.stderr
    for text in said:
        assert text in line
    assert left_running(folder) == []


def up(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    given = {"DAMOSCOPE_PORT": str(free_port()), "DAMOSCOPE_WORKERS": "1"} | env
    return damoscope("up", folder=folder, **given)


def test_a_busy_port(tmp_path: Path) -> None:
    """A port that something else listens on is named, and what to set instead."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        answer = up(tmp_path, DAMOSCOPE_PORT=port)
    assert_refused(answer, tmp_path, f"DAMOSCOPE_PORT={port}", "set another one")


def test_a_folder_that_another_uses(tmp_path: Path) -> None:
    """Two on one data folder: the second is refused, and told the first one's process and address.
    What an older release's lock holds, nothing, is no hindrance."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "lock").touch()
    with Service(home) as first:
        first.wait_for("starting 1 worker(s)")
        second = tmp_path / "second"
        second.mkdir()
        answer = up(second, DAMOSCOPE_HOME=str(home))
        assert_refused(answer, second, f"process {first.pid}, {first.url}", "another folder")
        assert first.running


def test_a_missing_model(tmp_path: Path) -> None:
    """A model file that is not there is named."""
    answer = up(tmp_path, DAMOSCOPE_MODEL="none.onnx", DAMOSCOPE_WORKERS="3")
    assert_refused(answer, tmp_path, "DAMOSCOPE_MODEL=none.onnx")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"models_beside": "nowhere=2"}, "DAMOSCOPE_MODELS_BESIDE: nowhere: no file, and no model"),
        ({"shadow": "nowhere"}, "DAMOSCOPE_SHADOW: nowhere: no file, and no model"),
        ({"serves": "mine"}, "is for `damoscope worker`; .* set DAMOSCOPE_MODELS_BESIDE=mine"),
    ],
)
def test_models_beside_that_cannot_be(tmp_path: Path, given: dict[str, str], says: str) -> None:
    """Said before anything is started, with what to do."""
    with pytest.raises(ConfigurationError, match=says):
        checks.model(Settings(home=tmp_path, **given))  # type: ignore[arg-type]


def test_workers_of_models_beside(tmp_path: Path) -> None:
    """Each is told which model it serves, and that all of them share the cores."""
    settings = Settings(
        home=tmp_path, workers=2, models_beside="a=1,b=2", redis_url="redis://127.0.0.1:1"
    )  # type: ignore[call-arg]
    programs = workers(settings)
    assert [program.name for program in programs] == [
        "worker 1", "worker 2", "worker 1 of a", "worker 1 of b", "worker 2 of b",
    ]  # fmt: skip
    serves = [program.environment.get("DAMOSCOPE_SERVES") for program in programs]
    assert serves == [None, None, "a", "b", "b"]
    assert {program.environment["DAMOSCOPE_WORKERS"] for program in programs} == {"5"}


@pytest.mark.parametrize(("beside", "count"), [(None, 1), ("a=2,b=1", 2)])
def test_a_worker_of_the_shadow(tmp_path: Path, beside: str | None, count: int) -> None:
    """It has one, unless it is said how many."""
    settings = Settings(
        home=tmp_path, workers=1, shadow="a", models_beside=beside, redis_url="redis://127.0.0.1:1"
    )  # type: ignore[call-arg]
    serves = [program.environment.get("DAMOSCOPE_SERVES") for program in workers(settings)]
    assert serves.count("a") == count
    assert workers(settings)[0].environment["DAMOSCOPE_SHADOW"] == "a"


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    """A file that is no ONNX model is named."""
    (tmp_path / "text.onnx").write_text("hello")
    assert_refused(up(tmp_path, DAMOSCOPE_MODEL="text.onnx"), tmp_path, "text.onnx")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DAMOSCOPE_PORT", "http"), ("DAMOSCOPE_WORKERS", "0"), ("DAMOSCOPE_PROVIDER", "abacus"),
        ("DAMOSCOPE_SCORE_THRESHOLD", "2"), ("DAMOSCOPE_HOST", "no.such.host.invalid"),
        ("DAMOSCOPE_RATE_LIMIT", "often"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be(tmp_path: Path, name: str, value: str) -> None:
    """A setting out of range or of the wrong kind is named with its value."""
    answer = up(tmp_path, **{name: value})
    setting = "DAMOSCOPE_PORT" if name == "DAMOSCOPE_HOST" else name
    assert_refused(answer, tmp_path, setting, value)


def test_a_configuration_file_that_cannot_be_read(tmp_path: Path) -> None:
    """damoscope.toml with a mistake in it is named."""
    (tmp_path / "damoscope.toml").write_text("port = = 1")
    assert_refused(up(tmp_path), tmp_path, "damoscope.toml")


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    """A data folder that cannot be made is named."""
    (tmp_path / "file").write_text("in the way")
    answer = up(tmp_path, DAMOSCOPE_HOME=str(tmp_path / "file" / "home"))
    assert_refused(answer, tmp_path, "DAMOSCOPE_HOME=", "home")


@pytest.mark.parametrize("kind", ["tcp", "socket"])
def test_a_redis_that_does_not_answer(tmp_path: Path, kind: str) -> None:
    """REDIS_URL without a Redis behind it is named, its password is not."""
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    if kind == "socket":
        url = f"unix://{tmp_path}/none.sock"
    answer = up(tmp_path, REDIS_URL=url)
    assert_refused(answer, tmp_path, "REDIS_URL", "does not answer")
    assert "secret" not in answer.stderr


def test_an_address_of_redis_that_cannot_be(tmp_path: Path) -> None:
    """It is named without its value, which may hold a password, and how to write it is said."""
    answer = up(tmp_path, REDIS_URL="http://:geheim@localhost")
    assert_refused(answer, tmp_path, "REDIS_URL", "write it like redis://")
    assert "geheim" not in answer.stderr


def test_something_else_listens_at_redis_url(tmp_path: Path) -> None:
    """A server at REDIS_URL that is no Redis does not hold the start up forever."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answer = up(tmp_path, REDIS_URL=f"redis://127.0.0.1:{port}/0")
    assert_refused(answer, tmp_path, "REDIS_URL: Redis does not answer")


def test_stopping_before_it_is_ready(tmp_path: Path) -> None:
    """Ctrl-C during the start stops everything, too, with exit code 0."""
    with Service(tmp_path / "home") as service:
        service.wait_for("starting 1 worker(s)")
        service.send(signal.SIGINT)
        assert service.wait() == 0
        eventually(lambda: not left_running(tmp_path), "everything to stop")
        assert "Traceback" not in service.output


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DAMOSCOPE_NOTIFY", "slack://hunter2secret", "DAMOSCOPE_NOTIFY: address 1"),
        ("DAMOSCOPE_REPORT_SCHEDULE", "weekly", "DAMOSCOPE_REPORT_SCHEDULE=weekly"),
    ],
)
def test_a_setting_of_the_notifications_that_cannot_be(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    """Named as any other, but for what is secret, whichever process finds it."""
    answer = up(tmp_path, **{name: value})
    assert_refused(answer, tmp_path, said)
    assert "hunter2" not in answer.stderr


def test_the_watcher(tmp_path: Path) -> None:
    """It is started when images can be detected, and again when it dies; it stops with the rest."""
    with Service(tmp_path / "home") as service:
        service.wait_until_ready()
        (old,) = eventually(lambda: service.children("watcher"), "the watcher")
        service.wait_for("watching; notifications go to nobody")
        old.kill()
        service.wait_for("watcher ended with signal 9")
        (new,) = eventually(lambda: service.children("watcher"), "another watcher")
        assert new.pid != old.pid
        eventually(lambda: service.output.count("watching; ") == 2, "it to work")
        service.send(signal.SIGTERM)
        assert service.wait() == 0
        assert left_running(tmp_path) == []
        assert "did not stop in time" not in service.output
        assert "Traceback" not in service.output


def test_images_that_were_answered_leave_the_disk(tmp_path: Path) -> None:
    """Redis' file has them while it grows; who starts again finds it without them."""
    mark = b"a picture of an earlier day" * 10
    photo = io.BytesIO()
    Image.open(io.BytesIO(pictures.jpeg())).save(photo, "JPEG", comment=mark)

    with Service(tmp_path).wait_until_ready() as service, service.client() as client:
        assert client.post("/api/v1/detect", files={"image": photo.getvalue()}).is_success
        eventually(lambda: in_redis_file(mark, tmp_path), "the image to be written")
    with Service(tmp_path).wait_until_ready():
        eventually(lambda: not in_redis_file(mark, tmp_path), "it to be gone")
