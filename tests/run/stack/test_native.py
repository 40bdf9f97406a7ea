"""The native launcher's own parts, without servers."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from run.environment import of_server
from run.stack import __main__ as command
from run.stack import app, commands, dotenv, render, servers
from run.stack.ports import Ports, free_port
from tests.run.stack import compose

ROOT = compose.ROOT


@pytest.fixture
def layout(tmp_path: Path) -> servers.Layout:
    """A stack that is never started."""
    binaries = dict.fromkeys(("redis", "collector", "jaeger", "prometheus", "alertmanager"), "/x/y")
    return servers.Layout(ROOT, tmp_path, Ports.free(), binaries, "secret")


@pytest.mark.parametrize("kernels", ["32768\t60999", "1024\t65535", "1024\t65530", "10000\t60000"])
def test_free_ports_are_none_that_the_kernel_gives(
    monkeypatch: pytest.MonkeyPatch, kernels: str
) -> None:
    """Unless it has been given nearly all."""
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: kernels)
    lowest, highest = map(int, kernels.split())
    found = {free_port(together=2) for _ in range(20)}
    assert all(10_000 <= port < 65_535 for port in found)
    if (lowest - 10_000) + (65_535 - highest) > 1000:
        assert not any(lowest <= each <= highest for port in found for each in (port, port + 1))


def test_rendered_files_know_no_host_of_compose(tmp_path: Path) -> None:
    """Every address is local afterwards, and nothing but addresses has changed."""
    ports = Ports.free()
    render.render(ROOT, tmp_path, ports, tmp_path / "token")
    for name in ("prometheus/prometheus.yml", "alertmanager/alertmanager.yml"):
        source, rendered = compose.text(f"deploy/{name}"), (tmp_path / name).read_text()
        assert not re.findall(r'["/](?:collector|jaeger|alertmanager|frontend):\d+', rendered)
        for compose_address, native in render.addresses(ports).items():
            source = source.replace(compose_address, native)
        source = source.replace(render.TOKEN, str(tmp_path / "token"))
        assert rendered == source
    assert (tmp_path / "prometheus" / "rules" / "recording.yml").is_file()


def test_rules_of_ones_own(tmp_path: Path) -> None:
    """Another folder of rules takes the place of the repository's; one without rules is refused."""
    own, target = tmp_path / "own", tmp_path / "config"
    own.mkdir()
    with pytest.raises(ConfigurationError, match="there is no rule file"):
        render.render(ROOT, target, Ports.free(), tmp_path / "token", own)
    (own / "mine.yml").write_text("groups: []\n")
    render.render(ROOT, target, Ports.free(), tmp_path / "token", own)
    assert [path.name for path in (target / "prometheus" / "rules").iterdir()] == ["mine.yml"]


def test_servers_get_the_options_that_compose_gives(layout: servers.Layout) -> None:
    """But for paths, addresses and retention the command lines are the same."""
    services = compose.load({"REDIS_PASSWORD": "x"})["services"]

    def options(words: list[str]) -> set[str]:
        return {re.sub(r"=.*[/:].*$", "=", word) for word in words if word.startswith("--")}

    for program in servers.servers(layout):
        if program.name != "redis":
            native = options(list(program.command)) - {"--web.listen-address="}
            assert native == options(services[program.name]["command"]), program.name


def test_servers_set_variables_that_their_files_read(layout: servers.Layout) -> None:
    """A renamed variable would silently leave a server on its default port."""
    known = set(compose.collector_defaults("otel-collector.yaml"))
    known |= set(compose.collector_defaults("jaeger/config.yaml"))
    known |= set(re.findall(r"\$\{([A-Z_]+):", compose.text("deploy/docker/redis-start.sh")))
    for program in servers.servers(layout):
        own = set(program.environment) - set(of_server()) - {"GOMEMLIMIT", "PATH"}
        assert own <= known, program.name


def test_app_gets_the_environment_that_compose_gives(layout: servers.Layout) -> None:
    """Frontend, workers and watcher are told the same things in both, and no more."""
    services = compose.load({"REDIS_PASSWORD": "x"})["services"]
    for program in (app.frontend(layout), app.worker(layout, 1), app.watcher(layout)):
        told = set(services[program.name.removesuffix("-1")]["environment"])
        # A file of secrets reaches native processes by its own name, like all that .env sets; the
        # watcher writes nothing, so that its container has no data folder; the model and the
        # processor are as the settings say, where no image of a container decides.
        elsewhere = {"DAMOSCOPE_NOTIFY_FILE", "DAMOSCOPE_MODEL", "DAMOSCOPE_PROVIDER"}
        given = set(program.environment)
        assert told - elsewhere <= given, program.name
        ours = {name for name in given if name.startswith("DAMOSCOPE_")}
        assert ours - told <= {"DAMOSCOPE_HOME", "DAMOSCOPE_HOST", "DAMOSCOPE_PORT"}, program.name


def test_no_link_leads_to_a_placeholder(
    tmp_path: Path, layout: servers.Layout, environ: dict[str, str]
) -> None:
    """A Jaeger that was built from Go modules has no web UI: the pages lead to their own, unless
    .env names an address that has one."""
    assert "DAMOSCOPE_JAEGER_UI_URL" in app.environment(layout, "frontend")
    built = layout.binaries | {"jaeger": str(ROOT / ".cache" / "stack" / "bin" / "jaeger")}
    without = servers.Layout(ROOT, tmp_path, layout.ports, built, "secret")
    told = app.environment(without, "frontend")
    assert "DAMOSCOPE_JAEGER_UI_URL" not in told
    assert told["DAMOSCOPE_JAEGER_URL"]  # where traces are read from
    assert "its API alone" in "".join(commands.addresses(layout.ports, without.jaeger_has_pages))
    environ["DAMOSCOPE_JAEGER_UI_URL"] = "https://jaeger.example"
    assert app.environment(without, "frontend")["DAMOSCOPE_JAEGER_UI_URL"] == (
        "https://jaeger.example"
    )


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment of this test's own, without settings."""
    ours = ("DAMOSCOPE_", "OTEL_", "MODELS_DIR", "FILES_DIR", "PROMETHEUS_RETENTION")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    monkeypatch.setattr(os, "environ", kept)
    return kept


def test_the_native_stack_reads_the_same_env_file(
    tmp_path: Path, layout: servers.Layout, environ: dict[str, str]
) -> None:
    """What .env sets reaches the processes, but for addresses; the environment wins over it."""
    environ["DAMOSCOPE_RATE_LIMIT"] = "5/second"
    (tmp_path / ".env").write_text(
        "DAMOSCOPE_RATE_LIMIT=9/second\nDAMOSCOPE_NOTIFY_RATE='7/hour'\nDAMOSCOPE_PORT=1\n"
        "DAMOSCOPE_PUBLIC_URL=https://see.example\nDAMOSCOPE_MODEL=/models/other.onnx\n"
        "DAMOSCOPE_ALERTS=/etc/damoscope/alerts.yaml\nFILES_DIR=own\n"
        "DAMOSCOPE_CURRENCY=\nOTEL_SERVICE_NAME=mine\nPROMETHEUS_RETENTION=3d\n"
    )
    dotenv.load(tmp_path)
    told = app.environment(layout, "worker") | app.environment(layout, "watcher")
    told |= app.environment(layout, "frontend")
    assert told["DAMOSCOPE_RATE_LIMIT"] == "5/second"
    assert told["DAMOSCOPE_NOTIFY_RATE"] == "7/hour"
    assert told["DAMOSCOPE_PORT"] == str(layout.ports.frontend)
    assert told["DAMOSCOPE_PUBLIC_URL"] == "https://see.example"
    assert told["DAMOSCOPE_MODEL"] == str(ROOT / "models" / "other.onnx")
    assert told["DAMOSCOPE_ALERTS"] == str(ROOT / "own" / "alerts.yaml")
    assert told["OTEL_SERVICE_NAME"] == "mine"
    assert "DAMOSCOPE_CURRENCY" not in told
    assert any("retention.time=3d" in word for word in servers.prometheus(layout).command)


def test_how_many_workers(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as were asked for, else as .env says, else two."""
    monkeypatch.setattr(command.dotenv, "load", lambda root: None)
    started: list[int] = []
    monkeypatch.setattr(commands, "run", lambda home, ports, workers, _: started.append(workers))
    assert command.main(["run"]) == 0
    environ["DAMOSCOPE_WORKERS"] = "5"
    assert command.main(["run"]) == command.main(["run", "--workers", "3"]) == 0
    assert started == [2, 5, 3]
    environ["DAMOSCOPE_WORKERS"] = "many"
    assert command.main(["run"]) == 2


def test_names_in_the_env_file_that_nothing_reads(tmp_path: Path) -> None:
    """A slip of the pen, and a name of an older release, are told of with what was meant."""
    (tmp_path / ".env.example").write_text(compose.text(".env.example"))
    (tmp_path / ".env").write_text(
        "REDIS_PASSWORD=x\nNOTIFY=json://h\n#WORK=1\nDAMOSCOPE_RATELIMIT=1\nOTEL_ANY=1\nXYZ=1\n"
    )
    assert dotenv.unknown(tmp_path) == [
        ".env: nothing reads NOTIFY; did you mean DAMOSCOPE_NOTIFY?",
        ".env: nothing reads DAMOSCOPE_RATELIMIT; did you mean DAMOSCOPE_RATE_LIMIT?",
        ".env: nothing reads XYZ",
    ]


def test_env_file_gets_passwords_and_is_kept(tmp_path: Path) -> None:
    """Private, filled in once, never overwritten."""
    (tmp_path / ".env.example").write_text(compose.text(".env.example"))
    assert dotenv.create(tmp_path)
    first = (tmp_path / ".env").read_text()
    assert re.search(r"^REDIS_PASSWORD=[0-9a-f]{48}$", first, re.MULTILINE)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert not dotenv.create(tmp_path)
    assert (tmp_path / ".env").read_text() == first


def test_commands_without_a_stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """status and scale say that nothing runs; down is content."""
    home = f"--home={tmp_path}"
    assert command.main(["status", home]) == 1
    assert command.main(["down", home]) == 0
    assert command.main(["scale", "3", home]) == 2
    assert "no stack runs here" in capsys.readouterr().err
    assert commands.status(tmp_path) == {}


def test_unknown_port_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The names that exist are listed."""
    assert command.main(["run", f"--home={tmp_path}", "--port=jager=1"]) == 2
    assert "jaeger_otlp_http" in capsys.readouterr().err
