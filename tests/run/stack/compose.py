"""docker-compose.yml and the files beside it, read as Compose, Docker and the servers would."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
#: The file is read a hundred times; libyaml, which most builds of PyYAML have, is much faster.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::(?P<operator>[-?])(?P<rest>[^}]*))?\}")
#: `${env:NAME:-default}` of the Collector and Jaeger.
COLLECTOR_VARIABLE = re.compile(r"\$\{env:(?P<name>[A-Z_]+):-(?P<default>[^}]*)\}")


def text(path: str) -> str:
    """A file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def variables() -> dict[str, str | None]:
    """Variables of docker-compose.yml -> default; None where one is required."""
    found: dict[str, str | None] = {}
    for match in VARIABLE.finditer(_without_comments(text("docker-compose.yml"))):
        default = match["rest"] if match["operator"] == "-" else None
        assert found.setdefault(match["name"], default) == default, match["name"]
    return found


def load(environment: dict[str, str]) -> dict[str, Any]:
    """The Compose project with variables replaced; KeyError for a required one that is not set."""

    def value(match: re.Match[str]) -> str:
        if match["operator"] == "-":
            return environment.get(match["name"]) or match["rest"]
        return environment[match["name"]]

    source = _without_comments(text("docker-compose.yml"))
    project: dict[str, Any] = yaml.load(VARIABLE.sub(value, source), LOADER)
    for service in project["services"].values():
        # A name without a value: passed on from .env, and not set where that does not set it.
        service["environment"] = {
            name: environment.get(name) if given is None else given
            for name, given in service.get("environment", {}).items()
            if given is not None or name in environment
        }
    return project


def example_environment() -> dict[str, tuple[str, bool]]:
    """.env.example: name -> (value, whether it is commented out)."""
    lines = re.findall(r"^(#?)([A-Z_0-9]+)=(.*)$", text(".env.example"), re.MULTILINE)
    return {name: (value, bool(comment)) for comment, name, value in lines}


def collector_defaults(path: str) -> dict[str, str]:
    """Variables of a Collector or Jaeger file -> default."""
    return {match["name"]: match["default"] for match in COLLECTOR_VARIABLE.finditer(text(path))}


def collector_config(path: str) -> dict[str, Any]:
    """A Collector or Jaeger file with every variable at its default."""
    config: dict[str, Any] = yaml.safe_load(
        COLLECTOR_VARIABLE.sub(lambda match: match["default"], text(path))
    )
    return config


def listening() -> dict[str, set[int]]:
    """Service of Compose -> ports that it listens on, from its own configuration."""
    ports = {
        service: {
            int(default.rsplit(":", 1)[-1])
            for name, default in collector_defaults(path).items()
            if default.startswith("0.0.0.0:") or name.endswith("_PORT")
        }
        for service, path in (
            ("collector", "otel-collector.yaml"),
            ("jaeger", "jaeger/config.yaml"),
        )
    }
    return ports | {
        "redis": {6379},
        "frontend": {7860},
        "prometheus": {9090},
        "alertmanager": {9093},
        "grafana": {3000},
    }


def dockerfile(path: str) -> list[tuple[str, str]]:
    """Instructions of a Dockerfile, in order, continued lines joined."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text(path), flags=re.MULTILINE))
    return [
        (name.upper(), rest.strip())
        for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())
    ]


def _without_comments(source: str) -> str:
    return re.sub(r"^\s*#.*$", "", source, flags=re.MULTILINE)
