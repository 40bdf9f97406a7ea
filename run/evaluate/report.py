"""An evaluation as JSON, Markdown, one HTML file without scripts, and lines for a terminal."""

from __future__ import annotations

import base64
import io
import json
import math
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image

from monitoring.markdown import escaped, plain
from run.evaluate import chart
from run.evaluate.figures import AtThreshold, EvalFigures, Proportion
from run.evaluate.sheets import Fault

HERE = Path(__file__).parent
#: Images that could not be looked at are listed up to this.
FAILED_SHOWN = 20


@dataclass(frozen=True)
class JudgedModel:
    """Which model, and how it was run."""

    name: str
    file: str
    sha256: str
    input: str
    provider: str
    iou_threshold: float


@dataclass(frozen=True)
class JudgedData:
    """Which data, and what of them was not judged."""

    folder: str
    format: str
    left_out: tuple[str, ...]
    unused: tuple[str, ...]
    failed: list[tuple[str, str]]
    notes: list[str]


@dataclass
class EvalReport:
    """All that an evaluation tells."""

    version: str
    began: datetime
    model: JudgedModel
    data: JudgedData
    figures: EvalFigures
    #: Milliseconds an image by stage, on this machine.
    stages_ms: dict[str, float]
    missed: list[Fault]
    false: list[Fault]
    #: Sheets by their file's name.
    sheets: dict[str, Image.Image] = field(default_factory=dict)

    def as_json(self) -> str:
        """All figures as a JSON document; what has no value is null."""
        document: dict[str, Any] = {
            "version": self.version,
            "began": self.began.astimezone(UTC).isoformat(timespec="seconds"),
            "model": asdict(self.model),
            "data": asdict(self.data),
            "figures": asdict(self.figures),
            "stages_ms": self.stages_ms,
            "missed": [fault.plain() for fault in self.missed],
            "false_boxes": [fault.plain() for fault in self.false],
        }
        return json.dumps(document, indent=1, allow_nan=False)

    def as_markdown(self) -> str:
        """For a model card or a pull request."""
        return self._rendered("report.md.jinja", _MARKDOWN)

    def as_html(self) -> str:
        """A page of its own: nothing is fetched from anywhere, the sheets are inside."""
        return self._rendered("report.html", _HTML)

    def as_text(self) -> str:
        """For a terminal."""
        return self._rendered("report.txt.jinja", _TEXT).rstrip()

    def _rendered(self, template: str, environment: jinja2.Environment) -> str:
        found = self.figures
        alarms = "false_boxes_per_empty_image" if found.empty_images else "false_boxes_per_image"
        style = files("monitoring.reports").joinpath("report.css").read_text(encoding="utf-8")
        return environment.get_template(template).render(
            report=self, found=found, at=found.at, chart=chart,
            failed_shown=FAILED_SHOWN, style=Markup(style), points=points, by=by,
            alarms=alarms, top=_top(found, alarms),
        )  # fmt: skip

    def inline(self, name: str) -> str:
        """A sheet as a data URI."""
        return f"data:image/jpeg;base64,{base64.b64encode(as_jpeg(self.sheets[name])).decode()}"


def points(curve: list[float]) -> chart.Points:
    """Values at evenly spread places from 0 to 1."""
    return [(number / (len(curve) - 1), value) for number, value in enumerate(curve)]


def by(thresholds: list[AtThreshold], name: str) -> chart.Points:
    """A figure by threshold."""
    values = [(one.threshold, getattr(one, name)) for one in thresholds]
    return [(at, value.share if isinstance(value, Proportion) else value) for at, value in values]


def _top(found: EvalFigures, alarms: str) -> float:
    """Where the axis of false boxes ends: what half of the threshold gives fits on it."""
    near = [one for one in found.thresholds if one.threshold >= found.at.threshold / 2]
    return chart.ending([getattr(one, alarms) for one in near])


def as_jpeg(image: Image.Image) -> bytes:
    """The file of a sheet."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def number(value: float | None, places: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{places}f}"


def share(value: Proportion) -> str:
    """A share with its counts and its interval."""
    if value.share is None:
        return "–"
    return (
        f"{value.share:.3f} ({value.hits:,}/{value.count:,}; {value.low:.2f} to {value.high:.2f})"
    )


def _environment(*, html: bool) -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=html, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"number": number, "share": share, "plain": plain, "markdown": escaped}
    return made


_HTML, _MARKDOWN, _TEXT = (
    _environment(html=True),
    _environment(html=False),
    _environment(html=False),
)
