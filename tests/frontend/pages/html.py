"""HTML of tables without what only the page's style needs."""

from __future__ import annotations

import re


def plain(html: str) -> str:
    """Without the titles that cells carry for narrow screens and the places where long names may
    break, and with spaces of one kind."""
    return re.sub(r' data-title="[^"]*"|<wbr>', "", html).replace("\u00a0", " ")
