"""From samples back to latents: by an encoder, along the path of a diffusion model, or by search; and along paths."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import CapabilityError, InputError
from zmax.core.generator import DiffusionGenerator
from zmax.core.priors import EDGE, radial_retract
from zmax.core.proposal import PathPoints, Proposal, Unscored
from zmax.core.rng import stream
from zmax.core.samples import describe
from zmax.generators.diffusion.affine import affine
from zmax.generators.diffusion.path import PathSpace, along, has_path
from zmax.kit.walk import Walk
from zmax.run.evaluator import Evaluator

Search = Callable[[Tensor], Tensor]
"""Finds the coordinates (d,) of one sample by search."""

FITS, RATE, CLOSE = 300, 0.05, 1e-5
"""Steps of Adam that find what `finish` makes a sample of, their rate, and the mean squared error that ends them."""

ENCODED, NOISED, SEARCHED = "by its encoder", "along its path", "by search"


def inverse(
    evaluator: Evaluator, x: Float[Tensor, "n ..."], seed: int, search: Search
) -> tuple[Float[Tensor, "n dim"], str]:
    """Return coordinates of samples, and how they were found.

    A path's noises are those that lead along a path of the forward process from the sample (CycleDiffusion's, Wu and
    De la Torre 2023, *A latent space of stochastic diffusion models*, section 3.2, https://arxiv.org/abs/2210.05559);
    without fresh noise on the way, those of DDIM's steps taken backward (Song et al. 2021, section 4.3,
    https://arxiv.org/abs/2010.02502).

    Raises:
        InputError: the samples are of another shape than the generator's.
        CapabilityError: neither they nor what leads to them can be found.
    """
    generator = evaluator.generator
    if generator.encoder is not None:
        with torch.no_grad():
            return generator.encoder(x)[0].float().cpu(), ENCODED
    space = generator.space
    if isinstance(generator, DiffusionGenerator) and isinstance(space, PathSpace):
        with torch.no_grad():
            x_0 = network_scale(generator, x)
            found = _noises if has_path(space) else _noise
            return found(evaluator, x_0, stream(seed, "start")), NOISED
    return torch.stack([search(one) for one in x]), SEARCHED


def network_scale(generator: DiffusionGenerator, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Return the ends of paths of which `finish` makes the samples: exactly where it is affine, else by descent.

    Raises:
        CapabilityError: it is neither affine nor differentiable.
    """
    exact = affine(generator, x)
    if exact is not None:
        low, scale = (part.cpu() for part in exact)
        return (x - low) / scale
    shape = generator.space.blocks[0].shape
    with torch.enable_grad():
        ends = torch.zeros(len(x), *shape, device=generator.device, requires_grad=True)
        descent = torch.optim.Adam([ends], lr=RATE)
        for _ in range(FITS):
            made = generator.finish(ends)
            if not (isinstance(made, Tensor) and made.requires_grad):
                raise CapabilityError(
                    f"samples of start= for {generator.name!r}",
                    expected="a `finish` that is affine or differentiable",
                    got="neither",
                    remedy='give latents: start={"z": ...}',
                )
            if made.shape[1:] != x.shape[1:]:
                raise InputError("samples of start=", expected=("n", *made.shape[1:]), got=describe(x))
            error = (made.float() - x.to(made.device)).square().flatten(1).mean(1)
            if float(error.detach().max()) < CLOSE:
                break
            descent.zero_grad()
            error.sum().backward()
            descent.step()
    return ends.detach().float().cpu()


def _noises(evaluator: Evaluator, x_0: Tensor, rng: torch.Generator) -> Tensor:
    r"""Return all noises of paths to x_0, each of a plausible norm.

    .. math:: \xi_i = (x_s - a x_t - b D_i) / c, \qquad x_s \sim q(x_s \mid x_t, x_0)

    What a norm that is cut leaves undone the later steps make up for, since they set out from where it led.
    """
    space = along(evaluator.generator.space)
    path = space.path
    alpha, sigma = path.levels(0)
    walk = _begun(space, alpha / sigma * x_0 + torch.randn(x_0.shape, generator=rng, device="cpu"))
    while not walk.at_end(space):
        shown = _shown(evaluator, walk.x, path.times[walk.step])
        (alpha, sigma), (alpha_s, sigma_s) = path.levels(walk.step), path.levels(walk.step + 1)
        kept = alpha / alpha_s * sigma_s**2 / sigma**2
        spread = sigma_s / sigma * math.sqrt(max(sigma**2 - (alpha / alpha_s * sigma_s) ** 2, 0.0))
        fresh = spread * torch.randn(x_0.shape, generator=rng, device="cpu")
        there = alpha_s * x_0 + kept * (walk.x - alpha * x_0) + fresh
        noise = (there - walk.calm(space, shown)) / path.factors(walk.step)[2]
        noise = radial_retract(noise.flatten(1), EDGE).reshape(noise.shape)
        walk = walk.onward(space, shown, noise)
    return walk.u


def _noise(evaluator: Evaluator, x_0: Tensor, rng: torch.Generator) -> Tensor:
    """Return the initial noises from which steps without fresh noise lead to x_0, nearly."""
    space = evaluator.generator.space
    assert isinstance(space, PathSpace), "asked before"
    path = space.path
    alpha, sigma = path.levels(path.steps - 1)
    x = alpha * x_0 + sigma * torch.randn(x_0.shape, generator=rng, device="cpu")
    for k in reversed(range(1, path.steps)):
        shown = _shown(evaluator, x, path.times[k])
        (alpha, sigma), (ahead, behind) = path.levels(k), path.levels(k - 1)
        x = ahead * shown + behind / sigma * (x - alpha * shown)
    return (x / path.levels(0)[1]).flatten(1)


def passed(evaluator: Evaluator, u: Float[Tensor, "n dim"]) -> Float[Tensor, "n steps 2 ..."]:
    """Return all points of the paths with those noises, each with what the one before has shown."""
    space = along(evaluator.generator.space)
    path = space.path
    walk = _begun(space, u[:, path.columns(0)].reshape(-1, *path.shape))
    while not walk.at_end(space):
        noise = u[:, path.columns(walk.step + 1)].reshape(walk.x.shape)
        walk = walk.onward(space, _shown(evaluator, walk.x, path.times[walk.step]), noise)
    assert walk.passed is not None, "recorded"
    return walk.passed


def _begun(space: PathSpace, noise: Tensor) -> Walk:
    u, x = torch.zeros(len(noise), space.dim), space.path.begin(noise)
    u[:, space.path.columns(0)] = noise.flatten(1)
    before = torch.zeros_like(x)
    return Walk(0, x, before, u, torch.stack([x, before], 1)[:, None])


def _shown(evaluator: Evaluator, x: Tensor, t: Tensor) -> Tensor:
    """Return what points of a path at one time show, at the run's charge.

    Raises:
        InputError: the generator fails there.
    """
    batch = evaluator.evaluate(Proposal(PathPoints(x, t.expand(len(x))), Unscored()))
    if batch.failures or not isinstance(batch.shown, Tensor):
        got = next(iter(batch.failures.values()), describe(batch.shown))
        raise InputError(f"a path of {evaluator.generator.name!r} to a start", got=got)
    return batch.shown.float()


def blurs(x: Tensor) -> list[Tensor]:
    """Return samples, and where they are pictures also averaged over places of 2 by 2 and 4 by 4."""
    if x.ndim != 4 or min(x.shape[2:]) < 8:
        return [x]
    return [x, *(torch.nn.functional.avg_pool2d(x, size) for size in (2, 4))]


def distance(target: Tensor) -> Callable[[Tensor], Tensor]:
    """Return minus the mean squared error of samples to one, summed over :func:`blurs`."""
    wanted = blurs(target[None])

    def score(x: Tensor) -> Tensor:
        pairs = zip(blurs(x), wanted, strict=True)
        return -torch.stack([(a - b.to(a)).square().flatten(1).mean(1) for a, b in pairs]).sum(0)

    return score
