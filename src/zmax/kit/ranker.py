"""A surrogate that learned only which of two samples scores higher: it chooses among candidates for a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import softplus

from zmax.core.quantiles import Quantiles
from zmax.core.samples import sized
from zmax.generators.judge import Judge

STEPS, PASSES, BATCH, RATE, DECAY = 400, 32, 64, 2e-3, 0.05
"""Steps of training and passes over the data, both at most; samples of a step, of which all pairs are compared; and
AdamW's rate at first and its decay."""

ASIDE, FEWEST = 8, 16
"""One sample in so many is kept aside, and the fewest samples that can be learned from."""

MANY = 256
"""Samples looked at together."""


class Ranker(nn.Module):
    r"""Ranks samples by scores, each score on its own, and chooses candidates for a request.

    .. math:: L = E_{i, j} \log\bigl(1 + e^{-\mathrm{sign}(s_i - s_j)\,(f(x_i) - f(x_j))}\bigr)

    Its outputs have no unit: they are read as places among those of the data. References: Burges et al. 2005, *Learning
    to rank using gradient descent* (RankNet), sec. 3; as a surrogate that is asked beyond its data, Tan et al. 2024,
    *Offline model-based optimization by learning to rank*, sec. 4, https://arxiv.org/abs/2410.11502.

    Args:
        shape: of a sample, as :func:`~zmax.core.samples.sized` gives it.
        k: number of scores.
    """

    law: Tensor
    places: Tensor
    ends: Tensor
    right: Tensor

    def __init__(self, shape: Sequence[int], k: int) -> None:
        super().__init__()
        self.shape, self.judge = tuple(shape), Judge(shape, k)
        knots = Quantiles.fit(torch.linspace(-1, 1, FEWEST, device="cpu")[:, None].expand(-1, k)).knots
        self.register_buffer("law", knots)
        self.register_buffer("places", knots.clone())
        self.register_buffer("ends", torch.zeros(2, k, device="cpu"))
        self.register_buffer("right", torch.zeros(k, device="cpu"))

    def loss(self, x: Float[Tensor, "n ..."], score: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
        """Return the pairwise logistic loss over all pairs whose scores differ."""
        told, sign = self.judge(x), torch.sign(score[:, None] - score[None])
        each = softplus(-sign * (told[:, None] - told[None])) * sign.abs()
        return each.sum() / sign.abs().sum().clamp_min(1)

    def order(self, samples: Float[Tensor, "n ..."], wanted: Float[Tensor, " k"]) -> Int[Tensor, " n"]:
        """Return the numbers of candidates from the best for a request to the worst.

        Nearest to the place of what is asked among the data; asked beyond the data, the highest, or lowest, first.
        """
        at, places = Quantiles(self.law).to_white(wanted[None].float()), Quantiles(self.places)
        seen = places.to_white(self._told(samples))
        low, high = self.ends
        off = (seen - at).abs()
        off = torch.where(wanted > high, -seen, torch.where(wanted < low, seen, off))
        return torch.where(wanted.isnan(), 0.0, off).sum(1).argsort(stable=True)

    def _told(self, samples: Float[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        x = sized(samples.detach().float().cpu())
        with torch.no_grad():
            return torch.cat([self.judge(part) for part in x.split(MANY)])

    def tensors(self) -> dict[str, Tensor]:
        """Return all there is of it."""
        return {"shape": torch.tensor(self.shape, device="cpu"), **self.state_dict()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Ranker:
        """Put it together again."""
        made = cls(tensors["shape"].tolist(), len(tensors["right"]))
        made.load_state_dict({name: tensors[name] for name in made.state_dict()})
        return made

    @classmethod
    def learned(cls, samples: Float[Tensor, "n ..."], score: Float[Tensor, "n k"], rng: torch.Generator) -> Ranker:
        """Learn to rank scored samples, and find out by some kept aside how often it is right."""
        x, order = sized(samples.detach().float().cpu()), torch.randperm(len(score), generator=rng, device="cpu")
        score = score.float().cpu()
        aside, known = order[: len(order) // ASIDE], order[len(order) // ASIDE :]
        made = cls(x.shape[1:], score.shape[1])
        made.judge.scale(x)
        moving = [weight for weight in made.judge.parameters() if weight.requires_grad]
        optimiser = torch.optim.AdamW(moving, lr=RATE, weight_decay=DECAY)
        steps = min(STEPS, -(-PASSES * len(known) // BATCH))
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            rows = known[torch.randint(len(known), (BATCH,), generator=rng, device="cpu")]
            optimiser.zero_grad()
            with torch.enable_grad():
                made.loss(x[rows], score[rows]).backward()
            optimiser.step()
            falling.step()
        made.ends = torch.stack([score.amin(0), score.amax(0)])
        made.law, told = Quantiles.fit(score).knots, made._told(x)
        made.places, made.right = Quantiles.fit(told).knots, ordered(told[aside], score[aside])
        return made


def ordered(told: Float[Tensor, "n k"], score: Float[Tensor, "n k"]) -> Float[Tensor, " k"]:
    """Return the share of pairs of different scores that are told in the right order.

    Example:
        >>> ordered(torch.tensor([[0.0], [2.0], [1.0]]), torch.tensor([[1.0], [2.0], [3.0]])).tolist()
        [0.666...]
    """
    sign = torch.sign(score[:, None] - score[None])
    right = sign * torch.sign(told[:, None] - told[None]) > 0
    return right.sum((0, 1)) / sign.abs().sum((0, 1))
