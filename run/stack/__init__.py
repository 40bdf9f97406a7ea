"""The full stack without Docker: the same servers, run natively with the same files.

`python -m run.stack --help`; docs/full-stack.md explains it.
"""
