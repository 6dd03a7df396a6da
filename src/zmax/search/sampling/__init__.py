"""Search without learning: draws of the prior, the best of N."""
