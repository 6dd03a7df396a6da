"""The generator G: latents in, samples out; and what a diffusion or flow model shows beyond that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import chain
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.errors import InputError
from zmax.core.naming import ClassName
from zmax.core.samples import Samples, concatenated, spare
from zmax.core.space import LatentValue, Space

Encoder = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Tells of samples (n, ...) the mean and the log-variance, both (n, dim), of q(u | x), u being whitened coordinates."""


class Generator(ABC):
    """A generative model as a deterministic map from latents to samples.

    Set `space` and implement :meth:`decode`; the rest has defaults that work.

    Attributes:
        space: the law of its latents.
        name: how reports call it; the class's name unless set.
        differentiable: whether autograd can follow :meth:`decode`; None until a run has found out.
        modality: one of `MODALITIES`: image, text, vector, audio, video, other; decides how reports show samples.
        networks: every network a decode or the encoder may run; their forward calls are what the ledger counts as NFE.
        encoder: where samples come from, for a variational autoencoder; None for other generators.
        source: specification from which another process can load it, "" if it lives in this program only.
        size: samples that one latent makes, more than one for sets of them.
        prompts: texts that its samples are made of; with several, the latent chooses one.
        remarks: what was said of it when it was made, and belongs to every run of it.
    """

    space: Space
    name: str = cast(str, ClassName())
    differentiable: bool | None = False
    modality: str = "other"
    networks: tuple[nn.Module, ...] = ()
    encoder: Encoder | None = None
    source: str = ""
    prompts: tuple[str, ...] = ()
    size: int = 1
    remarks: tuple[str, ...] = ()

    @property
    def device(self) -> str:
        """Where the networks are, as in "cuda:0"; "cpu" if there are none."""
        weights = (w for network in self.networks for w in chain(network.parameters(), network.buffers()))
        return str(next((w.device for w in weights), "cpu"))

    def to(self, device: str) -> Generator:
        """Move the networks to a device, and with them the place where samples are made.

        Args:
            device: "cuda", "cuda:1", "mps" or "cpu".

        Raises:
            InputError: there is no such device here, or there are no networks.
        """
        if not self.networks:
            raise InputError(f"{self.name!r} on {device!r}", expected="networks that can be moved", got="none")
        try:
            self._move(device)
        except (RuntimeError, AssertionError, NotImplementedError, ValueError) as error:
            raise InputError(f"the device {device!r}", expected="one of this machine", got=str(error)) from error
        return self

    def _move(self, device: str) -> None:
        for network in self.networks:
            network.to(device)

    @abstractmethod
    def decode(self, z: LatentValue) -> Samples:
        """Turn a batch of latents into as many samples, each a function of its own latent alone.

        Args:
            z: tensor (n, *shape), or a dict of them when the space has several blocks, on any device.

        Returns:
            n samples, on the generator's own device: a tensor (n, ...) or a sequence.
        """


def decoded(generator: Generator, u: Float[Tensor, "n dim"], size: int) -> Samples:
    """Return the samples of whitened coordinates, `size` of them decoded at once, without a graph."""
    with torch.no_grad():
        return concatenated([spare(generator.decode(generator.space.latents(part))) for part in u.split(size)])


@runtime_checkable
class Schedule(Protocol):
    """Noise levels of a diffusion or flow process: x_t = alpha(t) x_0 + sigma(t) eps."""

    def alpha(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the signal's scale at time t."""
        ...

    def sigma(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the noise's scale at time t."""
        ...

    def times(self, steps: int) -> Float[Tensor, " steps_plus_one"]:
        """Return decreasing times from pure noise to data, on the CPU."""
        ...


class DiffusionGenerator(Generator):
    r"""A generator that decodes by denoising, and lets methods steer that path.

    A denoiser network or function becomes one by :func:`zmax.diffusion`. To implement one in full, set `space`, `name`,
    `modality`, `networks` and `schedule`, and implement four methods:

    - :meth:`denoise`, the posterior mean E[x_0 | x_t];
    - :meth:`finish`, from the network's scale to samples;
    - :meth:`stochastic`, the same model in the space of all noises of a path, which is made by
      `zmax.PathSpace.along(zmax.Path(schedule, steps, eta, shape))`;
    - :meth:`decode`, which in such a space is `self.finish(self.space.path.follow(self.denoise, z))`.

    `zmax.testing.PathConformance` checks what methods rely on.

    Attributes:
        schedule: noise levels over time, those of the path of :meth:`stochastic` too.

    Example:
        >>> import torch, zmax
        >>> class Normal(zmax.DiffusionGenerator):
        ...     schedule = zmax.generators.SCHEDULES["vp-linear"]()
        ...     modality, differentiable = "vector", True
        ...
        ...     def __init__(self, steps=20, eta=1.0):
        ...         self.space = zmax.PathSpace.along(zmax.Path(self.schedule, steps, eta, (2,)))
        ...
        ...     def denoise(self, x_t, t):
        ...         return self.schedule.alpha(t)[:, None] * x_t  # data of N(0, I)
        ...
        ...     def finish(self, x_0):
        ...         return x_0
        ...
        ...     def decode(self, z):
        ...         return self.finish(self.space.path.follow(self.denoise, z))
        ...
        ...     def stochastic(self, eta=1.0):
        ...         return Normal(self.space.path.steps, eta)
        >>> zmax.maximize(Normal(), lambda x: x[:, 0], "fk", budget=200).best.score > 1
        True
    """

    schedule: Schedule

    @abstractmethod
    def denoise(self, x_t: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        """Return the posterior mean E[x_0 | x_t], in the network's own data scale; at t = 0 that is x_t.

        Args:
            x_t: points of the path, on any device, each answered from itself and its time alone.
            t: their times, perhaps different ones, in the schedule's scale.

        Returns:
            Tensor of the shape of x_t, where that is or the networks are; each row is one call of `networks` on one
            sample (two with classifier-free guidance), so that it is counted.
        """

    @abstractmethod
    def finish(self, x_0: Float[Tensor, "n ..."]) -> Samples:
        """Turn the end of a path, or a preview of it, from the network's own data scale into samples, row by row."""

    @abstractmethod
    def stochastic(self, eta: float = 1.0) -> DiffusionGenerator:
        """Return the same model sampled with fresh noise on the way, which leaves the marginals as they are.

        Its `space` is a `zmax.PathSpace`: the initial noise, block "noise", and those injected on the way, block
        "injected" (steps - 1, *shape). Its :meth:`decode` takes the steps of that space's :class:`zmax.Path`, since
        methods that steer the path take them one by one.

        Args:
            eta: share of the noise that is drawn afresh, in [0, 1].
        """


MODALITIES: tuple[str, ...] = ("image", "text", "vector", "audio", "video", "other")
