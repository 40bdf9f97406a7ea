"""Images a second, latency and cost of the service beside bare loops and other servers."""
