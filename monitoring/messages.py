"""What people are told, wherever it comes from: alerts, notices, reports."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

Language = Literal["en", "zh"]
Severity = Literal["info", "warning", "critical"]


class Message(BaseModel):
    """A text in both languages."""

    en: str
    zh: str
