"""The report as one HTML file: no scripts, nothing fetched from elsewhere, made to be printed."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
from markupsafe import Markup

from monitoring.messages import Language
from monitoring.reports import charts
from monitoring.reports import format as written
from monitoring.reports.schema import Report
from monitoring.reports.sentences import MODEL_COLUMNS, MODELS_FROM, Sentences

HERE = Path(__file__).parent
#: Rows of the long lists; how many more there are is said.
ROWS = 15

#: Between a number and its unit, where no line may end.
_UNIT = re.compile(r"(?<=\d) (?=(?:%|ms|s|min|h|d|kB|MB)(?!\w))")


def _kept_together(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNIT.sub("\u00a0", value)
    return value


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE),
    autoescape=True,
    finalize=_kept_together,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(report: Report, language: Language) -> str:
    """The report as a page of its own."""
    template = _ENVIRONMENT.get_template("report.html")
    return template.render(
        report=report,
        says=Sentences(report, language),
        written=written,
        charts=charts,
        rows=ROWS,
        model_columns=MODEL_COLUMNS,
        models_from=MODELS_FROM,
        lang="zh-Hans" if language == "zh" else "en",
        style=Markup((HERE / "report.css").read_text(encoding="utf-8")),
    )
