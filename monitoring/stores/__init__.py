"""What telemetry is read from: the embedded store, or Prometheus and Jaeger."""
