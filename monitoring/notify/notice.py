"""What is sent to people: an alert that fires or is over, a report, a test."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from monitoring.messages import Message, Severity

Kind = Literal["firing", "resolved", "report", "test"]


class Attachment(BaseModel):
    """A file that goes with a notice, where the channel takes one."""

    name: str
    media_type: str
    text: str


class Notice(BaseModel):
    """One notification in both languages; each channel gets the language of the settings.

    It is kept in Redis until it is sent, so it never holds a secret.
    """

    kind: Kind
    severity: Severity
    #: One line.
    title: Message
    #: Markdown.
    body: Message
    #: Id of the episode that it tells of as it fires: a channel is told once of each.
    about: str = ""
    attachments: list[Attachment] = Field(default_factory=list)
