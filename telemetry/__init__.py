"""Writing telemetry: spans, metrics, trace context, resources."""
