"""The HTTP API: its routes, their documents, their errors."""
