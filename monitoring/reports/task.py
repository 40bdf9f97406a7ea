"""The scheduled report, as an RQ job: made by the watcher, sent like any other notice."""

from __future__ import annotations

from rq import get_current_job

from monitoring.messages import Language, Message
from monitoring.notify.notice import Attachment, Notice
from monitoring.notify.queue import enqueue
from monitoring.reports import html, markdown
from monitoring.reports.command import make
from monitoring.reports.schema import Report
from monitoring.reports.sentences import Sentences
from pipeline.connection import connect
from pipeline.settings import Settings, load


def send(days: int, language: Language) -> None:
    """Build the report of the last `days` and queue it for every channel.

    The settings are read here, so that the job carries no secret. Raises Unavailable when the
    stores cannot be read.
    """
    settings = load()
    content = notice(make(settings, days), settings, language)
    job = get_current_job()
    redis = job.connection if job else connect(settings)
    enqueue(redis, content)


def notice(report: Report, settings: Settings, language: Language) -> Notice:
    """A report's summary in both languages, with the whole as a file in one of them."""
    link = f"{settings.public_url.rstrip('/')}/report" if settings.public_url else None
    return Notice(
        kind="report",
        severity="info",
        title=Message(en=Sentences(report, "en").title(), zh=Sentences(report, "zh").title()),
        body=Message(
            en=markdown.summary(report, "en", link), zh=markdown.summary(report, "zh", link)
        ),
        attachments=[
            Attachment(
                name="damoscope-report.html",
                media_type="text/html",
                text=html.render(report, language),
            )
        ],
    )
