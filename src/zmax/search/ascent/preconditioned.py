"""Gradient ascent preconditioned by a sketch of the metric that the decoder pulls back to its latents."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.proposal import Evaluation, Latents, Proposal, Pullback, Pushforward
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.state import STATIC
from zmax.core.strategy import Gives, Need, Strategy
from zmax.search.ascent.lbfgs import LBFGS, LBFGSState

CUT = 1e-6  # share of the largest eigenvalue below which a sketched one is rounding: products are single precision


@dataclass(frozen=True)
class PreconditionedState:
    """The sketch as far as it has come, then the chains.

    Attributes:
        chains: the chains, which move once the sketch is done.
        u: where the metric is measured: `points` prior draws for each probe.
        probes: orthonormal directions (d, k).
        pushed: J(u) v for each row of u, empty before it is known and after it was pulled back.
        stage: 0 before the pushforward, 1 before the pullback, 2 when the sketch is done.
    """

    chains: LBFGSState
    u: Float[Tensor, "rows d"]
    probes: Float[Tensor, "d k"]
    pushed: Tensor
    stage: int
    space: Space = field(metadata=STATIC)


class Preconditioned(Strategy[PreconditionedState]):
    r"""L-BFGS ascent that starts from the inverse of the pullback metric instead of the identity.

    The metric :math:`M = E_u[J(u)^\top J(u)]` of a deep decoder has few large eigenvalues and is nearly the same
    everywhere. It is sketched once: with k orthonormal probes :math:`\Omega` and a few prior draws,
    :math:`Y = M\,\Omega` by one pushforward and one pullback each, and then (Nystrom)

    .. math:: M \approx Y\,(\Omega^\top Y)^{-1}\,Y^\top = U \Lambda U^\top, \qquad
              P = I + U\,\mathrm{diag}\Bigl(\frac{\lambda_k + \mu}{\lambda_i + \mu} - 1\Bigr)\,U^\top

    where :math:`\mu` is `damping` times the largest eigenvalue. P is the first inverse curvature of
    :class:`~zmax.search.ascent.lbfgs.LBFGS`. If the products fail, P is the identity. The sketch costs 2 k `points`
    decodes and 3 k `points` backward passes, and no score call.

    Args:
        rank: probes k, at most d.
        points: prior draws that the metric is averaged over, for each probe.
        damping: :math:`\mu` as a share of the largest eigenvalue.
        step, memory, batch, retract: as in :class:`~zmax.search.ascent.lbfgs.LBFGS`.

    Raises:
        InputError: an argument is not a positive number.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = Preconditioned(rank=8, points=2)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).tangent.shape
        torch.Size([16, 100])
    """

    needs = frozenset({Need.GRADIENT, Need.JACOBIAN})
    gives = frozenset({Gives.RETRACTION})
    use: ClassVar[str] = "a decoder that is far more sensitive in some latent directions than in others"
    reference: ClassVar[str] = "Wang and Ponce, ICLR 2021, sections 3 and 5, https://arxiv.org/abs/2101.06006"

    def __init__(
        self,
        *,
        rank: int = 16,
        points: int = 1,
        damping: float = 1e-3,
        step: float = 0.3,
        memory: int = 8,
        batch: int = 8,
        retract: bool = True,
    ) -> None:
        positive("Preconditioned", damping=damping, step=step)
        whole("Preconditioned", rank=rank, points=points, memory=memory, batch=batch)
        self.rank = rank
        self.points = points
        self.damping = damping
        self.step = step
        self.memory = memory
        self.batch = batch
        self.retract = retract
        self._climb = LBFGS(step=step, memory=memory, batch=batch, retract=retract)

    def init(self, space: Space, rng: torch.Generator) -> PreconditionedState:
        """Draw the chains, the probes, and the points at which they are pushed forward."""
        chains = self._climb.init(space, rng)
        generator = chains.rng.generator()
        k = min(self.rank, space.dim)
        raw = torch.randn(space.dim, k, generator=generator, dtype=torch.float64, device="cpu")
        probes = torch.linalg.qr(raw).Q
        u = space.sample(self.points, generator).repeat_interleave(k, dim=0)
        chains = replace(chains, rng=Rng.of(generator))
        return PreconditionedState(chains, u, probes, torch.zeros(0), 0, space)

    def ask(self, state: PreconditionedState) -> Proposal:
        """Return the probes, then what came back of them, then the points each chain tries."""
        if state.stage == 0:
            return Proposal(Latents(state.u), Pushforward(state.probes.T.float().repeat(self.points, 1)))
        if state.stage == 1:
            return Proposal(Latents(state.u), Pullback(state.pushed))
        return self._climb.ask(state.chains)

    def tell(self, state: PreconditionedState, evaluation: Evaluation) -> PreconditionedState:
        """Take in the sketch, or move the chains."""
        if state.stage == 2:
            return replace(state, chains=self._climb.tell(state.chains, evaluation))
        product, ok = evaluation.grad, evaluation.ok
        if product is None or not bool(ok.any()):
            return replace(state, stage=2, pushed=torch.zeros(0))
        if state.stage == 0:
            return replace(state, stage=1, pushed=product)
        probes, image = averaged(state.probes, product.double(), ok)
        basis, values = nystrom(probes, image)
        chains = replace(state.chains, basis=basis, gain=inverse_gain(values, self.damping))
        return replace(state, chains=chains, stage=2, pushed=torch.zeros(0))


def averaged(
    probes: Float[Tensor, "d k"], products: Float[Tensor, "rows d"], ok: Bool[Tensor, " rows"]
) -> tuple[Float[Tensor, "d j"], Float[Tensor, "d j"]]:
    """Average each probe's products over the points where none failed; without such a point, keep no probe."""
    k = probes.shape[1]
    by_point, good = products.reshape(-1, k, products.shape[1]), ok.reshape(-1, k).all(1)
    if not bool(good.any()):
        return probes[:, :0], probes[:, :0]
    return probes, by_point[good].mean(0).T


def nystrom(
    probes: Float[Tensor, "d k"], image: Float[Tensor, "d k"]
) -> tuple[Float[Tensor, "d r"], Float[Tensor, " r"]]:
    r"""Return eigenvectors and eigenvalues of :math:`Y (\Omega^\top Y)^{-1} Y^\top`, largest first, zeros left out.

    Reference: Gittens and Mahoney, JMLR 17, 2016, https://arxiv.org/abs/1303.1849.

    Example:
        >>> probes = torch.eye(4, dtype=torch.float64)[:, :3]
        >>> basis, values = nystrom(probes, torch.diag(torch.tensor([9.0, 4.0, 0.0, 0.0]).double()) @ probes)
        >>> values.tolist()
        [9.0, 4.0]
    """
    core = probes.T @ image
    values, vectors = torch.linalg.eigh((core + core.T) / 2)
    real = values > CUT * values.abs().max() if len(values) else values > 0
    root = image @ vectors[:, real] / values[real].sqrt()
    left, singular, _ = torch.linalg.svd(root, full_matrices=False)
    kept = singular.square() > CUT * singular.square().max() if len(singular) else singular > 0
    return left[:, kept], singular[kept].square()


def inverse_gain(values: Float[Tensor, " r"], damping: float) -> Float[Tensor, " r"]:
    r"""Return :math:`(\lambda_r + \mu) / (\lambda_i + \mu)` with :math:`\mu` = damping times the largest eigenvalue."""
    if not len(values):
        return values
    floor = damping * values.max()
    return (values.min() + floor) / (values + floor)
