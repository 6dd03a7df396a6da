"""Tuners that follow gradients of the score."""
