"""The Monitor page: figures, plots and alerts of the running service."""
