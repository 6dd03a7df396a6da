"""Ascent on the prior's sphere along great circles, by an angle that decays."""

from __future__ import annotations

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
from zmax.core.state import ROW, STATIC
from zmax.core.strategy import Need, Strategy
from zmax.kit.chains import gradient_of
from zmax.kit.rows import where
from zmax.kit.spheres import direction, geodesic, on_spheres, tangent_to_spheres

LAST = 0.01  # share of the first angle that is left when a chain ends


@dataclass(frozen=True)
class SphereState:
    """One row a chain.

    Attributes:
        u: where each chain is, every block on its own sphere, in double precision.
        velocity: moving mean of its unit directions, tangent to the sphere.
        age: steps since it was drawn.
        rng: the stream that redraws come from.
    """

    u: Float[Tensor, "n dim"] = field(metadata=ROW)
    velocity: Float[Tensor, "n dim"] = field(metadata=ROW)
    age: Int[Tensor, " n"] = field(metadata=ROW)
    rng: Rng
    space: Space = field(metadata=STATIC)


class Sphere(Strategy[SphereState]):
    r"""Normalised ascent on the sphere :math:`|u| = \sqrt d` along great circles; independent chains.

    With the tangent gradient :math:`t = g - (g \cdot u)\,u / |u|^2`, its moving mean
    :math:`v \leftarrow \beta v + (1 - \beta)\,t / |t|` and the angle
    :math:`\theta_k = \theta\, 0.01^{k / K}`, a chain turns by

    .. math:: u \leftarrow u \cos\theta_k + |u|\,\frac{v}{|v|} \sin\theta_k

    which keeps its norm exactly. After K = `steps` steps, or when its sample fails, a chain is redrawn. With several
    blocks each stays on its own sphere; the blocks share the arc in proportion to their parts of v. The scale
    of S does not matter.

    Args:
        angle: first angle :math:`\theta`, in radians.
        steps: steps K of a chain, over which the angle falls to a hundredth.
        momentum: :math:`\beta`; 0 is plain normalised ascent.
        batch: number of chains.

    Raises:
        InputError: an argument is not a positive number, or the momentum is not in [0, 1).

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = Sphere(batch=4)
        >>> u = method.ask(method.init(Space.of((100,)), stream(0))).u
        >>> [round(norm, 3) for norm in u.norm(dim=1).tolist()]
        [10.0, 10.0, 10.0, 10.0]
    """

    needs = frozenset({Need.GRADIENT})
    begins = Starts.CHAINS
    use: ClassVar[str] = "gradients, and norms that must stay exactly typical"
    reference: ClassVar[str] = "Menon et al., PULSE, CVPR 2020, section 3.2, https://arxiv.org/abs/2003.03808"

    def __init__(self, *, angle: float = 0.5, steps: int = 50, momentum: float = 0.5, batch: int = 16) -> None:
        positive("Sphere", angle=angle)
        whole("Sphere", steps=steps, batch=batch)
        if isinstance(momentum, bool) or not isinstance(momentum, (int, float)) or not 0 <= momentum < 1:
            raise InputError("Sphere(momentum=...)", expected="a number in [0, 1)", got=repr(momentum))
        self.angle = angle
        self.steps = steps
        self.momentum = momentum
        self.batch = batch

    def init(self, space: Space, rng: torch.Generator) -> SphereState:
        """Draw every chain from the prior, moved to the sphere."""
        return _drawn(self.batch, space, Rng.of(rng))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> SphereState:
        """Set out from the points of a start, one chain each, which keep their norms."""
        u = start.u[: self.batch].double()
        return replace(_drawn(len(u), space, Rng.of(rng)), u=u)

    def ask(self, state: SphereState) -> Proposal:
        """Return where the chains are."""
        return Proposal(Latents(state.u.float()), Value(grad="point"))

    def tell(self, state: SphereState, evaluation: Evaluation) -> SphereState:
        """Turn every chain by its angle; redraw those that failed or are at their end."""
        uphill = tangent_to_spheres(state.space, state.u, gradient_of("Sphere", evaluation))
        velocity = self.momentum * state.velocity + (1 - self.momentum) * direction(uphill)
        angle = self.angle * LAST ** (state.age.double() / self.steps)
        arc = (angle * state.space.dim**0.5)[:, None]
        u = geodesic(state.space, state.u, arc * direction(velocity))
        velocity = tangent_to_spheres(state.space, u, velocity)
        moved = replace(state, u=u, velocity=velocity, age=state.age + 1)
        spent = ~evaluation.ok | (moved.age > self.steps)
        if not bool(spent.any()):
            return moved
        fresh = _drawn(len(spent), state.space, state.rng)
        return replace(where(spent, fresh, moved), rng=fresh.rng)


def _drawn(n: int, space: Space, rng: Rng) -> SphereState:
    generator = rng.generator()
    u = on_spheres(space, space.sample(n, generator).double())
    return SphereState(u, torch.zeros_like(u), torch.zeros(n, dtype=torch.long), Rng.of(generator), space)
