"""The command `zmax`: the verbs of the library for a terminal, and nothing more.

torch is imported by the verbs that compute, so help comes at once.
"""

from zmax.cli.program import app, main

__all__ = ["app", "main"]
