"""Search for many good samples that differ: archives of the best of every kind."""
