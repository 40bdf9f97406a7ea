"""`damoscope eval`: how good a model is on labelled images, through the worker's own code."""
