"""Best of N: the baseline that every other method has to beat at the same number of score calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import whole
from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation, Latents, Proposal
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Strategy

Design = Literal["independent", "antithetic", "sobol"]
SOBOL_BITS = 2**30


@dataclass(frozen=True)
class RandomState:
    """The next draws, the stream they came from, and for Sobol points the scrambling and how many came before."""

    u: Float[Tensor, "n dim"]
    rng: Rng
    space: Space = field(metadata=STATIC)
    scramble: int = 0
    drawn: int = 0


class Random(Strategy[RandomState]):
    r"""Best of N: fresh prior draws each round, u ~ N(0, I).

    After N calls the best has the law of the maximum of N scores of prior draws; for normal scores it is
    :math:`\mu + \sigma\,(\sqrt{2 \ln N} + O(\ln\ln N / \sqrt{\ln N}))`.

    Every design draws each point from the prior; they differ in how points depend on each other. "antithetic" pairs u
    with -u. "sobol" takes :math:`\Phi^{-1}` of scrambled Sobol points, which spread more evenly than chance.

    Args:
        batch: draws per round; with independent draws and Sobol points it changes the grouping, never the sequence.
        design: "independent", "antithetic" or "sobol".

    Raises:
        InputError: `batch` is not a positive int, `design` is another word, or there are more dimensions than Sobol
            points are known for (21,201).

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = Random(batch=8, design="antithetic")
        >>> u = method.ask(method.init(Space.of((100,)), stream(0))).u
        >>> u.shape, bool((u[:4] == -u[4:]).all())
        (torch.Size([8, 100]), True)
    """

    begins = Starts.DRAWS
    use: ClassVar[str] = "a baseline, or hardly any calls"
    reference: ClassVar[str] = (
        "David and Nagaraja, Order Statistics, 3rd ed., 2003, chapter 10; "
        "Owen, Scrambling Sobol and Niederreiter-Xing points, J. Complexity 14, 1998"
    )

    def __init__(self, *, batch: int = 64, design: Design = "independent") -> None:
        whole("Random", batch=batch)
        if design not in get_args(Design):
            raise InputError("Random(design=...)", expected=" or ".join(get_args(Design)), got=repr(design))
        self.batch = batch
        self.design = design

    def init(self, space: Space, rng: torch.Generator) -> RandomState:
        """Draw the first round."""
        most = torch.quasirandom.SobolEngine.MAXDIM
        if self.design == "sobol" and space.dim > most:
            raise InputError(
                "Random(design='sobol')",
                expected=f"at most {most} latent dimensions",
                got=space.dim,
                remedy="design='antithetic' works for any number",
            )
        first = Rng.of(rng)
        if self.design != "sobol":
            return self._draw(RandomState(torch.empty(0, space.dim), first, space))
        generator = first.generator()
        scramble = int(torch.randint(2**31 - 1, (1,), generator=generator))
        return self._draw(RandomState(torch.empty(0, space.dim), Rng.of(generator), space, scramble))

    def ask(self, state: RandomState) -> Proposal:
        """Return the round's draws."""
        return Proposal(Latents(state.u))

    def tell(self, state: RandomState, evaluation: Evaluation) -> RandomState:
        """Draw the next round; scores change nothing."""
        return self._draw(state)

    def _draw(self, state: RandomState) -> RandomState:
        generator, space, n = state.rng.generator(), state.space, self.batch
        if self.design == "sobol":
            z = sobol(n, space.dim, state.scramble, state.drawn)
        elif self.design == "antithetic":
            half = torch.randn((n + 1) // 2, space.dim, generator=generator, device="cpu")
            z = torch.cat([half, -half])[:n]
        else:
            z = torch.randn(n, space.dim, generator=generator, device="cpu")
        return RandomState(space.drawn(z), Rng.of(generator), space, state.scramble, state.drawn + n)


def sobol(n: int, dim: int, seed: int, skip: int) -> Float[Tensor, "n dim"]:
    """Return n normal quantiles of scrambled Sobol points, after the first `skip` of the sequence that `seed` gives."""
    engine = torch.quasirandom.SobolEngine(dim, scramble=True, seed=seed)
    p = engine.fast_forward(skip).draw(n, dtype=torch.float64)
    return torch.special.ndtri(p.clamp(0.5 / SOBOL_BITS, 1 - 0.5 / SOBOL_BITS)).float()
