"""`python -m run` is `damoscope`."""

from run.cli import main

main()
