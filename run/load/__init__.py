"""`damoscope load`: clients that send images to a service, and what became of each."""
