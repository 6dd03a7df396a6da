"""Descend the negative score itself, through decoder or sampler."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import not_negative, positive, whole
from zmax.core.errors import CapabilityError
from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation, Latents, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.strategy import Need
from zmax.core.tuner import Check, Models, Recipe, Rollout, Tuner
from zmax.generators.diffusion.generator import DenoiserGenerator, with_memory
from zmax.kit.scale import Scale
from zmax.natural.drift import Drift


@dataclass(frozen=True)
class DirectState:
    """The stream of noises, the scale of the score, and the drift from the parent as far as it is learned."""

    rng: Rng
    scale: Scale
    drift: dict[str, Tensor] | None
    u: Float[Tensor, "n dim"] | None = None


class Direct(Tuner[DirectState]):
    r"""Descend -S through decoder or sampler, kept to the parent's law by a learned log-ratio.

    .. math:: L(\theta) = E_u\Bigl[-\frac{S(G_\theta(u))}{T}
        + \lambda \log \frac{q_\theta}{p}(G_\theta(u))\Bigr]

    where a small discriminator, trained along between samples of child and parent, estimates the log-ratio of their
    laws. With :math:`\lambda = 1` the least is at the tilted law :math:`p(x) e^{S(x) / T}`; with
    :math:`\lambda = 0` this is plain reward backpropagation, which maximises S whatever becomes of the samples. S is
    evaluated and differentiated by samples; its gradient is pulled through the child by a second decode.

    Args:
        batch: samples a round.
        temperature: T, in units of the score; half the spread of the parent's scores if None, with a ceiling a
            sixteenth.
        keep: :math:`\lambda`, what a nat of log-ratio costs.
        memory: what gradients through the steps of a diffusion or flow model keep: "none" (all), "checkpoint",
            "sqrt", "truncated:K" (DRaFT-K), "detached", "invertible", or "random" for truncation at a step drawn
            anew each round (AlignProp); see :class:`~zmax.generators.diffusion.memory.Memory`.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> import zmax
        >>> law = zmax.testing.linear_gaussian(torch.eye(2), torch.zeros(2))
        >>> Direct(batch=8).recipe.updates
        1
    """

    needs = frozenset({Need.GRADIENT, Need.TENSORS})
    recipe = Recipe(rate=1e-3, clip=1.0)
    use = "both G and S differentiable"
    reference = (
        "Clark et al., DRaFT, ICLR 2024, section 3, https://arxiv.org/abs/2309.17400; "
        "Prabhudesai et al., AlignProp, 2023, section 4, https://arxiv.org/abs/2310.03739"
    )

    def __init__(
        self,
        *,
        batch: int = 32,
        temperature: float | None = None,
        keep: float = 1.0,
        memory: str = "none",
    ) -> None:
        whole("Direct", least=2, batch=batch)
        positive("Direct", temperature=temperature)
        not_negative("Direct", keep=keep)
        self.batch, self.temperature, self.keep, self.memory = batch, temperature, keep, memory

    def init(self, generator: Generator, rng: torch.Generator) -> DirectState:
        """Begin with nothing learned."""
        if self.memory != "none" and not isinstance(generator, DenoiserGenerator):
            raise CapabilityError(
                f"memory={self.memory!r}", expected="a diffusion or flow model of ours", got=type(generator).__name__
            )
        return DirectState(Rng.of(rng), Scale(), None)

    def collect(self, state: DirectState, models: Models) -> tuple[DirectState, Proposal]:
        """Return prior draws, whose score is differentiated by the samples."""
        rng = state.rng.generator()
        u = models.child.space.sample(self.batch, rng)
        return replace(state, rng=Rng.of(rng), u=u), Proposal(Latents(u), Value(grad="sample", samples=True))

    def rollout(self, state: DirectState, models: Models, evaluation: Evaluation) -> tuple[DirectState, Rollout | None]:
        """Return noises with the direction in which their samples should move."""
        assert evaluation.grad is not None, "asked for"
        assert evaluation.samples is not None, "asked for"
        assert state.u is not None, "collected before"
        alive = evaluation.ok.nonzero().flatten()
        if not len(alive):
            return replace(state, u=None), None
        each = (evaluation.samples[i] for i in alive.tolist())
        samples = torch.stack([sample for sample in each if isinstance(sample, Tensor)])
        scale, rng = state.scale.told(evaluation.score, models.warmth), state.rng.generator()
        wanted = evaluation.grad[alive] / scale.temperature(self.temperature)
        after = replace(state, u=None, scale=scale)
        if self.keep:
            drift = Drift.of(state.drift, models, rng).learned(samples, rng)
            wanted = wanted - self.keep * drift.slope(samples)
            after = replace(after, drift=drift.tensors())
        rows = {"u": state.u[alive], "wanted": wanted}
        if self.memory == "random":
            assert isinstance(models.child, DenoiserGenerator), "init has checked"
            last = torch.randint(1, models.child.sampler.steps + 1, (1,), generator=rng, device="cpu")
            rows["last"] = last.expand(len(alive))
        return replace(after, rng=Rng.of(rng)), Rollout(rows)

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return minus the inner product of the samples with their wanted direction."""
        child = models.child
        policy = f"truncated:{int(rollout['last'][0])}" if self.memory == "random" else self.memory
        made = child if policy == "none" else with_memory(child, policy)
        x = made.decode(made.space.latents(rollout["u"]))
        assert isinstance(x, Tensor), "found to be differentiable"
        return -(x * rollout["wanted"].to(x)).flatten(1).sum(1)

    def checks(self, models: Models, rollout: Rollout) -> list[Check]:
        """Say how large the wanted directions are."""
        size = float(rollout["wanted"].flatten(1).norm(dim=1).mean())
        return [Check("the score has a slope", size > 0, f"mean norm {size:.3g} of dS/dx over T")]
