"""The embedded telemetry store: OTLP in, one SQLite file, traces and metrics out."""
