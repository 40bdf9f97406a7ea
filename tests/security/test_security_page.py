"""SECURITY.md names settings, commands, files and metrics: they are there."""

from __future__ import annotations

import re

import pytest
import typer

from pipeline.settings import Settings, variable
from run.cli import app
from telemetry.catalogue import METRICS
from tests.paths import ROOT

PAGES = ("SECURITY.md", "docs/redis.md")
#: Variables that are no field of Settings.
OTHER = {"REDIS_URL"}


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def named(page: str) -> set[str]:
    """What stands between backquotes."""
    return set(re.findall(r"`([^`\n]+)`", text(page)))


@pytest.mark.parametrize("page", PAGES)
def test_settings_are_there(page: str) -> None:
    """Every variable is one that is read."""
    found = set(re.findall(r"\b(?:DAMOSCOPE_[A-Z_]+|REDIS_URL)\b", text(page)))
    assert found
    assert found <= {variable(name) for name in Settings.model_fields} | OTHER


@pytest.mark.parametrize("page", PAGES)
def test_files_and_links_are_there(page: str) -> None:
    """Links, and the folders and files of the repository that are named."""
    folder = (ROOT / page).parent
    for link in re.findall(r"\]\(([^)#]+)\)", text(page)):
        assert (folder / link).exists(), link
    paths = set(re.findall(r"\b(?:tests|deploy|docs)/[\w./-]*\w", text(page)))
    assert not [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_there(page: str) -> None:
    """`damoscope X`, `make X` and options."""
    command = typer.main.get_command(app)
    subcommands = set(getattr(command, "commands", {}))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    options = {
        option
        for each in getattr(command, "commands", {}).values()
        for parameter in each.params
        for option in parameter.opts
    }
    for word in named(page):
        if found := re.match(r"damoscope ([a-z]+)", word):
            assert found[1] in subcommands, word
        if found := re.match(r"make ([a-z-]+)", word):
            assert found[1] in targets, word
        if found := re.fullmatch(r"(--[a-z-]+)", word):
            assert found[1] in options, word


def test_metrics_are_there() -> None:
    """Names that begin with the namespace of our metrics."""
    for page in PAGES:
        for word in named(page):
            if re.fullmatch(r"damoscope(\.[a-z_]+)+", word) and not word.endswith(".toml"):
                assert word in METRICS, word


def test_users_of_redis_are_those_of_the_file() -> None:
    """The table of docs/redis.md has each, and no other."""
    users = re.findall(r"^user (\w+) on", (ROOT / "deploy/redis/users.conf").read_text(), re.M)
    rows = re.findall(r"^\| `(\w+)` \|", text("docs/redis.md"), re.MULTILINE)
    assert sorted(rows) == sorted(users)


def test_containers_have_no_rights() -> None:
    """As the page says: read-only, without capabilities, no new privileges, no root."""
    import yaml

    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        image = service.get("build", {}).get("dockerfile")
        user = service.get("user") or re.findall(r"^USER (\S+)", text(image), re.M)[-1]
        assert not user.startswith(("0", "root")), name
