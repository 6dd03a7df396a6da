"""Condition a generator by a map of its noises that is told the score; the generator stays as it is."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from zmax.core.checks import share, whole
from zmax.core.errors import CapabilityError
from zmax.core.proposal import Proposal, SamplesAt
from zmax.core.tuner import Lesson, Models, Recipe, Rollout
from zmax.generators.asked_map import AskedMap, HeldMap, seen
from zmax.generators.judge import Judge
from zmax.kit.asked import conditioned
from zmax.kit.learner import Learner

ALONE, NARROWING = 0.4, 0.6
"""Share of the steps in which judges alone learn; of the rest, that in which the width falls to what it will be."""

LEFT_OUT = 0.3
"""Share of the features of judges that are left out of a row, so that they do not learn the lesson by heart."""


class NoiseMap(Learner):
    r"""Learn the law of the noises whose samples have a score: an invertible map of N(0, I), before G as it is.

    .. math:: \min_f\ E_s\, KL\bigl(q_f(u | s)\,\|\,p(u | s)\bigr), \qquad
        p(u | s) \propto N(u; 0, I)\, \exp\Bigl(-\frac{|m(G(u)) - s|^2}{2 \sigma^2}\Bigr)

    with a small network m that learns the score of samples from scored ones, in spreads of the scores. :math:`\sigma`
    falls from 1. Of a G without slopes a second network, of the noises, guides f, and of samples that are no tensors it
    does all. Of several candidates for a sample the one is kept of which m predicts what is asked for; see
    :class:`~zmax.generators.asked_map.AskedMap`. What G cannot make is never made, and what m cannot see is missed.

    Fitting f to the scored noises themselves by maximum likelihood has the same limit, but in 128 dimensions thousands
    of pairs tell it less than nothing: by the likelihood of others N(0, I) is better.

    Args:
        steps: optimiser steps.
        batch: rows of a step.
        width: :math:`\sigma` at the end, in spreads of the scores.
        among: candidates for each sample.
        asks: how often samples above the best are asked for, scored and added, at equal shares of the steps.
        asked: samples each time.
        sharpness: k of the weights 1 / (k N + rank) by which samples are drawn from the lesson; None draws all alike.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> import zmax
        >>> G = zmax.generator(lambda z: [f"{row:.2f}" for row in z[:, 0]], shape=(2,), modality="text")
        >>> S = zmax.score(lambda words: torch.tensor([float(word) for word in words]), name="number")
        >>> c = zmax.condition(G, S, NoiseMap(steps=300), budget=500)
        >>> all(0.5 < float(word) < 1.5 for word in c.sample(8, score=1.0))
        True
    """

    recipe = Recipe(rate=2e-3, updates=50, decay=0.05, average=0.98, cool=True)
    use = "any G, with samples of any kind; best where slopes can be had through G"
    reference = (
        "Rezende & Mohamed, Variational inference with normalizing flows, ICML 2015, section 4, "
        "https://arxiv.org/abs/1505.05770; couplings of Dinh et al., Real NVP, 2017, https://arxiv.org/abs/1605.08803"
    )

    def __init__(
        self,
        *,
        steps: int = 1500,
        batch: int = 64,
        width: float = 0.2,
        among: int = 16,
        asks: int = 0,
        asked: int = 64,
        sharpness: float | None = None,
    ) -> None:
        super().__init__(steps=steps, batch=batch, drop=0.0, asks=asks, asked=asked, sharpness=sharpness)
        share("NoiseMap", width=width)
        whole("NoiseMap", among=among)
        self.width, self.among = width, among
        self.moves = f"noises:{among}"

    def made(self, models: Models, wanted: Float[Tensor, "n k"], u: Float[Tensor, "n dim"]) -> tuple[Lesson, Proposal]:
        """Return what comes of the noises that the map leads to."""
        held = conditioned(models.child).asked(wanted)
        assert isinstance(held, HeldMap), "its noises are mapped"
        found = held.moved(u)
        x = held.inner.decode(held.inner.space.latents(found))
        return Lesson(x, wanted, found.cpu()), Proposal(SamplesAt(x))

    def rows(self, models: Models, part: Lesson, done: float, rng: torch.Generator) -> dict[str, Tensor]:
        """Return samples or noises, or both, with what judges leave out; noises for the map; and its width."""
        ask, n = _map(models), len(part)
        alone = done < ALONE
        fallen = min(1.0, (done - ALONE) / (1 - ALONE) / NARROWING)
        rows = {
            "known": ask.standard(part.score.float()).cpu(),
            "noise": models.parent.space.sample(n, rng),
            "width": torch.full((n,), float("nan") if alone else self.width**fallen, device="cpu"),
        }
        for name, judge in _judges(ask).items():
            rows[name] = seen(part.x) if name == "x" else _noises(part)
            for layer, length in enumerate(judge.hidden):
                kept = torch.rand(n, length, generator=rng, device="cpu") >= LEFT_OUT
                rows[f"{name} {layer}"] = kept / (1 - LEFT_OUT)
        return rows

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return the error of judges, and what the map is off by once it learns too."""
        ask = _map(models)
        known, width = rollout["known"].to(ask.middle), rollout["width"]
        total = known.new_zeros(len(known))
        for name, judge in _judges(ask).items():
            keep = [rollout[f"{name} {layer}"].to(known) for layer in range(len(judge.hidden))]
            total = total + smooth_l1_loss(judge(rollout[name].to(known), keep), known, reduction="none").sum(1)
        if bool(width.isnan().any()):
            return total
        return total + width.to(known).square() * divergence(models, rollout)


def divergence(models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
    r"""Return the integrand of KL(q || p), up to a constant, whose slope reaches the map alone.

    .. math:: \frac{|u|^2 - |v|^2}{2} - \log|\det \partial u / \partial v| + \frac{|m(u) - s|^2}{2 \sigma^2}
    """
    ask, inner, wanted = _map(models), conditioned(models.child).inner, rollout["score"]
    v, width = rollout["noise"].to(ask.middle), rollout["width"].to(ask.middle)
    u, log_det = ask.moved(v, wanted)
    point = u.detach().requires_grad_()
    far = (ask.off(ask.guided(inner, point), wanted.to(ask.middle)) / width[:, None]).square().sum(1) / 2
    (slope,) = torch.autograd.grad(far.sum(), point)
    return (u.square().sum(1) - v.square().sum(1)) / 2 - log_det + far.detach() + ((u - point) * slope).sum(1)


def _map(models: Models) -> AskedMap:
    ask = conditioned(models.child).ask
    assert isinstance(ask, AskedMap), "made so before training"
    return ask


def _judges(ask: AskedMap) -> dict[str, Judge]:
    """Return the networks that learn scores, by what they learn from."""
    judge = {"x" if ask.shape else "u": ask.judge}
    return judge if ask.guide is ask.judge else judge | {"u": ask.guide}


def _noises(part: Lesson) -> Float[Tensor, "n dim"]:
    if part.u is None:
        raise CapabilityError(
            "a map of noises of a generator without slopes",
            expected="scored samples of its own, whose noises are known",
            got="data",
            remedy="leave data= out, or say that G is differentiable where it is",
        )
    return part.u
