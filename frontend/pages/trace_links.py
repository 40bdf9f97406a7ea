"""Where the pages' links to traces lead. Addresses are relative, so that a proxy may put the
service under any path."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Links:
    """`jaeger_ui_url` is Jaeger as a browser reaches it; None where there is no Jaeger.

    A trace is seen in our own page, which has its picture and its result, and leads on to Jaeger.
    """

    jaeger_ui_url: str | None

    def jaeger(self, trace_id: str) -> str | None:
        """The trace in Jaeger's pages."""
        if self.jaeger_ui_url is None:
            return None
        return f"{self.jaeger_ui_url.rstrip('/')}/trace/{trace_id}"

    def trace(self, trace_id: str) -> str:
        """The trace in our Traces page."""
        return f"traces?trace={trace_id}"
