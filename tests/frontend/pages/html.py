"""HTML of tables without what only the page's style needs."""

from __future__ import annotations

import re


def plain(html: str) -> str:
    """Without the titles that cells carry for narrow screens, and with spaces of one kind."""
    return re.sub(r' data-title="[^"]*"', "", html).replace("\u00a0", " ")
