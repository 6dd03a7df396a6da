"""What search laws with a diagonal covariance share: few passes over the draws, whatever the dimension."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.proposal import Evaluation
from zmax.kit.ranks import ranking, shared

COLUMNS = 16_384


def by_row(
    draws: Float[Tensor, "drawn dim"], evaluation: Evaluation, by_rank: Float[Tensor, " alive"]
) -> tuple[Float[Tensor, "alive dim"], Float[Tensor, " alive"]]:
    """Return the draws that did not fail and, for each of them, the weight that its rank earns, shared by ties."""
    ok = evaluation.ok[: len(draws)]
    score = evaluation.score[: len(draws)]
    order = ranking(score, ok)[: len(by_rank)]
    weight = torch.zeros(len(draws)).index_put_((order,), shared(by_rank, score[order]).float())
    return (draws, weight) if len(by_rank) == len(draws) else (draws[ok], weight[ok])


def scaled_draws(
    mean: Float[Tensor, " dim"], scale: Float[Tensor, " dim"], draws: Float[Tensor, "n dim"]
) -> Float[Tensor, "n+1 dim"]:
    """Return mean + scale * draws, and the mean as the last row."""
    u = draws.new_empty(len(draws) + 1, draws.shape[1])
    torch.addcmul(mean, scale, draws, out=u[:-1])
    u[-1] = mean
    return u


def weighted_square(weight: Float[Tensor, " n"], draws: Float[Tensor, "n dim"]) -> Float[Tensor, " dim"]:
    """Return sum_k w_k draws_k^2, some columns at a time to stay within the cache."""
    return torch.cat([weight @ part.square() for part in draws.split(COLUMNS, dim=1)])
