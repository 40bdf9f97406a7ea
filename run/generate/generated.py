"""One generated file, or one part of a page that is otherwise written by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: The repository: what is generated is generated in a checkout.
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Generated:
    """What `text` returns is the content of a file below the repository's root.

    With a `section` it is what stands between the lines `<!-- SECTION: begin -->` and
    `<!-- SECTION: end -->` of that file, which are `# SECTION: begin` and `# SECTION: end` where
    the file is no page.
    """

    path: str
    text: Callable[[], str]
    section: str = ""

    @property
    def title(self) -> str:
        """What it is, for a person."""
        return f"{self.path} ({self.section})" if self.section else self.path

    @property
    def is_stale(self) -> bool:
        """Whether the file says something else than the code. Raises ValueError without marks."""
        return self._wanted() != self._found()

    def write(self) -> None:
        """Bring the file up to date."""
        (ROOT / self.path).write_text(self._wanted(), encoding="utf-8")

    def _found(self) -> str:
        path = ROOT / self.path
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def _wanted(self) -> str:
        text = self.text().strip("\n") + "\n"
        if not self.section:
            return text
        line = "<!-- {}: {} -->\n" if self.path.endswith(".md") else "# {}: {}\n"
        begin, end = (line.format(self.section, mark) for mark in ("begin", "end"))
        page = self._found()
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"{self.path} needs the lines {begin.strip()} and {end.strip()}")
        before, _, rest = page.partition(begin)
        return f"{before}{begin}{text}{end}{rest.partition(end)[2]}"


def table(*rows: tuple[str, ...]) -> str:
    """A Markdown table; the first row is its head."""
    head, *others = ("| " + " | ".join(row).strip() + " |" for row in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *others])
