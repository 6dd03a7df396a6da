"""What tuners of the forward process share: samples of the old policy, noised, with an advantage each."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import whole
from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.rng import Rng
from zmax.core.strategy import Need
from zmax.core.tuner import Check, Models, Rollout, Tuner
from zmax.kit.forward import ended, ends, gap, noised, velocity
from zmax.kit.scale import Scale

SHIFT = 1e-2
"""How far the old velocities are moved to see whether a loss depends on them."""


@dataclass(frozen=True)
class ForwardState:
    """The stream of noises and the scale of the score."""

    rng: Rng
    scale: Scale
    fresh: Float[Tensor, "n ..."] | None = None


class ForwardTuner(Tuner[ForwardState]):
    r"""Train on noised samples :math:`x_t = \alpha x_0 + \sigma \epsilon` of an old policy, by an advantage each.

    The old policy is the average of weights that samples are collected with; a subclass says what a sample's advantage
    is and what is descended of it. No log-probabilities of paths are needed, so any sampler will do. As all samples of
    a generator answer to the same prompt, a round is one group.

    Args:
        batch: samples a round.
        times: noised rows of each.
        anchored: whether rows tell the parent's velocity, too.
    """

    needs = frozenset({Need.DENOISER})

    def __init__(self, *, batch: int, times: int, anchored: bool) -> None:
        whole(type(self).__name__, least=2, batch=batch)
        whole(type(self).__name__, times=times)
        self.batch, self.times, self._anchored = batch, times, anchored

    def init(self, generator: Generator, rng: torch.Generator) -> ForwardState:
        """Begin with no scores."""
        return ForwardState(Rng.of(rng), Scale())

    def collect(self, state: ForwardState, models: Models) -> tuple[ForwardState, Proposal]:
        """Return the ends of fresh paths."""
        rng = state.rng.generator()
        u = models.child.space.sample(self.batch, rng)
        x_0 = ends(models.child, u)
        return replace(state, rng=Rng.of(rng), fresh=x_0), ended(x_0, u)

    def rollout(
        self, state: ForwardState, models: Models, evaluation: Evaluation
    ) -> tuple[ForwardState, Rollout | None]:
        """Return noised samples with their advantages and what the old policy says of them."""
        assert state.fresh is not None, "collected before"
        rng, scale, ok = state.rng.generator(), state.scale.told(evaluation.score, models.warmth), evaluation.ok
        x_0, score = state.fresh[ok], evaluation.score[ok]
        rows = None
        if len(score) > 1:
            advantage = self.advantage(models, x_0, score, scale, rng).float()
            rows = noised(models.child, x_0.repeat_interleave(self.times, 0), rng)
            rows["advantage"] = advantage.repeat_interleave(self.times)
            sides = {"old": models.child} | ({"parent": models.parent} if self._anchored else {})
            for name, model in sides.items():
                parts = zip(rows["x_t"].split(self.batch), rows["t"].split(self.batch), strict=True)
                rows[name] = torch.cat([velocity(model, x_t, t).float().cpu() for x_t, t in parts])
        return ForwardState(Rng.of(rng), scale), None if rows is None else Rollout(rows)

    @abstractmethod
    def advantage(
        self,
        models: Models,
        x_0: Float[Tensor, "n ..."],
        score: Float[Tensor, " n"],
        scale: Scale,
        rng: torch.Generator,
    ) -> Float[Tensor, " n"]:
        """Return what each sample of the old policy is worth, 0 on average."""

    def checks(self, models: Models, rollout: Rollout) -> list[Check]:
        """Say whether the advantages differ, the old policy is the one that sampled, and the loss knows of it."""
        spread = float(rollout["advantage"].std())
        moved = Rollout({**rollout.rows, "old": rollout["old"] + SHIFT})
        with torch.no_grad():
            apart = float(gap(velocity(models.child, rollout["x_t"], rollout["t"]), rollout["old"]).max())
            change = float((self.loss(models, moved) - self.loss(models, rollout)).abs().mean())
        return [
            Check("advantages differ", spread > 0, f"standard deviation {spread:.3g}"),
            Check("old and new policy begin as one", apart < 1e-6, f"squared difference {apart:.2g}"),
            Check("contrast alive", change > 0, f"{change:.2g} of loss for {SHIFT} of the old velocity"),
        ]


def target(rollout: Rollout) -> Float[Tensor, "rows ..."]:
    r"""Return the velocity :math:`\epsilon - x_0` of each row."""
    return rollout["noise"] - rollout["x_0"]
