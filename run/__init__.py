"""The command line, the processes it keeps running, and the full stack without Docker."""
