"""The chart's scaling rule, simulated over a day: `python -m benchmarks.autoscaling`."""
