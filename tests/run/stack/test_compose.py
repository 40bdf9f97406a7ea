"""docker-compose.yml, its images and variables agree with the rest of the repository."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from models.catalogue import catalogue
from pipeline import settings
from run import cli
from run.generate import settings as generated
from run.stack.__main__ import OVERLAYS
from tests.run.stack import compose
from tests.run.stack.compose import ROOT

SECRET = {"REDIS_PASSWORD": "secret"}
PUBLISHED = {"frontend": 7860, "jaeger": 16686, "prometheus": 9090, "grafana": 3000}
OURS = ("frontend", "watcher", "worker", "worker-gpu")
#: Service -> the service whose image it runs.
IMAGES = {"watcher": "frontend", "models": "worker"}
DOCKERFILES = ("deploy/docker/frontend.Dockerfile", "deploy/docker/worker.Dockerfile")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The project as it is when .env holds a password and nothing else."""
    return compose.load(SECRET)


@pytest.fixture(scope="module")
def services(project: dict[str, Any]) -> dict[str, Any]:
    """Its services."""
    found: dict[str, Any] = project["services"]
    return found


def test_every_service_is_there(services: dict[str, Any]) -> None:
    """The stack is whole; GPU workers and Grafana are asked for by profile."""
    profiles = {name: service.get("profiles", []) for name, service in services.items()}
    always = "redis collector jaeger prometheus alertmanager frontend worker watcher"
    assert {name for name, asked in profiles.items() if not asked} == set(always.split())
    assert profiles["worker-gpu"] == ["gpu"]
    assert profiles["grafana"] == ["grafana"]
    assert profiles["models"] == ["tools"]


def test_variables_are_documented_with_their_defaults() -> None:
    """.env.example lists each variable; commented ones show the default that applies."""
    documented = compose.example_environment()
    used = compose.variables()
    passed = {settings.variable(name) for name in settings.Settings.model_fields}
    assert set(used) <= set(documented) <= set(used) | passed
    for name, default in used.items():
        value, commented = documented[name]
        assert value == (default or ""), name
        assert commented == bool(default), name


#: A value of each setting that is not its default, where it is not the same for all.
VALUES = {
    "model": "/models/other.onnx", "labels": "/models/labels.txt", "provider": "tensorrt",
    "pages": "false", "score_threshold": "0.5", "iou_threshold": "0.5", "rate_limit": "7/minute",
    "notify_rate": "9/hour", "notify_file": "./own", "webhook_token_file": "./own", "public_url": "https://see.example",
    "jaeger_ui_url": "https://jaeger.example", "clients": "hashed", "log_level": "debug",
    "log_format": "json", "notify_language": "zh",
}  # fmt: skip


@pytest.mark.parametrize("name", settings.Settings.model_fields)
def test_every_setting_reaches_the_services_that_read_it(name: str) -> None:
    """Set in .env it is set there; those who do not read it are not told, of secrets above all."""
    variable, value = settings.variable(name), VALUES.get(name, "3")
    found = compose.load({**SECRET, variable: value})["services"]
    told = {each for each in OURS if str(found[each]["environment"].get(variable)) == value}
    readers = {
        service
        for service, process in {**generated.SERVICES, "worker-gpu": "worker"}.items()
        if name in settings.Settings.read_by(process)
    }
    if name == "notify_file":  # a file of the host, mounted
        assert load_secret(name, "notify", ("frontend", "watcher"), value)
    elif name == "webhook_token_file":
        assert load_secret(name, "webhook_token", ("frontend", "alertmanager"), value)
    elif name == "provider":  # the CPU's image can do nothing else
        assert told == {"worker-gpu"}
    elif name in generated.FIXED:
        assert told == set()
    else:
        assert told == readers


def load_secret(name: str, secret: str, readers: tuple[str, ...], value: str) -> bool:
    """Whether the services that read a file, and no others, have it as a secret."""
    project = compose.load({**SECRET, settings.variable(name): value})
    mounted = {
        each for each, given in project["services"].items() if secret in given.get("secrets", ())
    }
    return mounted == set(readers) and project["secrets"][secret]["file"] == value


def test_what_containers_have_of_their_own(services: dict[str, Any]) -> None:
    """Addresses and folders that .env does not change are set, here or in the image."""
    for service, process in generated.SERVICES.items():
        image = compose.dockerfile(services[service]["build"]["dockerfile"])
        text = " ".join(rest for kind, rest in image if kind == "ENV")
        given = set(services[service]["environment"]) | set(re.findall(r"(\w+)=", text))
        needed = {settings.variable(name) for name in settings.Settings.read_by(process)
                  if name in generated.FIXED}  # fmt: skip
        given |= {"DAMOSCOPE_REDIS_URL"} if "REDIS_URL" in given else set()
        assert needed <= given, service


@pytest.mark.parametrize("service", OURS)
def test_every_variable_of_opentelemetry_reaches_what_sends(service: str) -> None:
    """Any that the SDK and its exporters read; the Collector is only where it goes by default."""
    asked = dict.fromkeys(generated.opentelemetry(), "set")
    found = compose.load({**SECRET, **asked})["services"][service]["environment"]
    assert asked.items() <= found.items()
    usual = compose.load(SECRET)["services"][service]["environment"]
    assert {name for name in usual if name.startswith("OTEL_")} == {
        "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL",
    }  # fmt: skip


def test_without_a_redis_password_nothing_starts() -> None:
    """The password has no default."""
    assert [name for name, default in compose.variables().items() if default is None] == [
        "REDIS_PASSWORD"
    ]


def test_images_are_pinned_by_exact_version(services: dict[str, Any]) -> None:
    """Tags name a full version, never a moving one; our own are built here."""
    for name, service in services.items():
        if "build" in service:
            assert service["image"] == f"damoscope-{IMAGES.get(name, name)}:local"
            assert (ROOT / service["build"]["dockerfile"]).is_file()
        else:
            assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+(-bookworm)?", service["image"]), name


def test_containers_are_confined(services: dict[str, Any]) -> None:
    """Not root, no capabilities, a read-only root file system, restarted, logs bounded, and with
    limits of memory, processors and threads."""
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == ("no" if name == "models" else "unless-stopped"), name
        assert service["logging"]["options"]["max-size"], name
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"]), name
        assert float(service["cpus"]) >= 0, name
        assert 256 <= service["pids_limit"] <= 512, name
        if "build" not in service or name == "collector":
            assert int(service["user"].split(":")[0]) > 0, name


def test_only_pages_are_published_and_on_loopback(services: dict[str, Any]) -> None:
    """Redis, collector, alertmanager and workers are reachable from inside only."""
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {name: [f"127.0.0.1:{port}:{port}"] for name, port in PUBLISHED.items()}


def test_workers_can_be_scaled(services: dict[str, Any]) -> None:
    """Nothing that only one container can have."""
    for name in ("worker", "worker-gpu"):
        assert not {"container_name", "ports", "hostname"} & set(services[name])


def test_everything_but_the_collector_has_a_health_check(services: dict[str, Any]) -> None:
    """The collector's image has no shell; workers' checks are in their image."""
    for name, service in services.items():
        image = compose.dockerfile(service["build"]["dockerfile"]) if "build" in service else []
        checked = "healthcheck" in service or "HEALTHCHECK" in dict(image)
        assert checked == (name != "collector"), name
    assert services["models"]["healthcheck"] == {"disable": True}  # it ends by itself


def test_dependencies_exist_and_can_be_waited_for(services: dict[str, Any]) -> None:
    """`service_healthy` only where there is a health check."""
    for name, service in services.items():
        for other, condition in service.get("depends_on", {}).items():
            healthy = condition["condition"] == "service_healthy"
            assert not healthy or "healthcheck" in services[other], (name, other)


def test_mounted_files_exist_and_volumes_are_declared(project: dict[str, Any]) -> None:
    """Every bind mount's source is in the repository, read-only; volumes are named."""
    used = set()
    for name, service in project["services"].items():
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            if source.startswith("."):
                assert (ROOT / source).exists(), (name, source)
                assert mode == ["ro"], (name, source)
            else:
                used.add(source)
            assert target.startswith("/"), (name, volume)
    assert used == set(project["volumes"])


def test_commands_name_files_that_are_mounted(services: dict[str, Any]) -> None:
    """A --config option points at a file that a volume puts there."""
    for name in ("collector", "jaeger", "prometheus", "alertmanager"):
        service = services[name]
        targets = {volume.split(":")[1] for volume in service["volumes"]}
        given = [option.split("=", 1)[1] for option in service["command"] if "--config" in option]
        assert given
        assert set(given) <= targets, name
    mounted = {volume.split(":")[1] for volume in services["collector"]["volumes"]}
    overlays = {f"/etc/otelcol/{overlay}" for overlay in OVERLAYS}
    assert overlays <= mounted


@pytest.mark.parametrize("page", ["docs/full-stack.md", "docs/zh/full-stack.md"])
def test_the_documented_override_runs_several_collectors(page: str) -> None:
    """Its files are mounted, its variable is read, and its port is what the peers listen on."""
    peers = "deploy/otel-collector.peers.yaml"
    (found,) = [
        block
        for block in re.findall(r"```yaml\n(.*?)```", compose.text(page), re.DOTALL)
        if peers in block
    ]
    override = yaml.safe_load(found)["services"]["collector"]
    service = compose.load({"REDIS_PASSWORD": "x"})["services"]["collector"]
    volumes = [volume.split(":") for volume in (*service["volumes"], *override["volumes"])]
    mounted = {target: source for source, target, *_ in volumes}
    given = [mounted[option.removeprefix("--config=")] for option in override["command"]]
    assert given == [
        "./otel-collector.yaml", "./deploy/otel-collector.tail-sampling.yaml", f"./{peers}",
    ]  # fmt: skip
    read = compose.collector_defaults(peers)
    assert set(override["environment"]) <= set(read)
    listening = read["COLLECTOR_PEER_GRPC"].rsplit(":", 1)[-1]
    assert [port.rsplit(":", 1)[-1] for port in override["ports"]] == ["4318", listening]
    addresses = yaml.safe_load(override["environment"]["COLLECTOR_PEERS"])
    assert {address.rsplit(":", 1)[-1] for address in addresses} == {listening}


@pytest.mark.parametrize("name", OURS)
def test_settings_accept_the_environment(
    name: str, services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each DAMOSCOPE_ variable is a setting, and the settings take the values."""
    environment = {key: str(value) for key, value in services[name]["environment"].items()}
    fields = {f"DAMOSCOPE_{field.upper()}" for field in settings.Settings.model_fields}
    ours = {key for key in environment if key.startswith("DAMOSCOPE_")}
    assert ours <= fields
    telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"}
    assert set(environment) - ours == {"REDIS_URL"} | telemetry
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    loaded = settings.load()
    assert loaded.redis_url == SecretStr("redis://:secret@redis:6379/0")


def test_the_watcher_knows_what_the_frontend_knows(services: dict[str, Any]) -> None:
    """The same stores and channels, from the same variables, the same image and secrets."""
    frontend, watcher = services["frontend"], services["watcher"]
    assert watcher["environment"].items() <= frontend["environment"].items()
    assert watcher["image"] == frontend["image"]
    assert watcher["build"] == frontend["build"]
    assert watcher["secrets"] == ["notify"]
    assert frontend["secrets"] == ["notify", "webhook_token"]  # alerts come to it alone
    assert set(watcher["networks"]) == {"internal", "edge"}  # mail servers are outside


def test_secret_files_exist_and_are_where_the_settings_look(project: dict[str, Any]) -> None:
    """The default is a file without addresses; a container finds a secret in /run/secrets."""
    path = project["secrets"]["notify"]["file"]
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    assert all(line.startswith("#") for line in lines)
    assert project["services"]["watcher"]["environment"]["DAMOSCOPE_NOTIFY_FILE"] == (
        "/run/secrets/notify"
    )


def _check(service: dict[str, Any]) -> tuple[list[tuple[str, str]], str]:
    """The instructions of a service's image, and the command of its health check."""
    image = compose.dockerfile(service["build"]["dockerfile"])
    check = service.get("healthcheck", {}).get("test") or [dict(image)["HEALTHCHECK"]]
    return image, check[-1] if check[0] == "CMD-SHELL" else " ".join(check)


def test_health_checks_name_files_of_their_image(services: dict[str, Any]) -> None:
    """A script that a check runs is copied to where it is run from."""
    image, check = _check(services["frontend"])
    (script,) = re.findall(r"/app/docker/(\w+\.py)", check)
    assert any(f"deploy/docker/{script}" in rest for kind, rest in image if kind == "COPY")


@pytest.mark.parametrize("name", ["watcher", "worker", "worker-gpu"])
def test_a_container_is_as_healthy_as_its_heartbeat_file_is_young(
    services: dict[str, Any], tmp_path: Path, name: str
) -> None:
    """No file yet, and an old one, are no health; it lies where they may write."""
    image, check = _check(services[name])
    named = " ".join(rest for kind, rest in image if kind == "ENV")
    (path,) = re.findall(r"DAMOSCOPE_HEARTBEAT_FILE=(\S+)", named)
    assert any(
        each.startswith(f"{PurePosixPath(path).parent}:") for each in services[name]["tmpfs"]
    )
    file, command = tmp_path / "heartbeat", check.partition(" CMD ")[2] or check.replace("$$", "$")

    def healthy() -> bool:
        env = {**os.environ, "DAMOSCOPE_HEARTBEAT_FILE": str(file)}
        return subprocess.run(["sh", "-c", command], env=env, check=False).returncode == 0

    assert not healthy()
    file.touch()
    assert healthy()
    os.utime(file, (time.time() - 60,) * 2)
    assert not healthy()


def test_default_model_is_in_the_mounted_folder(services: dict[str, Any]) -> None:
    """/models is ./models, and the default model lies there."""
    model = PurePosixPath(services["worker"]["environment"]["DAMOSCOPE_MODEL"])
    assert model.parent == PurePosixPath("/models")
    assert "./models:/models:ro" in services["worker"]["volumes"]
    assert (ROOT / "models" / model.name).is_file()


def test_installed_models_are_there_for_every_worker(services: dict[str, Any]) -> None:
    """What one container installs the others read: one volume, where their image has the data
    folder, and one that installs has a way out."""
    for name in ("worker", "worker-gpu", "models"):
        image = compose.dockerfile(services[name]["build"]["dockerfile"])
        text = " ".join(rest for kind, rest in image if kind == "ENV")
        (home,) = re.findall(r"DAMOSCOPE_HOME=(\S+)", text)
        assert f"worker-data:{home}" in services[name]["volumes"], name
        # A new volume inherits the owner of the image's folder.
        assert any("install -d -o 10001" in rest and home in rest for _, rest in image), name
    assert set(services["models"]["networks"]) == {"internal", "edge"}
    assert services["models"]["image"] == services["worker"]["image"]
    assert (
        services["models"]["environment"]["REDIS_URL"]
        == services["worker"]["environment"]["REDIS_URL"]
    )


def test_what_the_collector_keeps_is_its_owner_s(services: dict[str, Any]) -> None:
    """Its queue lies on a volume, which inherits the owner of the image's folder."""
    collector = services["collector"]
    image = compose.dockerfile(collector["build"]["dockerfile"])
    folder = compose.collector_defaults("otel-collector.yaml")["COLLECTOR_DATA"]
    assert f"collector-data:{folder}" in collector["volumes"]
    assert ("COPY", f"--chown={collector['user']} deploy/docker/collector-data {folder}") in image


def test_each_gpu_can_have_a_worker_of_its_own(services: dict[str, Any]) -> None:
    """A worker names the GPU that it has; the file for several adds one with the next."""
    (device,) = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}
    text = compose.text("deploy/compose.gpus.yaml").replace("!override", "")
    (added,) = yaml.safe_load(text)["services"].values()
    (other,) = added["deploy"]["resources"]["reservations"]["devices"]
    assert other == device | {"device_ids": ["1"]}


def test_a_model_beside_the_others_has_workers(services: dict[str, Any]) -> None:
    """The file for it adds some which are as the others, but for what they serve: a model of the
    catalogue, by which they are named."""
    (found,) = yaml.safe_load(compose.text("deploy/compose.beside.yaml"))["services"].items()
    name, added = found
    model = added["environment"].pop("DAMOSCOPE_SERVES")
    assert model in catalogue()
    assert name == f"worker-{model}"
    assert added == {
        "extends": {"file": "docker-compose.yml", "service": "worker"},
        "environment": {},
        "scale": 1,
    }
    assert "worker" in services


@pytest.mark.parametrize("path", DOCKERFILES)
def test_dockerfiles_copy_what_exists_and_is_sent(path: str) -> None:
    """Each COPY source is in the repository and let through by .dockerignore."""
    allowed = [
        line[1:] for line in compose.text(".dockerignore").splitlines() if line.startswith("!")
    ]
    for instruction, rest in compose.dockerfile(path):
        if instruction != "COPY" or "--from=" in rest:
            continue
        *sources, _ = shlex.split(rest.replace("${PART}", "worker-gpu"))
        for source in sources:
            assert (ROOT / source).exists(), source
            assert any(fnmatch(source.split("/")[0], pattern) for pattern in allowed), source


@pytest.mark.parametrize("path", DOCKERFILES)
def test_dockerfiles_install_from_the_lock_and_drop_root(path: str) -> None:
    """Base image pinned, dependencies by hash, no root, an exec-form `damoscope` command."""
    instructions = compose.dockerfile(path)
    arguments = dict(rest.split("=") for name, rest in instructions if name == "ARG")
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm", arguments["PYTHON_IMAGE"])
    installs = [rest for name, rest in instructions if name == "RUN" and "pip install" in rest]
    steps = [step for rest in installs for step in rest.split("&&") if " install " in step]
    assert "--require-hashes" in steps[0]
    assert all("--require-hashes" in step or "--no-deps" in step for step in steps)
    order = [name for name, _ in instructions]
    assert order.index("USER") < order.index("CMD")
    assert dict(instructions)["USER"] == "10001:10001"
    program, command = re.findall(r'"([a-z]+)"', dict(instructions)["CMD"])
    assert program == "damoscope"
    assert command in {
        registered.name or registered.callback.__name__
        for registered in cli.app.registered_commands
        if registered.callback
    }


def test_worker_images_install_their_own_runtime(services: dict[str, Any]) -> None:
    """CPU and GPU workers differ by one lock file."""
    parts = {name: services[name]["build"]["args"]["PART"] for name in ("worker", "worker-gpu")}
    assert parts == {"worker": "worker-cpu", "worker-gpu": "worker-gpu"}
    assert "\nonnxruntime==" in compose.text("requirements/worker-cpu.txt")
    assert re.search(
        r"^onnxruntime-gpu\[[a-z, ]+\]==", compose.text("requirements/worker-gpu.txt"), re.M
    )


@pytest.mark.parametrize("path", DOCKERFILES)
def test_images_carry_one_part_and_nothing_to_build_with(path: str) -> None:
    """The last stage takes the environment alone: no pip, no setuptools, no sources."""
    instructions = compose.dockerfile(path)
    last = max(index for index, (name, _) in enumerate(instructions) if name == "FROM")
    copied = [rest for name, rest in instructions[last:] if name == "COPY"]
    assert [rest for rest in copied if "--from=build" in rest] == [
        "--from=build /opt/venv /opt/venv"
    ]
    assert any("venv --without-pip /opt/venv" in rest for _, rest in instructions[:last])


@pytest.mark.parametrize("path", DOCKERFILES)
def test_images_say_what_they_are(path: str) -> None:
    """OCI's annotations, the version as Compose gives it."""
    labels = " ".join(rest for name, rest in compose.dockerfile(path) if name == "LABEL")
    for name in ("title", "description", "licenses", "version"):
        assert f"org.opencontainers.image.{name}=" in labels, name
    assert 'version="${VERSION}"' in labels
