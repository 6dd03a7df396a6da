"""Tuners that train the model by its own loss on weighted samples."""
