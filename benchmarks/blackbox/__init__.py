"""The black-box suite: the same problems, calls and evaluation for zmax's methods and for other libraries."""
