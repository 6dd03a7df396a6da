"""Learn a map of the noises from few scores: finetune on an optimistic surrogate of S between the rounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import not_negative, positive, whole
from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation, Latents, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.strategy import Need
from zmax.core.tuner import Check, Models, Recipe, Rollout, Tuner
from zmax.finetune.latents.noise import DRAWN, priced
from zmax.generators.mapped import mapped
from zmax.kit.process import Process, flattened
from zmax.kit.sampled import sample_rows
from zmax.kit.scale import Scale


@dataclass(frozen=True)
class Belief:
    r"""What is believed of S / T, optimistically, up to a constant: :math:`(\mu + \beta \sigma)\, s / T`.

    Attributes:
        process: gives mu and sigma, in units of the spread s of the scores it knows.
        beta: what not knowing is worth.
        unit: s / T.
    """

    process: Process
    beta: float
    unit: float

    def of(self, samples: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
        """Return it at samples, with a graph to them."""
        mean, deviation = self.process.predict(self.process.features(samples.cpu()))
        return self.unit * (mean + self.beta * deviation)


@dataclass(frozen=True)
class SeikoState:
    """The stream of noises, the scale of the score, the samples so far with their scores, and what they taught."""

    rng: Rng
    scale: Scale
    process: Process
    x: Float[Tensor, "kept m"] | None = None
    score: Float[Tensor, " kept"] | None = None


class SEIKO(Tuner[SeikoState]):
    r"""Move the law of the noises towards the tilted one by a surrogate of S that likes what it does not know.

    Each round scores a few samples, conditions a Gaussian process on all so far (see
    :class:`~zmax.kit.process.Process`), and takes many steps on fresh noises without any score,

    .. math:: L(f) = E_u\Bigl[\log q(v) - \log N(v; 0, I) - \frac{\mu(G(v)) + \beta\,\sigma(G(v))}{T'}\Bigr],
        \qquad v = f(u),

    whose least is at :math:`p(x) e^{(\mu + \beta \sigma)(x) / T'}` as far as the map can. What it overrates it makes
    more of, and the next round scores that. :math:`T'^2 = T^2 + e^2` with the error e by which the round's scores were
    foreseen: while little is known, little is ventured. The authors finetune the weights of a diffusion model, by its
    path KL to the parent and to the round before; an invertible map has its KL exactly, and serves decoders too.

    Args:
        batch: score calls a round.
        temperature: T, in units of the score; half the spread of the parent's scores if None, with a ceiling a
            sixteenth.
        beta: :math:`\beta`, what a standard deviation of the surrogate is worth.
        rows: noises finetuned on a round.
        most: how many of the latest samples the process knows.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> import zmax
        >>> law = zmax.testing.linear_gaussian(torch.eye(2))
        >>> S = zmax.score(lambda x: x.detach()[:, 0], differentiable=False, name="black box")
        >>> t = zmax.finetune(law.generator(), S, SEIKO(temperature=1.0, rows=256), budget=120, rate=1e-2)
        >>> bool(0.5 < t.after.look.score < 1.5)
        True
    """

    needs = frozenset({Need.JACOBIAN, Need.TENSORS})
    recipe = Recipe(rate=2e-3, updates=16, average=0.95)
    moves = "latents"
    use = "a few hundred calls of a black-box S; G differentiable but not to be changed"
    reference = (
        "Uehara et al., Feedback efficient online fine-tuning of diffusion models, ICML 2024, algorithm 1, "
        "https://arxiv.org/abs/2402.16359"
    )

    def __init__(
        self,
        *,
        batch: int = 20,
        temperature: float | None = None,
        beta: float = 1.0,
        rows: int = 1024,
        most: int = 1024,
    ) -> None:
        whole("SEIKO", least=2, batch=batch, most=most)
        whole("SEIKO", rows=rows)
        positive("SEIKO", temperature=temperature)
        not_negative("SEIKO", beta=beta)
        self.batch, self.temperature, self.beta, self.rows, self.most = batch, temperature, beta, rows, most

    def init(self, generator: Generator, rng: torch.Generator) -> SeikoState:
        """Begin with nothing known."""
        return SeikoState(Rng.of(rng), Scale(), Process.blank())

    def collect(self, state: SeikoState, models: Models) -> tuple[SeikoState, Proposal]:
        """Return prior draws, which the child maps."""
        rng = state.rng.generator()
        u = models.child.space.sample(self.batch, rng)
        return replace(state, rng=Rng.of(rng)), Proposal(Latents(u), Value(samples=True))

    def rollout(self, state: SeikoState, models: Models, evaluation: Evaluation) -> tuple[SeikoState, Rollout | None]:
        """Return fresh noises, and what is believed of S."""
        samples, ok = sample_rows(evaluation)
        scale, rng = state.scale.told(evaluation.score, models.warmth), state.rng.generator()
        state = replace(state, scale=scale)
        if not bool(ok.any()):
            return state, None
        x, score = flattened(samples), evaluation.score[ok].double()
        error = missed(state, x, score)
        if state.x is not None and state.score is not None:
            x, score = torch.cat([state.x, x])[-self.most :], torch.cat([state.score, score])[-self.most :]
        state = replace(state, x=x, score=score)
        if len(score) < 2:
            return state, None
        process, spread = state.process.told(x, score), float(score.std(correction=0))
        temperature = math.hypot(scale.temperature(self.temperature), error)
        belief = Belief(process, self.beta, spread / temperature)
        u = models.child.space.sample(self.rows, rng)
        return replace(state, process=process, rng=Rng.of(rng)), Rollout({"u": u}, belief)

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return the KL's integrand less what is believed of S / T."""
        child, belief = mapped(models.child), rollout.shared
        v, nats = priced(child, rollout["u"])
        x = child.parent.decode(child.parent.space.latents(v))
        assert isinstance(x, Tensor), "found to be differentiable"
        return nats - belief.of(x).to(nats)

    def checks(self, models: Models, rollout: Rollout) -> list[Check]:
        """Say whether the map is the identity, and how well the surrogate tells scores apart."""
        v, _ = mapped(models.child).moved(rollout["u"])
        apart, process = float((v.detach().cpu() - rollout["u"]).abs().max()), rollout.shared.process
        kept = float(process.smoothed().std(correction=0))
        return [
            Check("the map begins as the identity", apart == 0, f"noises move by {apart:.3g}"),
            Check("the surrogate has a slope", kept > 1e-3, f"spread {kept:.2g} of that of the scores"),
        ]

    def divergence(self, models: Models, rng: torch.Generator) -> tuple[float, float] | None:
        """Return the KL of the mapped noises to N(0, I)."""
        return mapped(models.child).divergence(DRAWN, rng)


def missed(state: SeikoState, x: Float[Tensor, "n m"], score: Float[Tensor, " n"]) -> float:
    """Return the root mean square error with which scores were foreseen; their own spread where none were."""
    if state.score is None:
        return float(score.std(correction=0))
    mean, _ = state.process.predict(state.process.features(x))
    foreseen = state.score.mean() + state.score.std(correction=0) * mean
    return float((foreseen - score).square().mean().sqrt())
