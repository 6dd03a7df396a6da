"""What zmax talks about: space, generator, score, strategy, budget, randomness, errors, registries."""
