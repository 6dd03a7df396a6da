"""Learn a map of the noises from scored draws alone, by regression of its log-density."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import huber_loss

from zmax.core.checks import positive, whole
from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation, Latents, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.tuner import Check, Models, Recipe, Rollout, Tuner
from zmax.generators.mapped import mapped
from zmax.kit.scale import Scale

FAR = 5.0
"""Error in nats beyond which it counts linearly, so that a few very bad scores do not outweigh the rest."""

DRAWN = 4096
"""Points by which the divergence is estimated."""


@dataclass(frozen=True)
class NoiseRegressionState:
    """The stream of noises, the scale of the score, and the latest mapped noises with their scores, oldest first."""

    rng: Rng
    scale: Scale
    v: Float[Tensor, "kept dim"] | None = None
    score: Float[Tensor, " kept"] | None = None
    u: Float[Tensor, "n dim"] | None = None


class NoiseRegression(Tuner[NoiseRegressionState]):
    r"""Move the law of the noises, before a frozen generator, towards the tilted one by scored draws alone.

    With an invertible map f, the density q of :math:`v = f(u)` is known, and is that of the tilted law where

    .. math:: \log q(v) = \log N(v; 0, I) + \frac{S(G(v))}{T} - c

    at every v. The latest draws are fitted to that by least squares, c being the mean that makes fresh draws fit on
    average: the log-variance divergence, whose gradient on fresh draws is that of KL(q || tilted law) with a
    baseline. It has no noise at the end, takes draws of earlier maps without weights, and needs neither gradients nor
    samples that are tensors. The authors follow gradients of S.

    Args:
        batch: samples a round.
        temperature: T, in units of the score; half the spread of the parent's scores if None, with a ceiling a
            sixteenth.
        most: how many of the latest draws are remembered.
        rows: of them fitted a round.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> import zmax
        >>> G = zmax.generator(lambda z: [f"{row:.2f}" for row in z[:, 0]], shape=(2,), modality="text")
        >>> t = zmax.finetune(G, lambda words: torch.tensor([float(word) for word in words]),
        ...                   NoiseRegression(temperature=1.0), budget=2000)
        >>> bool(0.7 < t.after.look.score < 1.4)
        True
    """

    recipe = Recipe(rate=1e-3, updates=8, average=0.95)
    moves = "latents"
    use = "any G, with samples of any kind; S a black box"
    reference = (
        "Richter et al., VarGrad, NeurIPS 2020, section 3, https://arxiv.org/abs/2010.10436, for the noises of "
        "Eyring et al., Noise hypernetworks, NeurIPS 2025, https://arxiv.org/abs/2508.09968"
    )

    def __init__(self, *, batch: int = 64, temperature: float | None = None, most: int = 1024, rows: int = 256) -> None:
        whole("NoiseRegression", batch=batch, most=most, rows=rows)
        positive("NoiseRegression", temperature=temperature)
        self.batch, self.temperature, self.most, self.rows = batch, temperature, most, rows

    def init(self, generator: Generator, rng: torch.Generator) -> NoiseRegressionState:
        """Begin with no draws."""
        return NoiseRegressionState(Rng.of(rng), Scale())

    def collect(self, state: NoiseRegressionState, models: Models) -> tuple[NoiseRegressionState, Proposal]:
        """Return prior draws, which the child maps."""
        rng = state.rng.generator()
        u = models.child.space.sample(self.batch, rng)
        return replace(state, rng=Rng.of(rng), u=u), Proposal(Latents(u), Value())

    def rollout(
        self, state: NoiseRegressionState, models: Models, evaluation: Evaluation
    ) -> tuple[NoiseRegressionState, Rollout | None]:
        """Return some of the latest draws, with the log-density that they should have."""
        assert state.u is not None, "collected before"
        rng, scale, ok = state.rng.generator(), state.scale.told(evaluation.score, models.warmth), evaluation.ok
        after, temperature = replace(state, scale=scale, u=None), scale.temperature(self.temperature)
        if not bool(ok.any()) or not temperature > 0:
            return after, None
        fresh, log_ratio = (rows.cpu() for rows in mapped(models.child).moved(state.u[ok]))
        v, score = fresh, evaluation.score[ok]
        constant = float((score / temperature + log_ratio).mean())
        if state.v is not None and state.score is not None:
            v, score = torch.cat([state.v, v])[-self.most :], torch.cat([state.score, score])[-self.most :]
        drawn = torch.randperm(len(v), generator=rng, device="cpu")[: self.rows]
        wanted = score / temperature - constant - v.square().sum(1) / 2
        rows = {"v": v[drawn], "wanted": wanted[drawn].float()}
        return replace(after, rng=Rng.of(rng), v=v, score=score), Rollout(rows)

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return the squared error of the log-density."""
        flow = mapped(models.child).flow
        u, log_det = flow(rollout["v"].to(flow.shift), back=True)
        log_q = log_det - u.square().sum(1) / 2
        return huber_loss(log_q, rollout["wanted"].to(log_q), reduction="none", delta=FAR)

    def checks(self, models: Models, rollout: Rollout) -> list[Check]:
        """Say whether the map is the identity."""
        apart = float((mapped(models.child).moved(rollout["v"])[0].detach().cpu() - rollout["v"]).abs().max())
        return [Check("the map begins as the identity", apart == 0, f"noises move by {apart:.3g}")]

    def divergence(self, models: Models, rng: torch.Generator) -> tuple[float, float] | None:
        """Return the KL of the mapped noises to N(0, I)."""
        return mapped(models.child).divergence(DRAWN, rng)
