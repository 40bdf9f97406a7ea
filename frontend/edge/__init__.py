"""The outermost layer: where a request comes from, and as what the service is known outside."""
