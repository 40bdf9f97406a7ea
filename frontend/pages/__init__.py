"""The pages: Detect, Monitor, Traces, Report."""
