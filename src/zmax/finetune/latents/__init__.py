"""Tuners that leave G as it is and move the law of its noises, by an invertible map before it."""
