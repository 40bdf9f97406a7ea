"""The service and the full stack's servers together, as a person runs them."""
