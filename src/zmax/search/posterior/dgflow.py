"""Discriminator gradient flow: prior draws refined by a few noisy steps up the discriminator's logit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation, Latents, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Gives, Need, Population, Strategy
from zmax.kit.chains import clipped, gradient_of
from zmax.kit.rows import where_rows
from zmax.search.posterior.mcmc import Reservoir

SPEEDS: dict[str, Callable[[Tensor], Tensor]] = {
    "KL": torch.ones_like,
    "JS": torch.sigmoid,
    "logD": lambda d: torch.sigmoid(-d),
}
"""s(d) for each divergence."""


@dataclass(frozen=True)
class DGflowState:
    """The points on their way, and those that have arrived.

    Attributes:
        u: where each point is.
        age: steps it has made.
        kept: the points that have made them all.
        rng: the stream that draws come from.
    """

    u: Float[Tensor, "n dim"]
    age: Int[Tensor, " n"]
    kept: Reservoir
    rng: Rng
    space: Space = field(metadata=STATIC)


class DGflow(Strategy[DGflowState]):
    r"""Discriminator gradient flow: prior draws, each refined by `steps` steps, then the next.

    With d = S / T, the logit of a discriminator between the data and G's samples, a prior draw follows

    .. math:: u \leftarrow u + \eta\, s(d)\, \nabla_u d + \sqrt{2 \eta \gamma}\, \xi, \qquad
              s(d) = 1,\ \sigma(d),\ \sigma(-d) \ \text{for KL, JS and logD},

    the gradient flow of an f-divergence between G's law and the data's, with the density ratio that the discriminator
    knew at the start. It is no chain: the draws are independent, and more steps are not better, since there is no pull
    back to the prior. Where the data are G's law moved by a vector, the flow of KL without noise reaches them exactly
    at :math:`\eta n = 1`. Each row's drift is cut to `clip` :math:`\sqrt d`.

    Args:
        temperature: T, 1 for the discriminator's logit as it is.
        divergence: "logD" moves bad samples most, "JS" good ones, "KL" all alike. JS all but leaves a sample where it
            is if the discriminator is sure that it is bad.
        batch: number of points refined side by side.
        steps: n; a draw costs n + 1 score gradients.
        step: :math:`\eta`; the default suits sharp logits, gradients of a thousand. The paper has 0.1 for pictures.
        noise: :math:`\gamma`; 0 makes the flow deterministic.
        clip: longest drift of a step, in units of the prior's typical norm.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> import torch, zmax
        >>> G = zmax.generator(torch.nn.Identity(), shape=(2,), modality="vector")
        >>> logit = zmax.score(lambda x: x[:, 0] - 0.5, differentiable=True)  # the data are N((1, 0), I)
        >>> method = zmax.search.DGflow(divergence="KL", steps=10, step=0.1, batch=256)
        >>> population = zmax.sample(G, logit, method=method, budget=11 * 256).population
        >>> abs(float(population.u[:, 0].mean()) - 1) < 0.2
        True
    """

    needs = frozenset({Need.GRADIENT, Need.TENSORS})
    gives = frozenset({Gives.DRAWS})
    begins = Starts.CHAINS
    use: ClassVar[str] = "independent samples of a GAN put right by its discriminator's logit, tens of steps each"
    reference: ClassVar[str] = (
        "Ansari, Ang and Soh, Refining deep generative models via discriminator gradient flow, ICLR 2021, section 3, "
        "https://arxiv.org/abs/2012.00780"
    )

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        divergence: str = "logD",
        batch: int = 64,
        steps: int = 200,
        step: float = 0.004,
        noise: float = 0.01,
        clip: float = 0.1,
    ) -> None:
        positive("DGflow", temperature=temperature, step=step, noise=noise or None, clip=clip)
        whole("DGflow", batch=batch, steps=steps)
        if divergence not in SPEEDS:
            raise InputError("DGflow(divergence=...)", expected=", ".join(SPEEDS), got=repr(divergence))
        self.temperature = temperature
        self.divergence = divergence
        self.batch = batch
        self.steps = steps
        self.step = step
        self.noise = noise
        self.clip = clip

    def init(self, space: Space, rng: torch.Generator) -> DGflowState:
        """Draw every point from the prior."""
        u, after = Rng.of(rng).normal(self.batch, space.dim)
        return DGflowState(u, torch.zeros(self.batch, dtype=torch.long), Reservoir(), after, space)

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> DGflowState:
        """Propose the points of a start, and neighbours of theirs, instead of prior draws."""
        state = self.init(space, rng)
        return replace(state, u=start.places(state.u))

    def ask(self, state: DGflowState) -> Proposal:
        """Return where the points are."""
        return Proposal(Latents(state.u), Value(grad="point"))

    def tell(self, state: DGflowState, evaluation: Evaluation) -> DGflowState:
        """Move every point one step; keep those that have arrived; they and failures make room for prior draws."""
        arrived = evaluation.ok & (state.age >= self.steps)
        kept = state.kept.add(state.u, evaluation.score.double(), arrived) if bool(arrived.any()) else state.kept
        d = torch.where(evaluation.ok, evaluation.score.double(), 0.0)[:, None] / self.temperature
        drift = self.step * SPEEDS[self.divergence](d) * gradient_of("DGflow", evaluation) / self.temperature
        xi, rng = state.rng.normal(*state.u.shape, dtype=torch.float64)
        fresh, rng = rng.normal(*state.u.shape, dtype=torch.float64)
        moved = state.u + clipped(drift, self.clip * state.space.dim**0.5) + (2 * self.step * self.noise) ** 0.5 * xi
        new = arrived | ~evaluation.ok
        age = torch.where(new, 0, state.age + 1)
        return replace(state, u=where_rows(new, fresh, moved).float(), age=age, kept=kept, rng=rng)

    def draws(self, state: DGflowState) -> Population | None:
        """Return the points that have arrived, None before any has."""
        return state.kept.population(discard=0.0)
