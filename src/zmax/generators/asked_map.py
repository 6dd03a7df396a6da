"""Tells a generator scores by its noises alone: a map of them, before it, is told what is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.generator import Generator
from zmax.core.quantiles import Quantiles
from zmax.core.rng import stream
from zmax.core.samples import Samples, sized
from zmax.core.space import LatentValue, Space
from zmax.generators.asking import WIDTH, Embedded, rows_for
from zmax.generators.judge import Judge
from zmax.generators.mapped import Coupling, plain


class AskedMap(Embedded):
    r"""A map of noises that is told the scores that samples should have, and judges that choose and guide.

    .. math:: x = G(u_j), \quad j = \arg\min_i |m(G(u_i)) - s|, \qquad u_i = f(R_i v, s), \quad v \sim N(0, I)

    with f invertible, m a prediction of the score, and fixed rotations :math:`R_i` (permutations with signs, the first
    of which does nothing), so that one v gives one sample. At first f(v, s) = v and m = 0, so that x = G(v), as it is
    for ever where nothing is asked.

    Args:
        law: of each score.
        dim: number of noises.
        shape: of the samples that m judges, as :func:`~zmax.core.samples.sized` gives them; of none it judges noises.
        direct: whether slopes of m can be had through G; if not, another judge of noises has the slopes.
        among: how many candidates there are; each costs a sample of G that is not scored, where samples are judged.
    """

    turns: Tensor
    signs: Tensor
    middle: Tensor
    spread: Tensor

    def __init__(self, law: Quantiles, dim: int, shape: Sequence[int], direct: bool, among: int) -> None:
        super().__init__(law)
        self.shape, self.among = tuple(shape), among
        self.flow = Coupling(dim, WIDTH)
        self.judge = Judge(self.shape or (dim,), law.size)
        self.guide = self.judge if direct or not shape else Judge((dim,), law.size)
        rng = stream(0, "among", dim)
        turns = [torch.arange(dim, device="cpu")]
        turns += [torch.randperm(dim, generator=rng, device="cpu") for _ in range(among - 1)]
        signs = 2 * torch.randint(2, (among, dim), generator=rng, device="cpu") - 1
        signs[0] = 1
        known = law.knots[1:-1]
        held = {"turns": torch.stack(turns), "signs": signs.float(), "middle": known.mean(0), "spread": known.std(0)}
        for name, value in held.items():
            self.register_buffer(name, value, persistent=False)

    def space(self, inner: Generator) -> Space:
        """Return one whose latents tell their noises."""
        return plain(inner.space)

    def guides(self, inner: Generator) -> bool:
        """Return False: a map has no weight of guidance."""
        return False

    def held(self, inner: Generator, wanted: Tensor, away: Tensor, guidance: float) -> HeldMap:
        """Return the generator behind the map held at requests."""
        return HeldMap(inner, self, wanted)

    def moved(self, v: Tensor, wanted: Tensor) -> tuple[Float[Tensor, "n dim"], Float[Tensor, " n"]]:
        """Return f(v, s) and the logarithm of its determinant; v where nothing is asked."""
        v, free = v.to(self.flow.shift), wanted.isnan().all(1).to(self.flow.shift.device)
        u, log_det = self.flow(v, context=self.embed(wanted))
        return torch.where(free[:, None], v, u), torch.where(free, 0.0, log_det)

    def off(self, predicted: Float[Tensor, "n k"], wanted: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Return how far predictions are from requests, in spreads of the scores; 0 where nothing is asked."""
        return torch.where(wanted.isnan(), 0.0, predicted - self.standard(wanted).to(predicted))

    def standard(self, scores: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Return scores as judges predict them: of mean 0 and spread 1."""
        return (scores.to(self.middle) - self.middle) / self.spread.clamp_min(torch.finfo(self.spread.dtype).tiny)

    def judged(self, inner: Generator, u: Float[Tensor, "n dim"]) -> Float[Tensor, "n k"]:
        """Return the scores that are predicted of noises, by way of their samples where those can be judged."""
        predicted: Tensor = self.judge(seen(inner.decode(inner.space.latents(u))) if self.shape else u)
        return predicted

    def guided(self, inner: Generator, u: Float[Tensor, "n dim"]) -> Float[Tensor, "n k"]:
        """Return the same in a way that slopes can be had of."""
        if self.guide is self.judge:
            return self.judged(inner, u)
        predicted: Tensor = self.guide(u)
        return predicted


class HeldMap(Generator):
    """A generator behind a map of its noises that is held at requests.

    Args:
        inner: the generator, as it is.
        ask: the map.
        wanted: a row for each of the batch or one for all.
    """

    def __init__(self, inner: Generator, ask: AskedMap, wanted: Float[Tensor, "n k"]) -> None:
        self.inner, self.ask, self.wanted = inner, ask, wanted
        self.space, self.networks = ask.space(inner), (*inner.networks, ask)
        self.name, self.modality, self.differentiable = inner.name, inner.modality, inner.differentiable

    def decode(self, z: LatentValue) -> Samples:
        """Map the noises of latents, and decode those."""
        return self.inner.decode(self.inner.space.latents(self.moved(self.space.whiten(z))))

    def moved(self, v: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """Return the noises, of the candidates, whose predicted scores are nearest to what is asked for."""
        ask, wanted = self.ask, rows_for(self.wanted, v)
        pairs = zip(ask.turns, ask.signs, strict=True)
        found = torch.stack([ask.moved(v.to(signs)[:, turn] * signs, wanted)[0] for turn, signs in pairs])
        if len(found) == 1:
            return found[0]
        with torch.no_grad():
            off = torch.stack([ask.off(ask.judged(self.inner, u), wanted).square().sum(1) for u in found])
        return found[off.argmin(0), torch.arange(len(v), device=off.device)]


def seen(samples: Samples) -> Float[Tensor, "n ..."]:
    """Return samples as judges see them."""
    assert isinstance(samples, Tensor), "others are judged by their noises"
    return sized(samples.float())
