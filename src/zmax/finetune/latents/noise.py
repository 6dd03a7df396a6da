"""Learn a map of the noises by the gradient of the score, at an exact price in KL."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from zmax.core.checks import positive, whole
from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation, Latents, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.strategy import Need
from zmax.core.tuner import Check, Models, Recipe, Rollout, Tuner
from zmax.generators.mapped import Mapped, mapped
from zmax.kit.scale import Scale

DRAWN = 4096
"""Points by which the divergence is estimated."""


@dataclass(frozen=True)
class NoiseState:
    """The stream of noises, and the scale of the score."""

    rng: Rng
    scale: Scale
    u: Float[Tensor, "n dim"] | None = None


class Noise(Tuner[NoiseState]):
    r"""Move the law of the noises, before a frozen generator, towards the tilted one by gradients.

    With an invertible map f and :math:`v = f(u)`, whose density q is known,

    .. math:: L(f) = E_u\Bigl[\log q(v) - \log N(v; 0, I) - \frac{S(G(v))}{T}\Bigr]
        = KL\bigl(q \,\|\, N(v) e^{S(G(v)) / T}\bigr) + \text{constant},

    so that samples G(v) follow the tilted law as far as the map can. The authors' map is a network of any kind, whose
    KL they bound by :math:`|v - u|^2 / 2`. S is differentiated by u, and the map's inverse carries the gradient on to
    v; that of log q at v is taken with the weights held, which leaves its mean and takes away its noise at the end.

    Args:
        batch: samples a round.
        temperature: T, in units of the score; half the spread of the parent's scores if None, with a ceiling a
            sixteenth.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> import zmax
        >>> law = zmax.testing.linear_gaussian(torch.eye(2))
        >>> S = zmax.testing.quadratic_score(b=[1.0, 0.0])
        >>> t = zmax.finetune(law.generator(), S, Noise(temperature=1.0), budget=2000)
        >>> bool(0.8 < t.after.look.score < 1.4), t.generator.parent.name
        (True, 'linear-gaussian')
    """

    needs = frozenset({Need.GRADIENT})
    recipe = Recipe(rate=2e-3, updates=4, average=0.95)
    moves = "latents"
    use = "G differentiable but not to be changed, a GAN or VAE; S differentiable"
    reference = "Eyring et al., Noise hypernetworks, NeurIPS 2025, section 3, https://arxiv.org/abs/2508.09968"

    def __init__(self, *, batch: int = 32, temperature: float | None = None) -> None:
        whole("Noise", batch=batch)
        positive("Noise", temperature=temperature)
        self.batch, self.temperature = batch, temperature

    def init(self, generator: Generator, rng: torch.Generator) -> NoiseState:
        """Begin with nothing known of the score."""
        return NoiseState(Rng.of(rng), Scale())

    def collect(self, state: NoiseState, models: Models) -> tuple[NoiseState, Proposal]:
        """Return prior draws, by which the score is differentiated."""
        rng = state.rng.generator()
        u = models.child.space.sample(self.batch, rng)
        return replace(state, rng=Rng.of(rng), u=u), Proposal(Latents(u), Value(grad="point"))

    def rollout(self, state: NoiseState, models: Models, evaluation: Evaluation) -> tuple[NoiseState, Rollout | None]:
        """Return noises with the slope of S / T at the points that they are mapped to."""
        assert evaluation.grad is not None, "asked for"
        assert state.u is not None, "collected before"
        scale, ok, flow = state.scale.told(evaluation.score, models.warmth), evaluation.ok, mapped(models.child).flow
        if not bool(ok.any()):
            return replace(state, u=None, scale=scale), None
        u, slope = (rows[ok].to(flow.shift) for rows in (state.u, evaluation.grad))
        with torch.enable_grad():
            v = flow(u)[0].detach().requires_grad_()
            (slope,) = torch.autograd.grad(flow(v, back=True)[0], v, slope)
        rows = {"u": state.u[ok], "slope": slope.cpu() / scale.temperature(self.temperature)}
        return replace(state, u=None, scale=scale), Rollout(rows)

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return the KL's integrand less the gain in S / T."""
        v, nats = priced(mapped(models.child), rollout["u"])
        return nats - (v * rollout["slope"].to(v)).sum(1)

    def checks(self, models: Models, rollout: Rollout) -> list[Check]:
        """Say whether the map is the identity, and how large the slopes are."""
        v, _ = mapped(models.child).moved(rollout["u"])
        apart = float((v.detach().cpu() - rollout["u"]).abs().max())
        size = float(rollout["slope"].norm(dim=1).mean())
        return [
            Check("the map begins as the identity", apart == 0, f"noises move by {apart:.3g}"),
            Check("the score has a slope", size > 0, f"mean norm {size:.3g} of dS/dv over T"),
        ]

    def divergence(self, models: Models, rng: torch.Generator) -> tuple[float, float] | None:
        """Return the KL of the mapped noises to N(0, I)."""
        return mapped(models.child).divergence(DRAWN, rng)


def priced(child: Mapped, u: Float[Tensor, "n dim"]) -> tuple[Float[Tensor, "n dim"], Float[Tensor, " n"]]:
    """Return v = f(u) and log q(v) / N(v), whose gradient goes through v alone: that by q itself is 0 on average."""
    v, _ = child.moved(u)
    held = {name: weight.detach() for name, weight in child.flow.named_parameters()}
    back, log_det = functional_call(child.flow, held, (v, True))
    return v, (v.square().sum(1) - back.square().sum(1)) / 2 + log_det
