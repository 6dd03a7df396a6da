"""Gradients at previews choose the noise of each step."""
