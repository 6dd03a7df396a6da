"""A guard around any method: points that are suspicious under the prior are moved back before G sees them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from zmax.core.priors import EDGE
from zmax.core.proposal import Evaluation, Latents, Proposal, Pushforward
from zmax.core.space import Space
from zmax.core.start import Start
from zmax.core.state import STATIC
from zmax.core.strategy import Population, Strategy
from zmax.generators.diffusion.path import PathSpace


@dataclass(frozen=True)
class RetractedState:
    """The inner method's state."""

    inner: Any
    space: Space = field(metadata=STATIC)


class Retracted(Strategy[RetractedState]):
    r"""Let a method see :math:`S(G(R(u)))` instead of S(G(u)), R being the retraction to plausibility 0.05.

    That is one function of u like any other: its gradients and products are those of the composition, a sampler's
    accepted moves stay those of a law, and what is decoded, recorded and kept is R(u). Methods that keep to the typical
    shell by themselves never feel it. On a path the fresh noises are held back as they are chosen
    (:meth:`~zmax.generators.diffusion.path.PathSpace.fresh`).

    Args:
        strategy: the method.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.search.posterior.langevin import Langevin
        >>> method = Retracted(strategy=Langevin(chains=4))
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([4, 100])
    """

    def __init__(self, *, strategy: Strategy[Any]) -> None:
        self.strategy = strategy
        self.needs = strategy.needs
        self.begins = strategy.begins

    def init(self, space: Space, rng: torch.Generator) -> RetractedState:
        """Begin as the inner method does."""
        return RetractedState(self.strategy.init(_held(space), rng), space)

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> RetractedState:
        """Begin at a start as the inner method does."""
        return RetractedState(self.strategy.begin(_held(space), rng, start), space)

    def ask(self, state: RetractedState) -> Proposal:
        """Propose what the inner method proposes, moved back."""
        proposal, space = self.strategy.ask(state.inner), state.space
        u, want = proposal.u, proposal.want
        if u is None or u is not proposal.at.points:
            return proposal
        if isinstance(want, Pushforward):
            want = Pushforward(torch.func.jvp(lambda v: space.retract(v, EDGE), (u,), (want.tangent.to(u),))[1])
        return Proposal(Latents(space.retract(u, EDGE)), want)

    def tell(self, state: RetractedState, evaluation: Evaluation) -> RetractedState:
        """Pull gradients and products back to where the inner method is, then tell it."""
        if evaluation.grad is not None:
            proposal = self.strategy.ask(state.inner)
            u = proposal.u
            latents = u is not None and u is proposal.at.points and proposal.want.through
            if u is not None and latents and not isinstance(proposal.want, Pushforward):
                evaluation = replace(evaluation, grad=_pulled(state.space, u, evaluation.grad))
        return replace(state, inner=self.strategy.tell(state.inner, evaluation))

    def draws(self, state: RetractedState) -> Population | None:
        """Return what the inner method stands for, moved back."""
        found = self.strategy.draws(state.inner)
        return None if found is None else replace(found, u=state.space.retract(found.u, EDGE))


def _held(space: Space) -> Space:
    return replace(space, held=True) if isinstance(space, PathSpace) else space


def _pulled(space: Space, u: Tensor, grad: Tensor) -> Tensor:
    """Return J^T g with the Jacobian J of the retraction."""
    with torch.enable_grad():
        leaf = u.detach().to(grad).requires_grad_()
        return torch.autograd.grad(space.retract(leaf, EDGE), leaf, grad)[0]
