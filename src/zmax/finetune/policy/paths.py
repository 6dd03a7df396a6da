"""What policy gradients share: stochastic paths of the old policy, some of their steps, an advantage for each."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import whole
from zmax.core.errors import InputError
from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.proposal import Evaluation, PathPoints, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.samples import spread
from zmax.core.strategy import Need
from zmax.core.tuner import Check, Models, Rollout, Tuner
from zmax.generators.diffusion.path import Path, PathSpace, along
from zmax.kit.path_kl import leverage
from zmax.kit.scale import Scale


@dataclass(frozen=True)
class PathState:
    """The stream of noises, the scale of the score, and some steps of the paths that were collected."""

    rng: Rng
    scale: Scale
    steps: dict[str, Tensor] | None = None
    far: Float[Tensor, " n"] | None = None


class PathTuner(Tuner[PathState]):
    r"""Run the model as an SDE of order 1, whose steps have exact log-probabilities, and weigh some of them.

    A step is :math:`x_s = a x_t + b \hat x_0 + c \xi`, so the ratio of a step's density under the child to that under
    the old policy is

    .. math:: \log \rho = \tfrac12 \|\xi\|^2 - \tfrac12 \Bigl\|\xi + \tfrac{b}{c}
        (\hat x_0^{old} - \hat x_0)\Bigr\|^2

    The last step takes no noise, and is left as it is. The law of the paths is that of so many steps, which is narrower
    than the model's where they are few.

    Args:
        batch: paths a round.
        times: steps of each path that are trained on, drawn at random; all if there are fewer.
        kept: what a nat of the paths' log-ratio to the parent costs; where 0, the parent is not asked.
    """

    needs = frozenset({Need.PATH})

    def __init__(self, *, batch: int, times: int, kept: float) -> None:
        whole(type(self).__name__, least=2, batch=batch)
        whole(type(self).__name__, times=times)
        self.batch, self.times, self._kept = batch, times, kept

    def init(self, generator: Generator, rng: torch.Generator) -> PathState:
        """Begin with no scores."""
        path = along(generator.space).path
        if path.steps < 2:
            raise InputError("steps of the path", expected="two or more: the last one takes no noise", got=path.steps)
        return PathState(Rng.of(rng), Scale())

    def collect(self, state: PathState, models: Models) -> tuple[PathState, Proposal]:
        """Return the ends of fresh paths, and keep the steps that are to be trained on."""
        rng, n = state.rng.generator(), self.batch
        old, parent = cast(DiffusionGenerator, models.child), cast(DiffusionGenerator, models.parent)
        path = first_order(old)
        u = PathSpace.along(path).sample(n, rng)
        order = torch.rand(n, path.steps - 1, generator=rng, device="cpu").argsort(1).argsort(1)
        chosen, far = order < self.times, torch.zeros(n, dtype=torch.float64)
        x, kept = path.begin(u[:, path.columns(0)].reshape(n, *path.shape)), []
        for i in range(path.steps):
            x_0 = seen(old, path, i, x)
            if i == path.steps - 1:
                break
            noise = u[:, path.columns(i + 1)].reshape(n, *path.shape)
            rows = {"x_t": x, "noise": noise, "old": x_0, "step": torch.full((n,), i), "sample": torch.arange(n)}
            if self._kept:
                rows["parent"] = seen(parent, path, i, x)
                rows["apart"] = -log_ratio(path, rows, rows["parent"]).double()
                far += rows["apart"]
            kept.append({name: value[chosen[:, i]] for name, value in rows.items()})
            x = path.step(i, x, x_0, noise)
        steps = {name: torch.cat([part[name] for part in kept]) for name in kept[0]}
        end = path.step(path.steps - 1, x, x_0, None)
        proposal = Proposal(PathPoints(end, torch.zeros(n)), Value())
        return replace(state, rng=Rng.of(rng), steps=steps, far=far), proposal

    def rollout(self, state: PathState, models: Models, evaluation: Evaluation) -> tuple[PathState, Rollout | None]:
        """Return the steps of paths that were scored, with their advantages."""
        assert state.steps is not None, "collected before"
        assert state.far is not None, "collected before"
        scale, ok, steps = state.scale.told(evaluation.score, models.warmth), evaluation.ok, state.steps
        worth = self.worth(evaluation.score, ok, scale) - self._kept * state.far
        worth = worth - worth[ok].mean() if bool(ok.any()) else worth
        advantage = worth[steps["sample"]]
        if self._kept:
            advantage = advantage + self._kept * steps["apart"]
        rows = {name: value for name, value in steps.items() if name not in ("sample", "apart")}
        kept = Rollout(rows | {"advantage": advantage.float()}).at(ok[steps["sample"]].nonzero().flatten())
        return PathState(state.rng, scale), kept if len(kept) and int(ok.sum()) > 1 else None

    @abstractmethod
    def worth(self, score: Float[Tensor, " n"], ok: Tensor, scale: Scale) -> Float[Tensor, " n"]:
        """Return what each path is worth by its score, up to a constant."""

    def checks(self, models: Models, rollout: Rollout) -> list[Check]:
        """Say whether advantages differ and ratios begin at 1."""
        with torch.no_grad():
            apart = float((asked(models.child, rollout)[1].exp() - 1).abs().max())
        spread = float(rollout["advantage"].std())
        return [
            Check("advantages differ", spread > 0, f"standard deviation {spread:.3g}"),
            Check("ratio 1", apart < 1e-3, f"at most {apart:.2g} off"),
        ]


def first_order(generator: DiffusionGenerator) -> Path:
    """Return the generator's path, taken in steps of order 1."""
    path = along(generator.space).path
    return Path(path.schedule, path.steps, path.eta, path.shape, order=1)


def seen(generator: DiffusionGenerator, path: Path, step: int, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Return what points that a step sets out from show, on the CPU."""
    return generator.denoise(x, path.times[step].to(x).expand(len(x))).float().cpu()


def log_ratio(path: Path, rows: dict[str, Tensor] | Rollout, x_0: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Return how much likelier a model that sees x_0 makes the steps than the old policy does."""
    noise = rows["noise"].to(x_0)
    other = noise + spread(leverage(path)[rows["step"].cpu()].to(x_0), noise) * (rows["old"].to(x_0) - x_0)
    return (noise.square() - other.square()).flatten(1).sum(1) / 2


def asked(generator: Generator, rollout: Rollout) -> tuple[Float[Tensor, "rows ..."], Float[Tensor, " rows"], Path]:
    """Return what the child sees at each row, the log-ratio of its step, and the path."""
    child = cast(DiffusionGenerator, generator)
    path = first_order(child)
    x_0 = child.denoise(rollout["x_t"], path.times[rollout["step"].cpu()].to(rollout["x_t"]))
    return x_0, log_ratio(path, rollout, x_0), path
