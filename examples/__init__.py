"""Pictures to try the service with: rendered scenes, free of rights."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def photos() -> list[Path]:
    """The pictures, by name."""
    return sorted(_FOLDER.glob("*.jpg"))
