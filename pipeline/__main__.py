"""`python -m pipeline` is `damoscope`."""

from pipeline.cli import main

main()
