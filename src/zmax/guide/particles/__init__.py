"""Weighted particles walk the path and are resampled by what their previews score."""
