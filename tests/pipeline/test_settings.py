"""pipeline.settings: where values come from, and what unreadable ones say."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from pipeline import machine
from pipeline.errors import ConfigurationError
from pipeline.setting_readers import Process
from pipeline.settings import CONFIG_FILE, SECTIONS, Settings, load, unknown_variables
from tests.paths import ROOT


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and none of the caller's own settings."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("DAMOSCOPE_") or name == "REDIS_URL":
            monkeypatch.delenv(name)
    return tmp_path


def configure(text: str) -> None:
    Path(CONFIG_FILE).write_text(text, encoding="utf-8")


# -- precedence ---------------------------------------------------------------------------


def test_defaults() -> None:
    """Without any setting everything has a value that works on one machine."""
    made = load()
    assert made.base_url == "http://127.0.0.1:7860"
    assert made.model.is_file()
    assert made.provider == "auto"
    assert made.redis_url is None
    assert made.workers == machine.cpus()


def test_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options win over the environment, that over the file, that over the defaults."""
    assert load().port == 7860
    configure('port = 8001\nprovider = "cpu"\n')
    assert load().port == 8001
    monkeypatch.setenv("DAMOSCOPE_PORT", "8002")
    assert load().port == 8002
    assert load(port=8003).port == 8003
    assert load(port=8003).provider == "cpu"


def test_options_that_are_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option that is None leaves the word to the environment."""
    monkeypatch.setenv("DAMOSCOPE_PORT", "8002")
    assert load(port=None, host=None).port == 8002


def test_redis_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """REDIS_URL is read too; damoscope's own variable and option win over it."""
    monkeypatch.setenv("REDIS_URL", "redis://one")
    assert load().redis_url == SecretStr("redis://one")
    monkeypatch.setenv("DAMOSCOPE_REDIS_URL", "redis://two")
    assert load().redis_url == SecretStr("redis://two")
    assert load(redis_url="redis://three").redis_url == SecretStr("redis://three")


def test_redis_url_in_the_file() -> None:
    """The file names it as it names all others."""
    configure('redis_url = "redis://file"')
    assert load().redis_url == SecretStr("redis://file")


def test_empty_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable, as Compose and .env files make them, counts as unset."""
    for name in ("SCORE_THRESHOLD", "LABELS", "REDIS_URL", "PORT", "MODEL", "RATE_LIMIT"):
        monkeypatch.setenv(f"DAMOSCOPE_{name}", "")
    monkeypatch.setenv("REDIS_URL", "")
    assert load() == Settings()
    assert load().labels is None
    assert load().redis_url is None


def test_models_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has one worker, unless another number is said."""
    assert load().workers_beside == {}
    monkeypatch.setenv("DAMOSCOPE_MODELS_BESIDE", " damoyolo-s , exam-s = 2")
    assert load().workers_beside == {"damoyolo-s": 1, "exam-s": 2}


def test_frozen() -> None:
    """Settings do not change once they are made."""
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1  # type: ignore[misc]


# -- what cannot be read ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("WORKERS", "0"),
        ("WORKERS", "two"),
        ("PROVIDER", "gpu"),
        ("SCORE_THRESHOLD", "1.5"),
        ("IOU_THRESHOLD", "high"),
        ("BATCH_MAX", "-1"),
        ("MAX_UPLOAD_BYTES", "20MB"),
        ("TELEMETRY_DAYS", "0"),
        ("LOG_LEVEL", "loud"),
        ("SERVES", "Mine"),
        ("SERVES", "../mine"),
        ("SERVES", "mine.onnx"),
        ("MODELS_BESIDE", "mine=0"),
        ("MODELS_BESIDE", "mine=257"),
        ("MODELS_BESIDE", "mine=-1"),
        ("MODELS_BESIDE", "mine=\u0661"),
        ("MODELS_BESIDE", "mine="),
        ("MODELS_BESIDE", "=1"),
        ("MODELS_BESIDE", "mine,,other"),
        ("MODELS_BESIDE", "mine=1,mine=2"),
        ("MODELS_BESIDE", "a:b=1"),
        ("MODELS_BESIDE", "a=200,b=57"),
        ("MODELS_BESIDE", ",".join(f"m{number}" for number in range(17))),
    ],
)
def test_unreadable_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """One line names the variable, its value and what is wrong with it."""
    monkeypatch.setenv(f"DAMOSCOPE_{name}", value)
    with pytest.raises(ConfigurationError) as refused:
        load()
    message = str(refused.value)
    assert message.startswith(f"DAMOSCOPE_{name}={value}: ")
    assert "\n" not in message


def test_several_unreadable_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are named at once, still on one line."""
    monkeypatch.setenv("DAMOSCOPE_PORT", "x")
    with pytest.raises(ConfigurationError, match=r"DAMOSCOPE_PORT=x: .*; DAMOSCOPE_WORKERS=-3: "):
        load(workers=-3)


@pytest.mark.parametrize("text", ["port = ", "port 8000", "[[[", 'model = "\\z"'])
def test_broken_file(text: str) -> None:
    """A file that is no TOML is named."""
    configure(text)
    with pytest.raises(ConfigurationError, match=r"^damoscope\.toml cannot be read: "):
        load()


def test_file_that_is_no_text() -> None:
    """Neither is a file that is no text a traceback."""
    Path(CONFIG_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"^damoscope\.toml cannot be read: "):
        load()


def test_unreadable_value_in_the_file() -> None:
    """A value of the wrong kind in the file is named by its setting."""
    configure('workers = "many"')
    with pytest.raises(ConfigurationError, match=r"^DAMOSCOPE_WORKERS=many: "):
        load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 1", "damoscope.toml: prot is not a setting; did you mean port?"),
        ("DAMOSCOPE_PORT = 1", "DAMOSCOPE_PORT is not a setting; did you mean port?"),
        ("[worker]\nthreads = 1", "damoscope.toml: worker is not a setting; did you mean workers?"),
        ("xyz = 1\nport = 0", "damoscope.toml: xyz is not a setting"),
    ],
)
def test_unknown_name_in_the_file(text: str, message: str) -> None:
    """A slip of the pen in the file is refused, with the setting that was meant."""
    configure(text)
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load()


def test_unknown_variables() -> None:
    """Variables that only look like settings are told; case does not matter, nor do others."""
    environ = {
        "DAMOSCOPE_PORT": "1", "damoscope_port": "1", "DAMOSCOPE_PROT": "1", "REDIS_URL": "r",
        "DAMOSCOPE_REDIS_URL": "r", "PORT": "1", "DAMOSCOPE_XYZZY_": "1",
    }  # fmt: skip
    assert list(unknown_variables(environ)) == [
        ("DAMOSCOPE_PROT", "DAMOSCOPE_PROT is not a setting; did you mean DAMOSCOPE_PORT?"),
        ("DAMOSCOPE_XYZZY_", "DAMOSCOPE_XYZZY_ is not a setting"),
    ]


# -- who reads them -----------------------------------------------------------------------

#: Where the code of each command lies.
CODE = {
    "up": ("run", "pipeline", "frontend/identity"),
    "frontend": ("frontend", "monitoring", "pipeline", "run"),
    "worker": ("worker", "pipeline", "run"), "watcher": ("monitoring", "pipeline", "run"),
    "model": ("run",),
}  # fmt: skip


@pytest.mark.parametrize("process", get_args(Process))
def test_who_reads_a_setting(process: Process) -> None:
    """A command that is said to read a setting has code that does, and what reads it is said."""
    code = "\n".join(
        path.read_text() for part in CODE[process] for path in (ROOT / part).rglob("*.py")
    )
    for name in Settings.read_by(process):
        assert re.search(rf"\.{name}\b", code), name
    # Commands work on files, whatever a worker does: `detect`, and `model import` on photographs.
    own = "\n".join(
        path.read_text()
        for path in (ROOT / CODE[process][0]).rglob("*.py")
        if path.name not in ("detect_files.py", "photographs.py")
    )
    for name in Settings.model_fields:
        if process in ("frontend", "worker") and re.search(rf"\b_?settings\.{name}\b", own):
            assert name in Settings.read_by(process), name


def test_every_setting_is_read_by_somebody() -> None:
    """And stands in a section of the documentation."""
    read = {name for process in get_args(Process) for name in Settings.read_by(process)}
    assert read == set(Settings.model_fields)
    assert next(iter(SECTIONS)) == next(iter(Settings.model_fields))
    assert set(SECTIONS) <= set(Settings.model_fields)


# -- for the processes that are started ---------------------------------------------------

changes = st.fixed_dictionaries(
    {},
    optional={
        "port": st.integers(1, 65535),
        "host": st.sampled_from(["0.0.0.0", "::", "localhost"]),
        "home": st.sampled_from([Path("var"), Path("/srv/a b")]),
        "labels": st.just(Path("/srv/labels.txt")),
        "redis_url": st.sampled_from(["redis://:s%40crt@host:6379/3", "unix:///tmp/r.sock"]),
        "provider": st.sampled_from(["auto", "cuda", "tensorrt", "cpu"]),
        "workers": st.integers(1, 256),
        "batch_wait_ms": st.floats(0, 1000),
        "score_threshold": st.floats(0, 1),
        "telemetry_days": st.floats(0.001, 1e6),
        "rate_limit": st.just("100/minute"),
    },
)


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(given_=changes)
def test_environment(given_: dict[str, object]) -> None:
    """A process that is started with `environment()` has the same settings."""
    parent = load(**given_)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_URL", "redis://from-outside")
        for name, value in parent.environment().items():
            patch.setenv(name, value)
        child = load()
    if parent.redis_url is None:  # nothing was said of it, so the outside still counts
        child = child.model_copy(update={"redis_url": None})
    assert child == parent


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("example.org", "http://example.org:80"),
    ],
)
def test_base_url(host: str, url: str) -> None:
    """The address at which this machine reaches the frontend."""
    assert load(host=host, port=80).base_url == url


def test_inference_threads() -> None:
    """Workers share the cores; nobody gets less than one thread."""
    cores = machine.cpus()
    assert load(workers=1).inference_threads == cores
    assert load(workers=256).inference_threads == max(1, cores // 256)
    assert load(workers=1, threads=3).inference_threads == 3
