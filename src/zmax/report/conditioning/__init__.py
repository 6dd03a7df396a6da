"""The page of a condition."""

from zmax.report.conditioning.page import write_conditioning

__all__ = ["write_conditioning"]
