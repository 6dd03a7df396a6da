"""Which method suits this generator and this score."""

from zmax.diagnose.auto import choose, choose_sampler
from zmax.diagnose.conditioner import choose_conditioner
from zmax.diagnose.tuner import choose_tuner

__all__ = ["choose", "choose_conditioner", "choose_sampler", "choose_tuner"]
