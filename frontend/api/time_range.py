"""Which time is asked for: the last seconds up to now, or from one moment to another."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field, WithJsonSchema

from pipeline.errors import InvalidParameter

#: Seconds in 30 days, which is as far back as metrics are kept by default.
WINDOW_MAX_S = 30 * 86400
WINDOW_MIN_S = 5
#: Seconds since 1970 that nanoseconds in 64 bits can say.
TIME_MAX_S = 9_000_000_000.0

#: More than `date-time` of JSON Schema: seconds, and what leaves out zone or time.
Moment = Annotated[datetime, WithJsonSchema({"type": "string", "minLength": 1})]


class AskedTime(NamedTuple):
    """Seconds that are asked for, and when they end; None is now."""

    window_s: float
    end_s: float | None


class TimeRange(BaseModel):
    """`window`, or `from` and perhaps `to`."""

    model_config = {"extra": "forbid"}

    window: int | None = Field(
        None, ge=WINDOW_MIN_S, le=WINDOW_MAX_S, description="Seconds up to now."
    )
    begin: Moment | None = Field(
        None, alias="from", description="Instead of `window`: ISO 8601, in UTC unless it says "
        "otherwise, or seconds since 1970."
    )  # fmt: skip
    to: Moment | None = Field(
        None, description="The end of what begins `from`; default, and at most: now."
    )

    def asked(self, window_s: int, now_s: float | None = None) -> AskedTime:
        """What is asked for, `window_s` without anything. Raises InvalidParameter for what
        contradicts itself, or is too short or too long."""
        now_s = time.time() if now_s is None else now_s
        begin_s, end_s = seconds(self.begin), seconds(self.to)
        if begin_s is None:
            if end_s is not None:
                raise InvalidParameter("to: say from when as well, by from")
            return AskedTime(window_s if self.window is None else self.window, None)
        if self.window is not None:
            raise InvalidParameter("window: give it, or from and to, not both")
        if end_s is not None and end_s <= begin_s:
            raise InvalidParameter("from must be less than to")
        if end_s is None or end_s >= now_s:
            length, end_s = now_s - begin_s, None
        else:
            length = end_s - begin_s
        if not WINDOW_MIN_S <= length <= WINDOW_MAX_S:
            raise InvalidParameter(
                f"from, to: the time between them, up to now, must be {WINDOW_MIN_S} s to "
                f"{WINDOW_MAX_S // 86400} days"
            )
        return AskedTime(length, end_s)


def seconds(moment: datetime | None) -> float | None:
    """Since 1970; in UTC where it names no zone."""
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
