"""Diffusion and flow models as generators."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import chain

from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.defaults import placed, theirs
from zmax.core.errors import CapabilityError
from zmax.core.generator import DiffusionGenerator, Generator, Schedule
from zmax.core.samples import Samples
from zmax.core.space import LatentsLike
from zmax.generators.diffusion.memory import Memory, memory_policy
from zmax.generators.diffusion.multistep import DPMSolver
from zmax.generators.diffusion.path import Path, PathSpace
from zmax.generators.diffusion.samplers import PathSampler


class DenoiserGenerator(DiffusionGenerator):
    """A denoiser, a schedule and a sampler as a Generator: latents are the noises, decoding is denoising.

    Args:
        denoiser: network (x_t, t) -> E[x_0 | x_t].
        shape: shape of one sample in the network's scale.
        schedule: noise levels.
        sampler: integrates from noise to data. If it injects noise, the space has a second block for it.
        name: how reports call it.
        modality: one of `MODALITIES`: image, text, vector, audio, video, other.
        finish: maps the network's data scale to samples, such as [-1, 1] to [0, 1].
        memory: what gradients through :meth:`decode` keep or recompute: "none", "checkpoint", "sqrt", "truncated:K",
            "detached" or "invertible"; see :class:`~zmax.generators.diffusion.memory.Memory`.
        networks: networks that the denoiser runs, the denoiser itself if empty: their calls are counted, and latents
            come on their device and in their dtype.
        differentiable: whether autograd can follow the denoiser.

    Raises:
        InputError: there is no such memory policy.
        CapabilityError: the sampler does not allow it.
    """

    sampler: PathSampler
    memory: Memory
    space: PathSpace

    def __init__(
        self,
        denoiser: nn.Module,
        *,
        shape: Sequence[int],
        schedule: Schedule,
        sampler: PathSampler,
        name: str,
        modality: str = "vector",
        finish: Callable[[Tensor], Samples] | None = None,
        memory: str | Memory = "none",
        networks: Sequence[nn.Module] = (),
        differentiable: bool = True,
    ) -> None:
        self.memory = memory_policy(memory)
        self.memory.check(sampler)
        self.denoiser, self.networks = denoiser, tuple(networks) or (denoiser,)
        self.schedule, self.sampler, self._finish = schedule, sampler, finish
        self.name, self.modality, self.differentiable = name, modality, differentiable
        order = 2 if isinstance(sampler, DPMSolver) else 1
        self.space = PathSpace.along(Path(schedule, sampler.steps, sampler.eta, tuple(shape), order))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.sampler!r})"

    def denoise(self, x_t: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        """Return E[x_0 | x_t] by one network evaluation a sample, on the network's device."""
        x_0: Tensor = self.denoiser(self._like_weights(x_t), self._like_weights(t))
        return x_0

    def finish(self, x_0: Float[Tensor, "n ..."]) -> Samples:
        """Turn the network's data scale into samples."""
        if self._finish is None:
            return x_0
        with theirs():
            return self._finish(x_0)

    def stochastic(self, eta: float = 1.0) -> DenoiserGenerator:
        """Return the same model sampled by SDE-DPM-Solver++(2M), with fresh noise."""
        made, path = copy.copy(self), self.space.path
        made.space = PathSpace.along(Path(path.schedule, path.steps, eta, path.shape))
        made.sampler = made.space.path.sampler
        made.memory.check(made.sampler)
        return made

    @placed()
    def decode(self, z: LatentsLike) -> Samples:
        """Integrate from the initial noise, a tensor or `{"noise": ..., "injected": ...}`, to samples (n, *shape)."""
        z = self.space.batch(z)
        parts = {"noise": z} if isinstance(z, Tensor) else z
        noise, *injected = (self._like_weights(parts[block.name]) for block in self.space.blocks)
        weights = tuple(weight for network in self.networks for weight in network.parameters())
        return self.finish(self.memory.sample(self.sampler, self.denoise, self.schedule, (noise, *injected), weights))

    def _like_weights(self, value: Tensor) -> Tensor:
        weights = (w for network in self.networks for w in chain(network.parameters(), network.buffers()))
        like = next((w for w in weights if w.is_floating_point()), value)
        return value.to(like.device, like.dtype)


def with_memory(generator: Generator, policy: str | Memory) -> DenoiserGenerator:
    """Return the same model with gradients computed under another policy.

    Args:
        generator: a diffusion or flow model of ours.
        policy: see :func:`memory_policy`.

    Raises:
        InputError: there is no such policy.
        CapabilityError: the generator, or its sampler, does not allow it.

    Example:
        >>> import zmax
        >>> with_memory(zmax.load_generator("avatars-flow:50"), "checkpoint").memory
        Memory(name='checkpoint', jacobians=None)
    """
    if not isinstance(generator, DenoiserGenerator):
        expected, got = "a generator made of a denoiser and a sampler", type(generator).__name__
        raise CapabilityError("memory policies", expected=expected, got=got, remedy="use it as it is")
    memory = memory_policy(policy)
    memory.check(generator.sampler)
    made = copy.copy(generator)
    made.memory = memory
    return made
