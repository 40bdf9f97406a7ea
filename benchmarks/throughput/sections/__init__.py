"""One file for each thing that is measured.

Each has `TITLE`, `estimate_s(options)`, `measure(options, say)` giving plain figures that go into
a JSON file, and `render(figures)` giving lines of Markdown.
"""

from __future__ import annotations

from benchmarks.throughput.sections import (
    jobs,
    lone,
    memory,
    models,
    photo,
    scaling,
    servers,
    tracing,
)

SECTIONS = {
    "servers": servers,
    "lone": lone,
    "jobs": jobs,
    "tracing": tracing,
    "scaling": scaling,
    "photo": photo,
    "models": models,
    "memory": memory,
}
