"""Search by a model of the score, for scores that are dear."""
