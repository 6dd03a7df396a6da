"""Adjoint matching: regress the shift of every step's noise on the slope of the score, carried back by the parent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, share, whole
from zmax.core.errors import CapabilityError
from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.proposal import Evaluation, PathPoints, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.strategy import Need
from zmax.core.tuner import Check, Models, Recipe, Rollout, Tuner
from zmax.generators.diffusion.path import Path, PathSpace, path_of
from zmax.kit.forward import gap
from zmax.kit.path_kl import leverage
from zmax.kit.scale import Scale


@dataclass(frozen=True)
class AdjointState:
    """The stream of noises, the scale of the score, and the points that the last paths went through."""

    rng: Rng
    scale: Scale
    x: Float[Tensor, "n points ..."] | None = None


class Adjoint(Tuner[AdjointState]):
    r"""Match the denoiser to the parent's plus the slope of the score, carried back along paths of fresh noise.

    Along a path :math:`x_{i+1} = a_i x_i + b_i D_\theta(x_i) + c_i \xi_i` of the child, the lean adjoint

    .. math:: \lambda_N = \frac{1}{T} \frac{\partial S}{\partial x_N}, \qquad
        \lambda_i = \frac{\partial}{\partial x}\bigl[a_i x + b_i D(x)\bigr]_{x_i}^\top \lambda_{i+1}

    by the parent's D tells where the steps should lead, and the loss of a step is

    .. math:: L = \frac{b_i^2}{c_i^2} \bigl\|D_\theta(x_i) - D(x_i) - g_i \lambda_i\bigr\|^2, \qquad
        g_i = \frac{2 \eta^2}{1 + \eta^2} \frac{\sigma_i^2}{\alpha_i}

    whose mean over paths at a point is least where the denoiser is that of :math:`p(x) e^{S(x) / T}`: exactly so, at
    any number of steps, for Gaussians and quadratic scores. :math:`b / c` measures a change of D in units of the
    step's noise. The last step takes no noise: its weight, infinite in the limit, is that of the step before. The
    first has no signal to divide by: its shift is :math:`(c^2 / b) \lambda_1`, which is the same for short steps.

    Args:
        batch: samples a round.
        temperature: T, in units of the score; half the spread of the parent's scores if None, with a ceiling a
            sixteenth.
        times: steps that are trained on, drawn anew for each sample.
        eta: share of fresh noise, above 0. Only at 1 does the end of a path forget its beginning (the memoryless
            schedule); with less the child's law is another one.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[0.0, 0.0]], torch.eye(2)[None], [1.0])
        >>> S = zmax.testing.quadratic_score(b=[1.0, 0.0])
        >>> t = zmax.finetune(zmax.testing.trained(law), S, Adjoint(temperature=1.0), budget=1000)
        >>> t.after.look.score > t.before.look.score
        True
    """

    needs = frozenset({Need.PATH, Need.GRADIENT, Need.TENSORS})
    recipe = Recipe(rate=1e-3, updates=4, average=0.98)
    use = "a diffusion or flow model, S differentiable: converges to the tilted law"
    reference = "Domingo-Enrich et al., Adjoint matching, ICLR 2025, section 5, https://arxiv.org/abs/2409.08861"

    def __init__(self, *, batch: int = 32, temperature: float | None = None, times: int = 10, eta: float = 1.0) -> None:
        whole("Adjoint", batch=batch, times=times)
        positive("Adjoint", temperature=temperature)
        share("Adjoint", eta=eta)
        self.batch, self.temperature, self.times, self.eta = batch, temperature, times, eta

    def init(self, generator: Generator, rng: torch.Generator) -> AdjointState:
        """Begin with nothing known of the score."""
        steps = path_of(generator.space).steps
        if steps < 2:
            raise CapabilityError("adjoint matching", expected="a path of two steps or more", got=steps)
        return AdjointState(Rng.of(rng), Scale())

    def collect(self, state: AdjointState, models: Models) -> tuple[AdjointState, Proposal]:
        """Return the ends of paths of first order, where the score is differentiated."""
        rng, path = state.rng.generator(), self.path(models.child)
        u = PathSpace.along(path).sample(self.batch, rng)
        x = walked(path, _denoiser(models.child), u)
        ends = PathPoints(x[:, -1], torch.zeros(len(x)), u)
        return replace(state, rng=Rng.of(rng), x=x), Proposal(ends, Value(grad="sample"))

    def rollout(
        self, state: AdjointState, models: Models, evaluation: Evaluation
    ) -> tuple[AdjointState, Rollout | None]:
        """Return points of the paths, and where the denoiser should see each of them end."""
        assert state.x is not None, "collected before"
        assert evaluation.grad is not None, "asked for"
        scale, rng, ok = state.scale.told(evaluation.score, models.warmth), state.rng.generator(), evaluation.ok
        x, path = state.x[ok], self.path(models.child)
        after = AdjointState(state.rng, scale)
        if not len(x):
            return after, None
        slope = evaluation.grad[ok].to(x) / scale.temperature(self.temperature)
        wanted = aims(path, _denoiser(models.parent), x, slope)
        drawn = torch.rand(len(x), path.steps, generator=rng, device="cpu").argsort(1)[:, : self.times]
        sample = torch.arange(len(x), device="cpu")[:, None].expand_as(drawn).flatten()
        step = drawn.flatten()
        rows = {
            "x_t": x[sample, step],
            "t": path.times[step],
            "wanted": wanted[sample, step],
            "weight": weights(path)[step],
        }
        return replace(after, rng=Rng.of(rng)), Rollout(rows)

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return the squared error of the denoiser, in units of the steps' noise."""
        x_0 = _denoiser(models.child).denoise(rollout["x_t"], rollout["t"].to(rollout["x_t"]))
        return rollout["weight"].to(x_0) * gap(x_0, rollout["wanted"])

    def checks(self, models: Models, rollout: Rollout) -> list[Check]:
        """Say whether the score has a slope, the child begins as the parent, and guidance is in the adjoint."""
        x, t = rollout["x_t"], rollout["t"].to(rollout["x_t"])
        ours, (theirs, calls) = _denoiser(models.child).denoise(x, t), counted(_denoiser(models.parent), x, t)
        size, apart = float(gap(theirs, rollout["wanted"]).mean() ** 0.5), float((ours.detach() - theirs).abs().max())
        doubled = "" if calls <= len(x) else ": guided slopes blow up, finetune with guidance_scale=1"
        return [
            Check("the score has a slope", size > 0, f"previews should move by {size:.3g}"),
            Check("the child begins as the parent", apart == 0, f"previews differ by {apart:.3g}"),
            Check("no guidance in the adjoint", not doubled, f"{calls / len(x):g} evaluations a preview{doubled}"),
        ]

    def path(self, generator: Generator) -> Path:
        """Return the path that is followed: the generator's times, by steps of first order."""
        own = path_of(generator.space)
        return Path(own.schedule, own.steps, self.eta, own.shape, order=1)


def walked(path: Path, model: DiffusionGenerator, u: Float[Tensor, "n dim"]) -> Float[Tensor, "n points ..."]:
    """Return all points of the paths of these noises, the first and the last included."""
    noises = [u[:, path.columns(i)].reshape(-1, *path.shape) for i in range(path.steps)]
    x = [path.begin(noises[0])]
    for i in range(path.steps):
        x_0 = model.denoise(x[i], path.times[i].expand(len(u)).to(x[i])).to(x[i])
        x.append(path.step(i, x[i], x_0, noises[i + 1] if i + 1 < path.steps else None))
    return torch.stack(x, 1)


def aims(
    path: Path, parent: DiffusionGenerator, x: Float[Tensor, "n points ..."], slope: Float[Tensor, "n ..."]
) -> Float[Tensor, "n steps ..."]:
    r"""Return :math:`D(x_i) + g_i \lambda_i` at the points that steps set out from.

    Args:
        path: the path.
        parent: its denoiser is D.
        x: the points of paths.
        slope: :math:`\lambda_N`.
    """
    gain, found = gains(path), []
    for i in reversed(range(path.steps)):
        ahead = slope
        with torch.enable_grad():
            point = x[:, i].detach().requires_grad_()
            x_0 = parent.denoise(point, path.times[i].expand(len(x)).to(point)).to(point)
            (slope,) = torch.autograd.grad(path.step(i, point, x_0, None), point, ahead)
        found.append(x_0.detach() + gain[i] * (slope if i else ahead))
    return torch.stack(found[::-1], 1)


def gains(path: Path) -> list[float]:
    """Return by how much the slope at the point of each step moves its preview, g."""
    (_, b, c), share = path.factors(0), 2 * path.eta**2 / (1 + path.eta**2)
    levels = [path.levels(i) for i in range(1, path.steps)]
    return [c**2 / b, *(share * sigma**2 / alpha for alpha, sigma in levels)]


def weights(path: Path) -> Float[Tensor, " steps"]:
    """Return what an error of each step's preview costs, (b / c)^2."""
    known = leverage(path).square()
    return torch.cat([known, known[-1:]])


def counted(model: DiffusionGenerator, x: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> tuple[Tensor, int]:
    """Return previews, and how many evaluations of the networks they took."""
    rows: list[int] = []
    hooks = [
        network.register_forward_pre_hook(
            lambda _, args, kwargs: rows.append(next(len(v) for v in (*args, *kwargs.values()) if v.ndim)),
            with_kwargs=True,
        )
        for network in model.networks
    ]
    try:
        with torch.no_grad():
            return model.denoise(x, t), sum(rows)
    finally:
        for hook in hooks:
            hook.remove()


def _denoiser(generator: Generator) -> DiffusionGenerator:
    assert isinstance(generator, DiffusionGenerator), "a path was needed"
    return generator
