"""`python -m run.generate` writes what is generated; with `--check` it names what is stale."""

from __future__ import annotations

import sys

from run.generate.files import GENERATED


def main(arguments: list[str]) -> int:
    """Returns the exit status: 1 when `--check` finds something stale."""
    if "--check" in arguments:
        stale = [part for part in GENERATED if part.is_stale]
        for part in stale:
            print(f"{part.title} is stale: run `make generate`", file=sys.stderr)
        return 1 if stale else 0
    for part in GENERATED:  # one may be made from those before it
        if part.is_stale:
            part.write()
            print(f"{part.title} written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
