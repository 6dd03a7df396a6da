"""Which method suits this generator and this score."""

from zmax.diagnose.auto import choose, choose_sampler

__all__ = ["choose", "choose_sampler"]
