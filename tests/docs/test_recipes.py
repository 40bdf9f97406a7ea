"""The recipes of CONTRIBUTING.md, each walked in a copy of the repository."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.servers import environment

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
STEP = re.compile(r"^In `([^`]+)`, (before|after) `([^`]+)`:\n\n```\w+\n(.*?)```$", re.M | re.S)
COMMANDS = re.compile(r"^```sh\n(.*?)```$", re.M | re.S)
#: What must hold once a recipe was followed; run as a program in the copy.
HOLDS = {
    "a metric": """
from telemetry import catalogue
assert catalogue.IMAGE_PIXELS.exported == "damoscope_image_pixels_total"
assert "damoscope.image.pixels" in open("docs/metrics.md").read()
assert "damoscope_image_pixels_total" in open("deploy/prometheus/rules/history.yml").read()
""",
    "an alert rule": """
assert "alert: TooManyRequests" in open("deploy/prometheus/rules/alerts.yml").read()
""",
    "a card": """
from frontend.pages.monitor_texts import EN, ZH
assert EN["monitor.card.workers_idle"] and ZH["monitor.card.workers_idle"]
from monitoring.figures.stats import stats
from monitoring.stores.embedded.store import EmbeddedStore
from pathlib import Path
store = EmbeddedStore(Path("telemetry.db"))
names = [card.name for card in stats(store.metrics, 60).cards]
store.close()
assert "workers_idle" in names
""",
    "a setting": """
from pipeline.settings import load
assert load(queue_warn=7).queue_warn == 7
for page in ("docs/settings.md", ".env.example", "docker-compose.yml"):
    assert "DAMOSCOPE_QUEUE_WARN" in open(page).read(), page
""",
    "a stage": """
from pathlib import Path
from pipeline.settings import load
from tests.worker.batch_items import item
from worker.model.session import Detector
from worker.stages import Stages
photo = item(Path("examples/desk.jpg").read_bytes())
Stages(Detector(load(provider="cpu", workers=1)), threads=1).run(photo)
assert list(photo.stages) == ["preprocess", "inference", "nms", "tally"]
assert "`tally`" in open("docs/traces.md").read()
""",
}


def recipes() -> dict[str, str]:
    """The text of each recipe, by what it adds."""
    parts = re.split(r"^### How to add (.+)$", PAGE, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files of this checkout that git knows or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", HOLDS)
def test_a_recipe_works(name: str, copy: Path) -> None:
    """Each step fits the code as it is, the commands succeed, and what was added is there."""
    text = recipes()[name]
    steps = STEP.findall(text)
    assert steps
    for file, where, anchor, block in steps:
        path = copy / file
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        (at,) = [n for n, line in enumerate(lines) if line.startswith(anchor)]
        lines.insert(at + (where == "after"), block)
        path.write_text("".join(lines), encoding="utf-8")
    for block in COMMANDS.findall(text):
        for command in block.splitlines():
            _run(_command(command), copy)
    _run([sys.executable, "-c", HOLDS[name]], copy)


def test_every_recipe_is_walked() -> None:
    """None is left out."""
    assert list(recipes()) == list(HOLDS)


def _command(line: str) -> list[str]:
    """A command as it is run in the copy, which has no environment of its own."""
    line = line.replace("make generate", ".venv/bin/python -m run.generate")
    return [sys.executable, *line.removeprefix(".venv/bin/python ").split()]


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment({"PYTHONPATH": str(folder)}),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
