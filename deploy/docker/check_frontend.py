"""Health check of the frontend's container: /healthz answers 200 (the image has no curl)."""

from __future__ import annotations

import os
import sys
from urllib.error import URLError
from urllib.request import urlopen


def main() -> int:
    """Exit code 0 when the process answers, else 1 with the reason on standard output."""
    url = f"http://127.0.0.1:{os.environ.get('DAMOSCOPE_PORT', '7860')}/healthz"
    try:
        with urlopen(url, timeout=2) as answer:
            return 0 if answer.status == 200 else 1
    except (URLError, OSError) as error:
        print(f"{url}: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
