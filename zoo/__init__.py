"""Recipes of the shipped weights: data, training, evaluation, cards. Not part of the wheel."""
