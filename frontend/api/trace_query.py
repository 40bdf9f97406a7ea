"""What a search for images may ask, as parameters of an address: the API's and the page's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from frontend.api.time_range import TIME_MAX_S, WINDOW_MAX_S, Moment, seconds
from monitoring.stores.contract import Window
from monitoring.stores.finding import VALUE_MAX, TraceQuery
from pipeline.errors import InvalidParameter

#: Milliseconds: a day, longer than anything takes.
DURATION_MAX_MS = 86_400_000

Text = Annotated[str, StringConstraints(min_length=1, max_length=VALUE_MAX)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Milliseconds = Annotated[float, Field(ge=0, le=DURATION_MAX_MS, allow_inf_nan=False)]
Outcome = Literal["ok", "invalid", "rejected", "failed", "timeout", "cancelled"]


class ImageFilters(BaseModel):
    """Which images: all that is given must hold. Texts are compared exactly."""

    model_config = {"extra": "forbid"}

    window: int | None = Field(
        None, ge=1, le=WINDOW_MAX_S, description="Seconds up to now; default: ever."
    )
    begin: Moment | None = Field(
        None, alias="from", description="Begun then or later: ISO 8601, in UTC unless it says "
        "otherwise, or seconds since 1970."
    )  # fmt: skip
    to: Moment | None = Field(None, description="Begun before that.")
    status: Literal["ok", "error"] | None = None
    outcome: list[Outcome] = Field([], max_length=6, description="Any of these; repeat it.")
    code: Text | None = Field(None, description="Code of the error.")
    label: Text | None = Field(None, description="A label that was found.")
    client: Text | None = Field(None, description="Name of the key, or of the login.")
    worker: Text | None = None
    model: Text | None = None
    model_version: Text | None = Field(None, description="What tells two files of one name apart.")
    route: Literal["api", "ui"] | None = None
    min_score: Share | None = Field(None, description="The best box scores this or more.")
    max_score: Share | None = Field(
        None, description="It scores this or less; where nothing was found it counts as 0."
    )
    min_duration_ms: Milliseconds | None = Field(None, description="Took this or longer.")
    max_duration_ms: Milliseconds | None = Field(None, description="Took less.")
    id: Text | None = Field(None, description="Id of a trace, or of a job.")

    def query(self) -> TraceQuery:
        """The question to a store. Raises InvalidParameter for what contradicts itself."""
        plain: dict[str, Any] = {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name in TraceQuery.__dataclass_fields__ and name != "window"
        }
        query = TraceQuery(window=self._window(), outcomes=tuple(self.outcome), **plain)
        _less("min_duration_ms", query.min_duration_ms, "max_duration_ms", query.max_duration_ms)
        if (query.min_score or 0.0) > (1.0 if query.max_score is None else query.max_score):
            raise InvalidParameter("min_score is more than max_score")
        return query

    def _window(self) -> Window | None:
        begin, to = seconds(self.begin), seconds(self.to)
        if self.window is not None:
            if begin is not None or to is not None:
                raise InvalidParameter("window: give it, or from and to, not both")
            return Window.last(self.window, time.time())
        if begin is None and to is None:
            return None
        for name, value in (("from", begin), ("to", to)):
            if value is not None and not 0 <= value <= TIME_MAX_S:
                raise InvalidParameter(f"{name}: a time between 1970 and 2255")
        _less("from", begin, "to", to)
        return Window(begin or 0.0, TIME_MAX_S if to is None else to)

    def parameters(self, **changes: str | int | None) -> list[tuple[str, str]]:
        """The same as names and values of an address, with some of them changed."""
        given: Mapping[str, Any] = self.model_dump(
            mode="json", by_alias=True, exclude_unset=True
        ) | {name: value for name, value in changes.items() if value is not None}
        return [
            (name, str(each))
            for name, value in given.items()
            if value is not None
            for each in (value if isinstance(value, list) else [value])
        ]


class ImageSearch(ImageFilters):
    """The same, and what of it is listed."""

    limit: int = Field(50, ge=1, le=1000)
    order: Literal["newest", "slowest"] = "newest"
    cursor: str | None = Field(
        None, max_length=64, description="From the answer before, whose `Link` has it."
    )


def _less(name: str, least: float | None, other: str, most: float | None) -> None:
    if least is not None and most is not None and least >= most:
        raise InvalidParameter(f"{name} must be less than {other}")
