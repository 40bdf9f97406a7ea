"""A table of the Model page as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

#: Columns that a telephone has room for. Of a wider table each row is a list there.
COLUMNS_MOST = 3


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Titles are text; cells of `rows` are HTML. A row of one cell heads those that follow."""
    titles = "".join(f"<th>{escape(title)}</th>" if title else "<td></td>" for title in head)
    body = "".join(f"<tr>{_cells(head, row)}</tr>" for row in rows)
    stacks = " stacks" if len(head) > COLUMNS_MOST else ""
    return (
        f'<div class="ds-table{stacks}" tabindex="0"><table><thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cells(head: Sequence[str], row: Sequence[str]) -> str:
    if len(row) == 1 < len(head):
        return f'<th colspan="{len(head)}" scope="rowgroup">{row[0]}</th>'
    return "".join(
        f'<td data-title="{escape(title)}">{cell}</td>'
        for title, cell in zip(head, row, strict=True)
    )
