"""`damoscope model`: the models that ship, are installed, can be fetched, and run."""
