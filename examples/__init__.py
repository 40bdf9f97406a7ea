"""Pictures to try the service with: photographs and rendered scenes (README.md says whose)."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def photos() -> list[Path]:
    """The pictures, by name."""
    return sorted(_FOLDER.glob("*.jpg"))
