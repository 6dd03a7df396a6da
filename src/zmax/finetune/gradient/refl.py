"""Descend the negative score of what one late step shows, through the network of that step alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, share, whole
from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.proposal import Evaluation, PathPoints, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.strategy import Need
from zmax.core.tuner import Check, Models, Recipe, Rollout, Tuner
from zmax.generators.diffusion.path import path_of
from zmax.kit.scale import Scale


@dataclass(frozen=True)
class ReFLState:
    """The stream of noises, the scale of the score, and the points of the last round with their times."""

    rng: Rng
    scale: Scale
    x_t: Float[Tensor, "n ..."] | None = None
    t: Float[Tensor, " n"] | None = None


class ReFL(Tuner[ReFLState]):
    r"""Backpropagate the score of what one late step shows into the network at that step (ReFL).

    .. math:: L(\theta) = -\frac1T\, E\, S\bigl(\hat x_0(x_t; \theta)\bigr), \qquad t \sim \text{the last steps},

    where :math:`x_t` lies on a path of fresh noise of the child, which counts as constant. One step is drawn for each
    round. Nothing keeps the child to its parent but the rule that chooses weights.

    The authors draw among the last 10 of 40 steps, and descend :math:`10^{-3} \max(0, 2 - S)`: say `ceiling=2` for
    their maximum; their factor means little to AdamW. Their learning rate, `rate=1e-5`, is for all weights of Stable
    Diffusion; that here is for small models. They also train on with the model's own loss on their data.

    Args:
        batch: samples a round.
        temperature: T, in units of the score; half the spread of the parent's scores if None, with a ceiling a
            sixteenth.
        late: share of the steps that counts as late.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[0.0, 0.0]], torch.eye(2)[None], [1.0])
        >>> S = zmax.testing.quadratic_score(b=[1.0, 0.0])
        >>> t = zmax.finetune(zmax.testing.trained(law), S, ReFL(), budget=500)
        >>> t.after.look.score > t.before.look.score
        True
    """

    needs = frozenset({Need.PATH, Need.GRADIENT, Need.TENSORS})
    recipe = Recipe(rate=1e-3)
    use = "as draft-k, at the cost of one network's gradient wherever it is"
    reference = "Xu et al., ImageReward, NeurIPS 2023, algorithm 1, https://arxiv.org/abs/2304.05977"

    def __init__(self, *, batch: int = 32, temperature: float | None = None, late: float = 0.25) -> None:
        whole("ReFL", batch=batch)
        positive("ReFL", temperature=temperature)
        share("ReFL", late=late)
        self.batch, self.temperature, self.late = batch, temperature, late

    def init(self, generator: Generator, rng: torch.Generator) -> ReFLState:
        """Begin with nothing known of the score."""
        return ReFLState(Rng.of(rng), Scale())

    def collect(self, state: ReFLState, models: Models) -> tuple[ReFLState, Proposal]:
        """Return points from which one late step sets out, whose previews are scored."""
        rng, child, path = state.rng.generator(), models.child, path_of(models.child.space)
        assert isinstance(child, DiffusionGenerator), "a path was needed"
        u = child.space.sample(self.batch, rng)
        noises = [u[:, path.columns(i)].reshape(-1, *path.shape) for i in range(path.steps)]
        last = int(torch.randint(math.ceil(self.late * path.steps), (1,), generator=rng, device="cpu"))
        x, before = path.begin(noises[0]), None
        for i in range(path.steps - 1 - last):
            x_0 = child.denoise(x, path.times[i].expand(len(x)).to(x)).to(x)
            x, before = path.step(i, x, x_0, noises[i + 1], before), x_0
        t = path.times[path.steps - 1 - last].expand(len(x))
        return replace(state, rng=Rng.of(rng), x_t=x, t=t), Proposal(PathPoints(x, t), Value(grad="sample"))

    def rollout(self, state: ReFLState, models: Models, evaluation: Evaluation) -> tuple[ReFLState, Rollout | None]:
        """Return the points with the direction in which their previews should move."""
        assert state.x_t is not None, "collected before"
        assert state.t is not None, "collected before"
        assert evaluation.grad is not None, "asked for"
        ok, scale = evaluation.ok, state.scale.told(evaluation.score, models.warmth)
        after = ReFLState(state.rng, scale)
        if not bool(ok.any()):
            return after, None
        wanted = evaluation.grad[ok] / scale.temperature(self.temperature)
        return after, Rollout({"x_t": state.x_t[ok].cpu(), "t": state.t[ok], "wanted": wanted})

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return minus the inner product of the previews with their wanted direction."""
        assert isinstance(models.child, DiffusionGenerator), "a path was needed"
        x_0 = models.child.denoise(rollout["x_t"], rollout["t"].to(rollout["x_t"]))
        return -(x_0 * rollout["wanted"].to(x_0)).flatten(1).sum(1)

    def checks(self, models: Models, rollout: Rollout) -> list[Check]:
        """Say how large the wanted directions are, and at which time."""
        size = float(rollout["wanted"].flatten(1).norm(dim=1).mean())
        found = f"mean norm {size:.3g} of dS/dx over T, at time {float(rollout['t'][0]):.3g}"
        return [Check("the score has a slope", size > 0, found)]
