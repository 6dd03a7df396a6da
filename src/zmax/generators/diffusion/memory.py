"""Memory policies: what a gradient through the sampler keeps, recomputes or leaves out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from zmax.core.errors import CapabilityError, InputError
from zmax.core.generator import Schedule
from zmax.generators.diffusion.reversible import Reversible, undoing
from zmax.generators.diffusion.samplers import Denoise, March, PathSampler, State, straight
from zmax.generators.diffusion.steps import spread_over

POLICIES = ("none", "checkpoint", "sqrt", "truncated:K", "detached", "invertible")

Step = Callable[[int, State], State]


@dataclass(frozen=True)
class Memory:
    r"""How gradients through a sampler of N steps are computed. Samples are the same under every policy.

    ============== ================================== ========================== ================
    policy         kept                               network calls + backward   gradient
    ============== ================================== ========================== ================
    none           all activations                    N + N                      exact
    checkpoint     N states, activations of a step    2N + N                     exact
    sqrt           2 sqrt(N) states, those of a step  3N - sqrt(N) + N           exact
    truncated:K    activations of the last K steps    N + K                      last K networks
    detached       nothing                            N + 0                      without networks
    invertible     activations of a step              2N + N                     exact
    ============== ================================== ========================== ================

    "truncated" and "detached" leave out the network's Jacobian: its answer, as v, counts as constant, so that

    .. math:: \partial \hat x_0 / \partial x_t \approx \alpha / (\alpha^2 + \sigma^2)\, I,

    the Jacobian that is exact for standard normal data. (Were :math:`\hat x_0` itself constant, the last step, which is
    :math:`\hat x_0`, would pass no gradient to any noise.) With respect to the weights "truncated:K" is DRaFT-K;
    "detached" is "truncated:0". Steps are told by their times, so the last K of Heun have 2K - 1 evaluations and that
    which leads to them. "invertible" needs a :class:`~zmax.generators.diffusion.reversible.Reversible` sampler, whose
    N steps call the network 2N - 1 times (for N in the table), and is exact up to the rounding of going back.

    References: Chen et al. 2016, *Training deep nets with sublinear memory cost*, sec. 4,
    https://arxiv.org/abs/1604.06174; Clark et al. 2024, *DRaFT*, sec. 3.2, https://arxiv.org/abs/2309.17400.

    Attributes:
        name: the policy, as in the table, without its argument.
        jacobians: K, the number of last steps whose networks are differentiated; None for all.
    """

    name: str = "none"
    jacobians: int | None = None

    def sample(
        self,
        sampler: PathSampler,
        denoise: Denoise,
        schedule: Schedule,
        noises: Sequence[Tensor],
        weights: Sequence[Tensor] = (),
    ) -> Tensor:
        """Run the sampler under this policy.

        Args:
            sampler: integrates from noise to data.
            denoise: (x_t, t) -> E[x_0 | x_t].
            schedule: noise levels.
            noises: the initial noise and, if any, the injected ones.
            weights: parameters of the denoiser.
        """
        seen = denoise if self.jacobians is None else _late(denoise, schedule, sampler.steps, self.jacobians)
        return sampler(seen, schedule, *noises, march=self._march(weights) if torch.is_grad_enabled() else straight)

    def check(self, sampler: PathSampler) -> None:
        """Raise CapabilityError if the sampler does not allow this policy."""
        if self.name == "invertible" and not isinstance(sampler, Reversible):
            raise CapabilityError(
                "memory policy 'invertible'",
                expected="a sampler that can be undone, such as Reversible(steps)",
                got=type(sampler).__name__,
                remedy="set it as the sampler, or choose 'checkpoint'",
            )

    def _march(self, weights: Sequence[Tensor]) -> March:
        marches: dict[str, March] = {"checkpoint": _checkpointed, "sqrt": _in_segments, "invertible": undoing(weights)}
        return marches.get(self.name, straight)


def memory_policy(spec: str | Memory) -> Memory:
    """Return the policy of that name.

    Args:
        spec: "none", "checkpoint", "sqrt", "truncated:K", "detached" or "invertible"; see :class:`Memory`.

    Raises:
        InputError: there is no such policy.

    Example:
        >>> memory_policy("truncated:5")
        Memory(name='truncated', jacobians=5)
    """
    if isinstance(spec, Memory):
        return spec
    name, _, argument = spec.partition(":")
    if name == "truncated" and argument.isdigit():
        return Memory(name, int(argument))
    if argument or name == "truncated" or name not in POLICIES:
        raise InputError("memory policy", expected=", ".join(POLICIES), got=repr(spec))
    return Memory(name, 0 if name == "detached" else None)


def _checkpointed(step: Step, state: State, steps: int, *, start: int = 0) -> State:
    def kept(i: int, state: State) -> State:
        out: State = checkpoint(lambda *parts: step(i, parts), *state, use_reentrant=False)
        return out

    return straight(kept, state, steps, start=start)


def _in_segments(step: Step, state: State, steps: int) -> State:
    """Checkpoint about sqrt(N) segments, and within the one at hand every step."""
    length = math.ceil(math.sqrt(steps))
    for start in range(0, steps, length):
        segment = partial(_segment, step, start, min(start + length, steps))
        state = checkpoint(segment, *state, use_reentrant=False)
    return state


def _segment(step: Step, start: int, stop: int, *state: Tensor) -> State:
    return _checkpointed(step, state, stop, start=start)


def _late(denoise: Denoise, schedule: Schedule, steps: int, last: int) -> Denoise:
    """Return the denoiser, before the last so many steps with the Jacobian of standard normal data."""
    times = schedule.times(steps)
    first = max(steps - last, 0)
    border = math.inf if first == 0 else float(times[first - 1] + times[first]) / 2

    def seen(x: Tensor, t: Tensor) -> Tensor:
        if last > 0 and float(t.max()) <= border:
            return denoise(x, t)
        with torch.no_grad():
            x_0 = denoise(x, t)
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        slope = spread_over(alpha / (alpha.square() + sigma.square()), x)
        return x_0 + slope * (x - x.detach())

    return seen
