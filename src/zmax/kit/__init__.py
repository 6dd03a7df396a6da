"""What methods are built of: chains, rows, the walk along a path, weights, ranks, the search law of CMA-ES."""
