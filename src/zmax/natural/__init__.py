"""How natural samples are: their realism, by a denoiser of the generator's own law."""

from zmax.natural.realism import Realism, cost, has_denoiser, known, realism

__all__ = ["Realism", "cost", "has_denoiser", "known", "realism"]
