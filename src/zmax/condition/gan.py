"""Condition a GAN: train its layers, told the score, against a discriminator that is told it too."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from zmax.core.checks import positive, whole
from zmax.core.errors import CapabilityError
from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.quantiles import Quantiles
from zmax.core.rng import Rng
from zmax.core.samples import sized
from zmax.core.strategy import Need
from zmax.core.tuner import Models, Recipe, Rollout
from zmax.kit.asked import conditioned
from zmax.kit.learner import Schooled, Schooling, tensor
from zmax.natural.vicinal import Vicinal, around, bandwidths, nearby

ALONE = 0.1
"""Share of the steps in which the discriminator alone learns: it begins with nothing, the generator with its parent."""

EDGE = 1e-4
"""How near to 0 and 1 labels are."""


@dataclass(frozen=True)
class GanState(Schooling):
    """How far learning has come, and the discriminator as tensors."""

    critic: dict[str, Tensor] | None = None


class GAN(Schooled[GanState]):
    r"""Continuous conditional GAN (CcGAN) from its parent's weights, with the soft vicinal loss.

    .. math:: \min_G -E \log \sigma(D(G(z, y), y)), \quad
        \min_D -E\, w(y_r, y) \log \sigma(D(x_r, y)) - E\, w(y_f, y) \log(1 - \sigma(D(G(z, y_f), y)))

    with targets :math:`y = y_i + \epsilon`, real samples and fake labels from the vicinity of a target, and weights
    :math:`w(y', y) = e^{-\nu (y' - y)^2}`. Labels are ranks among the scores of the lesson, so that they are spread
    evenly over [0, 1]. Networks learn how to be told them along with all else; the authors train that before. In as few
    steps as here samples come near what is asked for, and much alike: the generator collapses.

    Args:
        steps: optimiser steps of each of the two.
        batch: rows of a step.
        reach: :math:`\kappa` in largest gaps between two labels, of which :math:`\nu = \kappa^{-2}`.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> GAN(steps=500).progress(GanState(Rng.of(torch.Generator()), steps=100))
        0.2
    """

    needs = frozenset({Need.JACOBIAN, Need.TENSORS})
    recipe = Recipe(rate=2e-4, updates=4, average=0.995)
    use = "a GAN, as a peer; 'noise-map' comes nearer to what is asked, and does not collapse"
    reference = (
        "Ding et al., CcGAN: continuous conditional generative adversarial networks, ICLR 2021, section 2, "
        "https://arxiv.org/abs/2011.07466"
    )

    def __init__(self, *, steps: int = 1500, batch: int = 32, reach: float = 5.0) -> None:
        whole("GAN", steps=steps, batch=batch)
        positive("GAN", reach=reach)
        self.steps, self.batch, self.reach = steps, batch, reach

    def init(self, generator: Generator, rng: torch.Generator) -> GanState:
        """Begin without a discriminator."""
        if len(conditioned(generator).names) > 1:
            raise CapabilityError(
                "a GAN with labels on a line", expected="one score", got="several", remedy="choose 'noise-map'"
            )
        return GanState(Rng.of(rng))

    def collect(self, state: GanState, models: Models) -> tuple[GanState, Proposal | None]:
        """Return nothing to score: the lesson is all there is."""
        return state, None

    def rollout(self, state: GanState, models: Models, evaluation: Evaluation) -> tuple[GanState, Rollout | None]:
        """Train the discriminator for a round, and return targets and noises for the generator."""
        lesson, law, rng = models.lesson, conditioned(models.child).ask.law, state.rng.generator()
        assert lesson is not None, "a condition begins with one"
        x, label = tensor(lesson), ranks(law, lesson.score)
        sigma, nu = bandwidths(label, self.reach)
        if state.critic is None:
            critic = Vicinal(tuple(sized(x[:1]).shape[1:]))
            critic.features.scale(sized(x.float()))
        else:
            critic = Vicinal.of(state.critic)
        updates = min(self.recipe.updates, self.steps - state.steps)
        targets = self._targets(label, sigma, updates, rng)
        for target in targets.split(self.batch):
            real, fake = nearby(label, target, nu, rng), around(target, nu, rng)
            u = models.parent.space.sample(len(target), rng)
            made = sized(decoded(conditioned(models.child).asked(requests(law, fake)), u).float().cpu())
            critic.update((sized(x[real].float()), label[real]), (made, fake), target, nu)
        after = replace(state, rng=Rng.of(rng), steps=state.steps + self.recipe.updates, critic=critic.tensors())
        if self.progress(state) < ALONE:
            return after, None
        rows = self._rows(models, critic, self._targets(label, sigma, updates, rng), rng)
        return replace(after, rng=Rng.of(rng)), Rollout(rows)

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return the discriminator's verdict in a straight line about the samples of the round's beginning."""
        made = decoded(conditioned(models.child).asked(rollout["score"]), rollout["noise"])
        return (made * rollout["slope"].to(made)).flatten(1).sum(1)

    def _targets(self, label: Tensor, sigma: float, updates: int, rng: torch.Generator) -> Float[Tensor, " n"]:
        n = self.batch * updates
        drawn = label[torch.randint(len(label), (n,), generator=rng, device="cpu")]
        noise = torch.randn(n, generator=rng, device="cpu", dtype=torch.float32)
        return (drawn + sigma * noise).clamp(EDGE, 1 - EDGE)

    def _rows(
        self, models: Models, critic: Vicinal, targets: Float[Tensor, " n"], rng: torch.Generator
    ) -> dict[str, Tensor]:
        """Return targets and noises, with the slope of -log sigma(D) at the samples that they make now."""
        child, parts = conditioned(models.child), []
        noise, wanted = models.parent.space.sample(len(targets), rng), requests(child.ask.law, targets)
        for target, u, s in zip(
            targets.split(self.batch), noise.split(self.batch), wanted.split(self.batch), strict=True
        ):
            point = decoded(child.asked(s), u).detach().cpu().requires_grad_()
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(softplus(-critic(sized(point.float()), target)).sum(), point)
            parts.append(slope)
        return {"noise": noise, "score": wanted, "slope": torch.cat(parts)}


def ranks(law: Quantiles, score: Float[Tensor, "n 1"]) -> Float[Tensor, " n"]:
    """Return the share of the scores that lie below each."""
    return torch.special.ndtr(law.to_white(score.float()))[:, 0]


def requests(law: Quantiles, label: Float[Tensor, " n"]) -> Float[Tensor, "n 1"]:
    """Return the scores below which such shares lie."""
    return law.to_latent(torch.special.ndtri(label)[:, None])


def decoded(held: Generator, u: Float[Tensor, "n dim"]) -> Tensor:
    """Return the samples of whitened coordinates."""
    made = held.decode(held.space.latents(u))
    assert isinstance(made, Tensor), "checked at the opening"
    return made
