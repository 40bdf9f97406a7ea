"""What many workers cost Redis."""
