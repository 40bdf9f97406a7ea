"""The dashboard is one that Grafana understands, wherever it is imported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.run.stack.board import board, panels

#: Of Prometheus' annotations: the data source reads them, and Grafana's own types leave them out.
OF_THE_SOURCE = {".annotations.list[0].step", ".annotations.list[0].titleFormat"}


@pytest.fixture(scope="module", autouse=True)
def _panels_have_types() -> None:
    """Without it what is special to a kind of panel or data source is passed on unread."""
    plugins.register_default_plugins()


def again(read: dict[str, Any]) -> Any:
    """Read into Grafana's types, and written from them."""
    return json.loads(JSONEncoder().encode(Dashboard.from_json(read)))


def lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """What is not there afterwards, or is another; defaults that were added do not count."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from lost(value, after.get(name), f"{path}.{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for at, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{path}[{at}]")
    elif before != after:
        yield path


def test_grafana_reads_every_field() -> None:
    """Each has a name and a value that Grafana's types know: none is lost on the way."""
    ours = board()
    assert set(lost(ours, again(ours))) == OF_THE_SOURCE


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (lambda read: read, "refrsh"),
        (lambda read: read["panels"][1], "describes"),
        (lambda read: read["panels"][1]["options"], "grafMode"),
        (lambda read: read["panels"][1]["targets"][0], "legend"),
        (lambda read: read["templating"]["list"][1], "multiple"),
    ],
)
def test_what_grafana_does_not_know_is_found(place: Any, wrong: str) -> None:
    """A misspelt field anywhere fails the test above."""
    ours = board()
    place(ours)[wrong] = "x"
    assert [path for path in lost(ours, again(ours)) if path.endswith(f".{wrong}")]


def test_it_names_no_data_source() -> None:
    """One is chosen on the page: an import elsewhere knows none of ours."""
    text = json.dumps(board())
    sources = set(re.findall(r'"uid": "([^"]*)"', text)) - {board()["uid"]}
    assert sources == {"${datasource}"}
    (source,) = (each for each in variables() if each["type"] == "datasource")
    assert (source["name"], source["query"]) == ("datasource", "prometheus")


def variables() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = board()["templating"]["list"]
    return found


def test_every_variable_chooses_something() -> None:
    """Worker, model and client are each in a panel; no panel has a variable that is none."""
    names = {each["name"] for each in variables()}
    assert names == {"datasource", "worker", "model", "client"}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(board())))
    assert used == names


def test_a_choice_is_told_from_all() -> None:
    """Panels ask for what was chosen, by a matcher: with All it is whatever there is."""
    everything, one = panels(), panels(worker="w1", model="m1", client="c1")
    changed = {title for (title, before), (_, after) in zip(everything, one, strict=True)
               if before != after}  # fmt: skip
    assert {"CPU of each process", "Inference", "Workers by model", "Requests by client"} <= changed
    assert all('=~".*"' in query for title, query in everything if title in changed)
