"""Denoisers of clean samples at small noise: a generator's own network, or any that stands in for one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import CapabilityError, InputError
from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.samples import Samples
from zmax.generators.diffusion.affine import affine

RATIOS = (0.06, 1.2)
"""Noise levels sigma / alpha, in standard deviations of the data: what pixels hide, and what shapes hide."""


class Denoiser(ABC):
    """E[x | alpha x + sigma eps] at a few levels, in a scale of its own.

    Attributes:
        levels: (alpha, sigma) of each.
        slopes: whether a calibration may follow how the errors grow with the busyness of a sample; good networks know
            what is busy, those trained briefly find busy what is odd.
        metered: whether its evaluations are calls of G's own networks.
    """

    levels: Sequence[tuple[float, float]]
    slopes: ClassVar[bool]
    metered: ClassVar[bool]

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return what has to be stored of it."""

    @abstractmethod
    def clean(self, samples: Samples) -> Float[Tensor, "n ..."]:
        """Return samples in the denoiser's scale, with a graph where they have one."""

    @abstractmethod
    def __call__(self, x_t: Float[Tensor, "n ..."], level: int) -> Float[Tensor, "n ..."]:
        """Return the posterior mean, one network evaluation a row."""


class Own(Denoiser):
    """The network of a diffusion or flow model whose samples are an affine function of the ends of its paths.

    Args:
        generator: G.
        low, scale: samples are low + scale x_0.
        times: those of the levels, in G's schedule.
    """

    slopes = metered = True

    def __init__(self, generator: DiffusionGenerator, low: Tensor, scale: Tensor, times: Sequence[float]) -> None:
        self._generator, self._low, self._scale, self._times = generator, low, scale, times
        at = torch.tensor(times, device="cpu")
        alpha, sigma = generator.schedule.alpha(at).tolist(), generator.schedule.sigma(at).tolist()
        self.levels = list(zip(alpha, sigma, strict=True))

    def clean(self, samples: Samples) -> Float[Tensor, "n ..."]:
        """Invert `finish`."""
        assert isinstance(samples, Tensor), "checked when it was made"
        return (fitting(samples, self._low.shape[1:]).to(self._low.device).float() - self._low) / self._scale

    def __call__(self, x_t: Float[Tensor, "n ..."], level: int) -> Float[Tensor, "n ..."]:
        """Ask G's network, one evaluation a row."""
        time = torch.full((len(x_t),), self._times[level], device=x_t.device)
        return self._generator.denoise(x_t, time).to(x_t)

    def tensors(self) -> dict[str, Tensor]:
        """Return all but the generator."""
        return {"low": self._low, "scale": self._scale, "times": torch.tensor(self._times, dtype=torch.float64)}

    @classmethod
    def of(cls, generator: Generator, tensors: Mapping[str, Tensor]) -> Own:
        """Put it together again."""
        assert isinstance(generator, DiffusionGenerator), "its weights are those of one"
        low, scale = (tensors[name].to(generator.device) for name in ("low", "scale"))
        return cls(generator, low, scale, tensors["times"].tolist())


def fitting(samples: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the samples.

    Raises:
        InputError: they have another shape.
    """
    if tuple(samples.shape[1:]) != tuple(shape):
        got = tuple(samples.shape[1:])
        raise InputError("shape of a sample whose realism is asked", expected=tuple(shape), got=got)
    return samples


def own(generator: Generator, samples: Samples) -> Own | None:
    """Return the denoiser that a diffusion or flow model brings along.

    Args:
        generator: G.
        samples: some of its own, which say how the network's scale is inverted and how large its data are.

    Returns:
        None where G is no such model, `finish` is not affine in each value (a latent decoder), or the levels of its
        path are not known.
    """
    if not isinstance(generator, DiffusionGenerator) or not isinstance(samples, Tensor):
        return None
    found = affine(generator, samples)
    if found is None:
        return None
    low, scale = found
    size = float(((samples.float() - low) / scale).std())
    try:
        return Own(generator, low, scale, [time_of(generator, ratio * size) for ratio in RATIOS])
    except CapabilityError:
        return None


def time_of(generator: DiffusionGenerator, ratio: float, halvings: int = 40) -> float:
    """Return the time at which sigma / alpha is that ratio, by bisection; the nearest end where there is none."""
    noise, data = generator.schedule.times(1).double().cpu()
    for _ in range(halvings):
        middle = (noise + data) / 2
        sigma, alpha = generator.schedule.sigma(middle[None]), generator.schedule.alpha(middle[None])
        noise, data = (middle, data) if float(sigma) > ratio * float(alpha) else (noise, middle)
    return float(data)


def errors(
    denoiser: Denoiser, x: Float[Tensor, "n ..."], noises: Float[Tensor, "levels pairs ..."]
) -> tuple[list[Float[Tensor, "n ..."]], Float[Tensor, "n levels"]]:
    r"""Return what the denoising errors under common noises share, and how much they differ.

    .. math:: r_k = D(\alpha x + \sigma \epsilon_k) - x, \qquad
              \bar r = \tfrac1K \sum_k r_k, \qquad v = \log \tfrac1K \sum_k |r_k - \bar r|^2

    Each noise is used with both signs, so that what is odd in it drops out of the mean.

    Returns:
        The mean error at each level, and v.
    """
    shared, differ = [], []
    for level, (alpha, sigma) in enumerate(denoiser.levels):
        signed = [sign * eps for eps in noises[level].to(x) for sign in (1, -1)]
        each = torch.stack([denoiser(alpha * x + sigma * eps, level) - x for eps in signed])
        shared.append(each.mean(0))
        differ.append(mean_square(each - each.mean(0), batch=1).mean(0).log())
    return shared, torch.stack(differ, 1)


def mean_square(x: Tensor, batch: int = 0) -> Tensor:
    """Return the mean square of each row, never quite 0; `batch` says which axis the rows are on."""
    return x.square().flatten(batch + 1).mean(-1).clamp_min(1e-20)
