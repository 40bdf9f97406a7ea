"""The Helm chart's README, schema and copies, from its values.yaml and from files of the stack.

A value's description is the comment above it that begins with `--`; in parentheses stands its type,
or what it may be, where the default does not tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from models.names import PATTERN
from pipeline.settings import Settings, variable
from run.generate import settings
from run.generate.generated import ROOT, table

CHART: Final = "deploy/helm/damoscope"
#: Settings that the chart decides by other values of its own.
DECIDED: Final = (
    "home", "host", "port", "redis_url", "prometheus_url", "jaeger_url", "jaeger_ui_url",
    "public_url", "keys_file", "notify_file", "webhook_token_file", "page_uploads_bytes",
    "provider", "workers", "threads", "heartbeat_file",
)  # fmt: skip
#: Files of the chart -> what they are copies of: a chart has to have all that it uses.
COPIES: Final = {
    "redis.conf": "deploy/docker/redis.conf",
    "otel-collector.yaml": "otel-collector.yaml",
    **{
        f"rules/{name}.yml": f"deploy/prometheus/rules/{name}.yml"
        for name in ("recording", "figures", "history", "alerts", "slo")
    },
}
#: Defaults that the chart reckons with: how long pods may take to stop.
RECKONED: Final = ("drain_s", "stage_limit_s")
_JSON_TYPES: Final = {
    bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object",
    type(None): "null",
}  # fmt: skip
_LINE: Final = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?: |$)")
_COMMENT: Final = re.compile(r"^ *# -- (?:\((?P<kind>[^)]+)\) )?(?P<text>.+)$")


@dataclass
class Value:
    """One value of the chart, or a group of them."""

    default: Any
    text: str = ""
    #: What stands in parentheses.
    kind: str = ""
    parts: dict[str, Value] = field(default_factory=dict)

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema; of a group with no other keys than those that there are."""
        about = {"description": self.text} if self.text else {}
        if self.parts:
            parts = {name: part.schema for name, part in self.parts.items()}
            return {**about, "type": "object", "additionalProperties": False, "properties": parts}
        if "|" in self.kind:
            return {**about, "enum": self.kind.split("|")}
        return {**about, "type": self.types if len(self.types) > 1 else self.types[0]}

    @property
    def types(self) -> list[str]:
        """Types of JSON that it may have."""
        return self.kind.split(", ") if self.kind else [_JSON_TYPES[type(self.default)]]


def values() -> Value:
    """values.yaml. Raises ValueError for a value that no comment describes."""
    text = (ROOT / CHART / "values.yaml").read_text(encoding="utf-8")
    root = Value(yaml.safe_load(text))
    path: list[tuple[int, Value]] = [(-1, root)]
    comment: re.Match[str] | None = None
    for line in text.splitlines():
        comment = _COMMENT.match(line) or comment
        found = _LINE.match(line)
        if found is None:
            continue
        indent = len(found["indent"])
        while path[-1][0] >= indent:
            path.pop()
        above = path[-1][1]
        if above.text:  # inside of a default, such as that of `resources`
            continue
        value = Value(above.default[found["key"]])
        if comment is not None:
            value.text, value.kind, comment = comment["text"], comment["kind"] or "", None
        elif not isinstance(value.default, dict):
            raise ValueError(f"values.yaml: no comment describes {found['key']}")
        above.parts[found["key"]] = value
        path.append((indent, value))
    return root


def readme() -> str:
    """The table of values."""
    rows = [
        (f"`{name}`", f"`{json.dumps(value.default)}`", f"{_choices(value)}{value.text}")
        for name, value in _flat(values(), "")
    ]
    return table(("value", "default", ""), *rows)


def schema() -> str:
    """values.schema.json: a misspelt value is an error, and so is a setting that there is not."""
    found = values().schema
    found["properties"]["global"] = {"type": "object"}
    known = {
        "type": "object", "additionalProperties": False,
        "properties": {variable(name): _setting(name) for name in sorted(set().union(*_read()))}
        | {name: {"type": ["string", "number", "boolean", "null"]}
           for name in settings.opentelemetry()},
    }  # fmt: skip
    found["properties"]["settings"] |= {"$ref": "#/$defs/settings"}
    pools = [found["properties"][pool]["properties"] for pool in ("worker", "workerGpu")]
    for pool in pools:
        pool["settings"] |= {"$ref": "#/$defs/settings"}
    found["properties"]["models"] |= {"items": _model(*pools)}
    return json.dumps(
        {"$schema": "https://json-schema.org/draft-07/schema#", "$defs": {"settings": known}}
        | found,
        indent=1, ensure_ascii=False,
    )  # fmt: skip


def _model(processors: dict[str, Any], gpus: dict[str, Any]) -> dict[str, Any]:
    """Schema of a model with workers of its own: what those on processors or GPUs may have."""
    named = {"type": "string", "pattern": PATTERN}
    kinds = {
        False: processors | {"gpu": {"const": False}}, True: gpus | {"gpu": {"const": True}},
    }  # fmt: skip
    return {"anyOf": [
        {"type": "object", "additionalProperties": False,
         "required": ["name", *(["gpu"] if gpu else [])],
         "properties": {"name": named, **{k: v for k, v in of.items() if k != "enabled"}}}
        for gpu, of in kinds.items()
    ]}  # fmt: skip


def known() -> str:
    """files/settings.yaml: which settings there are, who reads them, which are secret."""
    read = dict(zip(settings.SERVICES, _read(), strict=True))
    every = set().union(*read.values())
    lists = {
        **{service: [variable(name) for name in names] for service, names in read.items()},
        "all": [variable(name) for name in sorted(every)],
        "secret": [variable(name) for name in Settings.model_fields if Settings.is_secret(name)],
        "opentelemetry": settings.opentelemetry(),
        "defaults": {
            variable(name): Settings.model_fields[name].default for name in RECKONED
        },
    }  # fmt: skip
    text: str = yaml.safe_dump(lists, sort_keys=False)
    return f"# Made by `make generate` from pipeline/settings.py.\n{text}"


def collector_image() -> str:
    """The Collector's image, as docker-compose.yml pins it, or the Dockerfile that it builds."""
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"][
        "collector"
    ]
    image = service["image"]
    if "build" in service:  # it only adds a folder, which is a volume here
        text = (ROOT / service["build"]["dockerfile"]).read_text(encoding="utf-8")
        image = re.findall(r"^ARG COLLECTOR_IMAGE=(\S+)$", text, re.M)[0]
    return f"  # -- Its image, of the version that Compose has.\n  image: {image}"


def copy(path: str) -> str:
    """A file of the repository that the chart holds too, as a chart has to."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return f"# Made by `make generate` from {path}.\n{text}"


def users() -> str:
    """The users of Redis. Valkey knows the command by which client libraries say their names."""
    text = copy("deploy/redis/users.conf")
    return text.replace("+client|setname", "+client|setname +client|setinfo")


def _read() -> list[list[str]]:
    """The settings that may be given, of each process: none that the chart decides by itself."""
    return [
        [name for name in Settings.read_by(process)
         if name not in DECIDED and not Settings.is_secret(name)]
        for process in settings.SERVICES.values()
    ]  # fmt: skip


def _setting(name: str) -> dict[str, Any]:
    """Schema of a setting. Numbers may be quoted, and none may be what they are; damoscope itself
    says what a value may be."""
    field = Settings.model_fields[name]
    if choices := settings.choices(name):
        return {"description": field.description, "enum": [*choices, None]}
    return {"description": field.description, "type": ["string", "number", "boolean", "null"]}


def _flat(value: Value, prefix: str) -> Iterator[tuple[str, Value]]:
    for name, part in value.parts.items():
        if part.parts:
            yield from _flat(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def _choices(value: Value) -> str:
    if "|" not in value.kind:
        return ""
    return " or ".join(f"`{choice}`" for choice in value.kind.split("|")) + ". "
