"""The files that say again what the code says: `make generate` writes them, a test compares."""
