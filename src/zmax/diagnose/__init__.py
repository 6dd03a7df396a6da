"""Which method suits this generator and this score."""

from zmax.diagnose.auto import choose

__all__ = ["choose"]
