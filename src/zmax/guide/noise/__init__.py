"""Search and ascent over all noises of a path, whole paths at a time."""
