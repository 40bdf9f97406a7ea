"""`damoscope report`: a report into a file, from the stores of the settings."""

from __future__ import annotations

from pathlib import Path

from redis import Redis

from monitoring.alerts.ledger import Ledger
from monitoring.messages import Language
from monitoring.reports import html, markdown
from monitoring.reports.build import build
from monitoring.reports.format import LANGUAGES
from monitoring.reports.schema import Report
from monitoring.stores.selection import open_readers
from pipeline.connection import connect, with_redis
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings

ENDINGS = (".html", ".md", ".json")


def run(settings: Settings, output: Path, days: int, language: str) -> None:
    """Write the report that the file's ending asks for.

    Raises ConfigurationError for another ending, an unknown language or a file that cannot be
    written, and Unavailable when the stores cannot be read.
    """
    if output.suffix not in ENDINGS:
        raise ConfigurationError(f"{output}: give a file that ends in {', '.join(ENDINGS)}")
    chosen = next((each for each in LANGUAGES if each == language), None)
    if chosen is None:
        raise ConfigurationError(f"--language {language}: give one of {', '.join(LANGUAGES)}")
    text = rendered(make(settings, days), output.suffix, chosen)
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error.strerror}") from error
    print(f"{output}: {days} {'day' if days == 1 else 'days'}, {len(text.encode()):,} bytes")


def make(settings: Settings, days: int) -> Report:
    """The report, read from the stores beside a running service or without one."""
    stores, redis = open_readers(settings), _redis(settings)
    try:
        ledger = Ledger(redis) if redis else None
        return build(stores.metrics, stores.traces, ledger, settings, days)
    finally:
        stores.close()
        if redis:
            redis.close()


def rendered(report: Report, ending: str, language: Language) -> str:
    """The report as `.html`, `.md` or `.json`."""
    match ending:
        case ".html":
            return html.render(report, language)
        case ".md":
            return markdown.render(report, language)
        case _:
            return report.model_dump_json(indent=2) + "\n"


def _redis(settings: Settings) -> Redis | None:
    """The Redis of the settings, or the one that `damoscope up` runs in the data folder."""
    found = with_redis(settings)
    return None if found is None else connect(found)
