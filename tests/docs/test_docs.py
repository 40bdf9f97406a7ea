"""The documentation is tested: what it names exists, and what exists it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from frontend.api.detect import router
from pipeline import errors
from pipeline.settings import Settings, variable
from run.cli import app
from tests.paths import ROOT

DOCS = sorted(
    [
        *ROOT.glob("README*.md"),
        *ROOT.glob("*/README.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs" / "zh").glob("*.md"),
    ]
)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link and picture of a page is a file of the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    missing = [
        target
        for target in targets
        if not target.startswith(("http", "#", "mailto:"))
        and not (page.parent / target.partition("#")[0]).exists()
    ]
    assert missing == []


def test_readme_make_commands_exist() -> None:
    """Each `make TARGET` of README and docs is a target of the Makefile."""
    for page in DOCS:
        used = set(re.findall(r"\bmake ([a-z][a-z-]*)\b", _code(page.read_text())))
        assert used <= TARGETS, page


@pytest.mark.parametrize("path", [".github/workflows/ci.yml", ".ci/run"])
def test_ci_calls_the_targets_that_people_call(path: str) -> None:
    """Lint, tests, wheel and stack, each by its make target."""
    called = set(re.findall(r"^(?:\s+- run: )?\s*make ([a-z-]+)", text(path), re.M))
    assert called == {"lint", "test", "test-wheel", "test-stack"}


def test_readme_damoscope_commands_parse() -> None:
    """Each `damoscope ...` command of README and docs is one that the command line knows."""
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for page in DOCS:
        for line in _code(page.read_text()).splitlines():
            if found := re.search(r"(?:^|/|\s)damoscope ([a-z]+)(.*)", line):
                assert found[1] in commands, line
                command, words = commands[found[1]], shlex.split(found[2])
                for word in words[:1]:  # of a group, such as `keys add`
                    command = getattr(command, "commands", {}).get(word, command)
                given = [word for word in words if word.startswith("--")]
                options = {
                    option
                    for param in command.params
                    for option in (*param.opts, *param.secondary_opts)
                }
                assert {word.partition("=")[0] for word in given} <= options | {"--help"}, line


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_documented(name: str) -> None:
    """docs/settings.md has a row for each setting, with the description that the code gives it."""
    (row,) = (
        line for line in text("docs/settings.md").splitlines() if f"| `{variable(name)}` |" in line
    )
    assert Settings.model_fields[name].description in row


def test_every_route_and_error_status_is_documented() -> None:
    """docs/api.md names each route of the API and each status that an error answers with."""
    page = text("docs/api.md")
    for route in router.routes:
        assert route.path in page  # type: ignore[attr-defined]
    for kind in errors.DamoscopeError.__subclasses__():
        if kind.status != 500 or kind.outcome != "failed":
            assert f"| {kind.status} |" in page, kind


def _code(markdown: str) -> str:
    """What stands in code blocks and code spans."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", markdown, re.S | re.M)
    blocks = [code for language, code in fenced if language in ("", "sh")]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", markdown, flags=re.S))
    return "\n".join(blocks + spans)
