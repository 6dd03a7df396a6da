"""Move the weights of a generator until all its samples score high."""
