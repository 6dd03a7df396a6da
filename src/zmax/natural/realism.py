"""Realism: how usual a sample is among a generator's own, by what a denoiser gets wrong about it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.generator import Generator, decoded
from zmax.core.rng import stream
from zmax.core.samples import Samples
from zmax.natural import companion, shelf
from zmax.natural.calibration import Calibration, calibrated, two_sided
from zmax.natural.denoising import RATIOS, Denoiser, Own, errors, own

if TYPE_CHECKING:
    from rich.progress import Progress

DRAWS = 200
"""Samples of G that calibrate its own denoiser; a companion, whose G decodes fast, has more."""

BANK, MORE = 4096, 1000
"""Samples of G that a companion is trained on, and those that calibrate it."""

PAIRS, CHUNK = 2, 64
"""Noises a level, each used with both signs; samples denoised together."""

CONSTANT = "calibration."


class Realism:
    r"""The realism of samples, in [0, 1]: a p-value of the denoising error under fixed noises.

    At a small and a large noise level four common noises are put on the sample x and taken off again by a denoiser D
    of G's law, :math:`r_k = D(\alpha x + \sigma \epsilon_k) - x`. What the :math:`r_k` differ in is the noise's doing;
    what they share, :math:`\bar r`, is what the denoiser would change in x whatever the noise, an estimate of
    :math:`\nabla \log p(x)` of the blurred law. Its size, read by :class:`~zmax.natural.calibration.Calibration`, gives
    a standard score z that is nearly N(0, 1) on G's own draws, and

    .. math:: \mathrm{realism}(x) = \min\bigl(1, (1 - \Phi(z)) / 0.8, \Phi(z) / 0.2\bigr)

    so draws of G spread evenly over [0, 1]; too rough and too smooth are both unusual. Made by :func:`realism`.

    What it cannot see: whatever is locally as usual as G's samples, such as fewer kinds of them, or a wrong
    but well-drawn thing; and what a denoiser does not know because G itself makes it.

    References: denoising error as a measure of typicality, Graham et al. 2023, *Denoising diffusion models for
    out-of-distribution detection*, https://arxiv.org/abs/2211.07740; its shared part as the score, Vincent 2011.

    Attributes:
        denoiser: D.
        evaluations: network evaluations a sample.
    """

    evaluations = 2 * PAIRS * len(RATIOS)

    def __init__(self, denoiser: Denoiser, calibration: Calibration) -> None:
        self.denoiser, self.calibration = denoiser, calibration
        self._noises = _noises(len(denoiser.levels), calibration.centre.shape[1:])

    def unmetered(self, n: int) -> int:
        """Return the evaluations that n samples take beside calls of G's own networks."""
        return 0 if self.denoiser.metered else n * self.evaluations

    def of(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return the realism of samples, each from itself alone."""
        with torch.no_grad():
            return two_sided(self.z(samples))

    def z(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return their standard scores, large where the sample is unusually rough; autograd can follow."""
        x = self.denoiser.clean(samples)
        parts = [self.calibration.z(*errors(self.denoiser, part, self._noises)) for part in x.split(CHUNK)]
        return torch.cat(parts).to(x.device) if parts else x.new_zeros(0)


def realism(generator: Generator, *, progress: bool | None = None) -> Realism:
    """Return what measures the realism of a generator's samples; it is made once and kept in the user's cache.

    A diffusion or flow model is its own denoiser, and only 200 draws of it are needed. For GANs, VAEs, latent
    diffusion and any other decoder of images or vectors a small companion network is trained on 4,096 of its samples,
    which takes minutes. It is kept by name, latents and weights of the generator under `$ZMAX_CACHE` or the user's
    cache; a generator without weights is not kept.

    Args:
        generator: G.
        progress: whether a bar is shown; None for one where a person watches.

    Raises:
        CapabilityError: G makes neither images nor vectors. Of texts and molecules count valid and distinct ones.

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0, 0.0], [1.0, 0.0]], torch.eye(2).expand(2, 2, 2) / 9, [0.5, 0.5])
        >>> natural = zmax.realism(law.generator(steps=10))
        >>> p = natural.of(torch.tensor([[1.0, 0.2], [4.0, 4.0]]))
        >>> bool(p[0] > 0.05), bool(p[1] < 0.001)
        (True, True)
    """
    found = known(generator)
    return found if found is not None else _made(generator, progress)


def known(generator: Generator) -> Realism | None:
    """Return the measure that was made before for this generator, if there is one."""
    found = shelf.load(generator)
    return None if found is None else _read(generator, found)


def cost(decode: float) -> float:
    """Return how many network evaluations :func:`realism` takes where G is its own denoiser, at so many a decode."""
    return DRAWS * (decode + Realism.evaluations)


def has_denoiser(generator: Generator) -> bool:
    """Say whether a generator is its own denoiser, from two of its draws."""
    return own(generator, _drawn(generator, 2, "null")) is not None


def _made(generator: Generator, progress: bool | None) -> Realism:
    draws = _drawn(generator, DRAWS, "null")
    denoiser: Denoiser | None = own(generator, draws)
    if denoiser is None:
        companion.sized(draws)  # refuses what is neither image nor vector, before anything is spent
        with _bar(generator.name, progress) as told:
            denoiser = companion.trained(_drawn(generator, BANK, "bank"), told)
        draws = _drawn(generator, MORE, "null")
    x = denoiser.clean(draws)
    noises = _noises(len(denoiser.levels), x.shape[1:])
    with torch.no_grad():
        parts = [errors(denoiser, part, noises) for part in x.split(CHUNK)]
    shared = [torch.cat(level).cpu() for level in zip(*(part[0] for part in parts), strict=True)]
    made = Realism(denoiser, calibrated(shared, torch.cat([part[1] for part in parts]).cpu(), denoiser.slopes))
    shelf.store(generator, _written(made))
    return made


def _drawn(generator: Generator, n: int, name: str) -> Samples:
    return decoded(generator, generator.space.sample(n, stream(0, "realism", name)), CHUNK)


def _noises(levels: int, shape: torch.Size) -> Float[Tensor, "levels pairs ..."]:
    return torch.randn(levels, PAIRS, *shape, generator=stream(0, "realism", "noises"), device="cpu")


def _written(made: Realism) -> dict[str, Tensor]:
    constants = {CONSTANT + name: value for name, value in vars(made.calibration).items()}
    return constants | made.denoiser.tensors()


def _read(generator: Generator, found: dict[str, Tensor]) -> Realism:
    constants = {name.removeprefix(CONSTANT): t for name, t in found.items() if name.startswith(CONSTANT)}
    denoiser = Own.of(generator, found) if "times" in found else companion.Companion.of(found)
    return Realism(denoiser, Calibration(**constants))


def _bar(name: str, progress: bool | None) -> AbstractContextManager[Callable[[float], None]]:
    """Return what shows the share that is done."""
    if not (sys.stderr.isatty() if progress is None else progress):
        return nullcontext(lambda share: None)
    from rich.console import Console
    from rich.progress import Progress

    return _shown(Progress(console=Console(stderr=True)), f"companion of {name}")


@contextmanager
def _shown(progress: Progress, name: str) -> Iterator[Callable[[float], None]]:
    with progress:
        task = progress.add_task(name, total=1.0)
        yield lambda share: progress.update(task, completed=share)
