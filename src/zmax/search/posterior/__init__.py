"""Draws of the tilted law by Markov chains in latent space; annealed, they maximise."""
