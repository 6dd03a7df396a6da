"""A generator that is told which score its samples should have: one more latent block, "score"."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.errors import CapabilityError, InputError
from zmax.core.generator import Generator
from zmax.core.quantiles import Quantiles
from zmax.core.samples import Samples
from zmax.core.space import Block, LatentValue, Space
from zmax.generators.asking import WIDTH, Asking, Embedded, rows_for
from zmax.generators.diffusion.generator import DenoiserGenerator
from zmax.generators.requests import Request, query_of

SCORE = "score"
"""Name of the latent block."""


class Ask(Embedded):
    """Tells requests to the layers of networks: holds those of the batch that is being made.

    Args:
        law: of each score.
    """

    def __init__(self, law: Quantiles) -> None:
        super().__init__(law)
        self.current: Tensor | None = None

    def space(self, inner: Generator) -> Space:
        """Return the generator's own space."""
        return inner.space

    def guides(self, inner: Generator) -> bool:
        """Say whether that is a denoiser."""
        return isinstance(inner, DenoiserGenerator)

    def held(self, inner: Generator, wanted: Tensor, away: Tensor, guidance: float) -> Generator:
        """Return a generator whose layers know of this network held at requests, by its denoiser if it has one."""
        if not isinstance(inner, DenoiserGenerator):
            return Held(inner, self, wanted)
        made = copy.copy(inner)
        made.denoiser = Guided(inner.denoiser, self, wanted, away, guidance)
        made.networks, made.source = (*inner.networks, self), ""
        return made

    @contextmanager
    def of(self, requests: Float[Tensor, "n k"]) -> Iterator[None]:
        """Let the layers know these requests, a row for each of the batch, until the end of the block."""
        before, self.current = self.current, self.embed(requests)
        try:
            yield
        finally:
            self.current = before


class Modulated(nn.Module):
    r"""A layer whose outputs are scaled and shifted as the request says; at first not at all.

    .. math:: y' = y\,(1 + a(e)) + b(e)

    Reference: Perez et al. 2018, *FiLM*, eq. 2, https://arxiv.org/abs/1709.07871, begun at zero as adapters are.

    Args:
        layer: linear or convolutional.
        ask: knows e; it is not a part of this module.
    """

    def __init__(self, layer: nn.Module, ask: Ask) -> None:
        super().__init__()
        self.layer, self._ask = layer, (ask,)  # in a tuple: it is a network of its own
        outputs: Any = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        self.film = nn.Linear(WIDTH, 2 * outputs, device="meta").to_empty(device=next(layer.parameters()).device)
        for weight in self.film.parameters():
            nn.init.zeros_(weight)

    @property
    def weight(self) -> Tensor:
        """The layer's own, for networks that look."""
        return cast("Tensor", self.layer.weight)

    @property
    def bias(self) -> Tensor | None:
        """The layer's own."""
        return cast("Tensor | None", self.layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's outputs, scaled and shifted."""
        y: Tensor = self.layer(x)
        e = self._ask[0].current
        if e is None:
            return y
        if len(e) != len(y):
            raise CapabilityError(
                "a layer that is told the score",
                expected=f"a batch of {len(e)} rows, one for each sample",
                got=f"{len(y)} rows",
                remedy="condition a map of the noises instead: method='noise-map'",
            )
        scale, shift = self.film(e).chunk(2, 1)
        middle = [1] * (y.ndim - 2)
        shape = (len(y), *middle, -1) if isinstance(self.layer, nn.Linear) else (len(y), -1, *middle)
        return y * (1 + scale.reshape(shape)) + shift.reshape(shape)


class Guided(nn.Module):
    r"""A denoiser held at requests, perhaps pushed away from others (classifier-free guidance).

    .. math:: D(x_t, t) = D_s(x_t, t) + \omega\, (D_s(x_t, t) - D_{s'}(x_t, t))

    s' being what to keep away from, or no request. Reference: Ho & Salimans 2022, *Classifier-free diffusion guidance*,
    eq. 6, https://arxiv.org/abs/2207.12598.

    Args:
        denoiser: (x_t, t) -> E[x_0 | x_t], told requests by `ask`.
        ask: embeds them.
        wanted, away: s and s', a row for each of the batch or one for all.
        guidance: omega; 0 asks the network once.
    """

    def __init__(self, denoiser: nn.Module, ask: Ask, wanted: Tensor, away: Tensor, guidance: float) -> None:
        super().__init__()
        self.denoiser, self.ask, self.guidance = denoiser, ask, guidance
        self.wanted, self.away = wanted, away

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the guided denoised sample."""
        with self.ask.of(rows_for(self.wanted, x_t)):
            x_0: Tensor = self.denoiser(x_t, t)
        if not self.guidance:
            return x_0
        with self.ask.of(rows_for(self.away, x_t)):
            other: Tensor = self.denoiser(x_t, t)
        return x_0 + self.guidance * (x_0 - other)


class Held(Generator):
    """A decoder held at requests.

    Args:
        inner: the decoder, told requests by `ask`.
        ask: embeds them.
        wanted: a row for each of the batch or one for all.
    """

    def __init__(self, inner: Generator, ask: Ask, wanted: Tensor) -> None:
        self.inner, self.ask, self.wanted = inner, ask, wanted
        self.space, self.networks = inner.space, (*inner.networks, ask)
        self.name, self.modality, self.differentiable = inner.name, inner.modality, inner.differentiable
        self.encoder = None if inner.encoder is None else self._encoded

    def decode(self, z: LatentValue) -> Samples:
        """Decode with the requests told."""
        first = z if isinstance(z, Tensor) else next(iter(z.values()))
        with self.ask.of(rows_for(self.wanted, first)):
            return self.inner.decode(z)

    def _encoded(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        assert self.inner.encoder is not None, "found at the start"
        with self.ask.of(rows_for(self.wanted, samples)):
            return self.inner.encoder(samples)


class Conditioned(Generator):
    r"""A generator G(z, s) of samples whose scores should be s, with s as one more latent block.

    The block is in the user's units and its law is that of the scores that were learned from, so that G(z, s) of prior
    draws has about the parent's law. NaN asks for nothing.

    Args:
        inner: G.
        ask: tells requests, to its layers (:func:`told`) or to a map of its noises.
        names: of the scores.
    """

    def __init__(self, inner: Generator, ask: Asking, names: Sequence[str]) -> None:
        self.inner, self.ask, self.names = inner, ask, tuple(names)
        self._blocks = ask.space(inner).blocks
        self.space = Space((*self._blocks, Block(SCORE, (ask.law.size,), ask.law)))
        self.networks = (*inner.networks, ask)
        self.name, self.modality, self.differentiable = inner.name, inner.modality, inner.differentiable

    @property
    def guided(self) -> bool:
        """Whether guidance can be had."""
        return self.ask.guides(self.inner)

    def decode(self, z: LatentValue) -> Samples:
        """Decode latents with their requests."""
        assert isinstance(z, dict), "there are two blocks at least"
        blocks = self._blocks
        rest = z[blocks[0].name] if len(blocks) == 1 else {block.name: z[block.name] for block in blocks}
        return self.asked(z[SCORE]).decode(rest)

    def at(self, score: Request | None, away_from: Request | None = None, guidance: float = 0.0) -> Generator:
        """Return the generator held at a request: an ordinary one, of the parent's latents.

        Args:
            score: what is asked for, in the user's units; of several scores one each, or those wanted by name.
            away_from: what to be pushed away from; without it, from a generator of which nothing is asked.
            guidance: how strongly; the spread of scores shrinks with it. Diffusion and flow models alone.

        Raises:
            InputError: the request does not fit the scores.
            CapabilityError: guidance for a generator without a path.
        """
        away = None if away_from is None else self.request(away_from)[None]
        held = self.asked(self.request(score)[None], away, guidance)
        held.source = self.source and f"{self.source}?{query_of(score, away_from, guidance)}"
        return held

    def asked(
        self, wanted: Float[Tensor, "n k"], away: Float[Tensor, "m k"] | None = None, guidance: float = 0.0
    ) -> Generator:
        """Return the generator held at a request for each row of a batch, or at one for all."""
        none = torch.full_like(wanted[:1], math.nan) if away is None else away
        if (guidance or away is not None) and not self.guided:
            raise CapabilityError(
                f"guidance of {self.name!r}",
                expected="a diffusion or flow model whose layers are told the score",
                got="a decoder, or a map of noises",
                remedy="leave guidance and away_from out",
            )
        return self.ask.held(self.inner, wanted, none, float(guidance))

    def request(self, score: Request | None) -> Float[Tensor, " k"]:
        """Return a request as a tensor, NaN where nothing is asked for.

        Raises:
            InputError: a name is not known, or there are too many or too few numbers.
        """
        names, k = self.names, len(self.names)
        if score is None:
            values: list[float | None] = [None] * k
        elif isinstance(score, Mapping):
            unknown = score.keys() - set(names)
            if unknown:
                raise InputError("a score that is asked for", expected=", ".join(names), got=", ".join(sorted(unknown)))
            values = [score.get(name) for name in names]
        else:
            values = [score] if isinstance(score, (int, float)) else list(score)
        if len(values) != k:
            raise InputError("scores that are asked for", expected=f"{k}: {', '.join(names)}", got=len(values))
        return torch.tensor([math.nan if value is None else float(value) for value in values], device="cpu")


def told(generator: Generator, ask: Ask) -> list[str]:
    """Let the layers of a generator's networks know of requests, in place, and return their paths.

    Raises:
        CapabilityError: no layer can be told.
    """
    found = []
    for index, network in enumerate(generator.networks):
        layers = [(path, module) for path, module in network.named_modules() if path and _takes(module)]
        for path, layer in layers:
            parent, _, name = path.rpartition(".")
            setattr(network.get_submodule(parent), name, Modulated(layer, ask))
            found.append(f"{index}.{path}")
    if not found:
        raise CapabilityError(
            f"the networks of {generator.name!r}",
            expected="linear or convolutional layers that can be told the score",
            got="none",
            remedy="condition a map of the noises instead: method='noise-map'",
        )
    return found


def _takes(module: nn.Module) -> bool:
    return type(module) in (nn.Linear, nn.Conv2d, nn.Conv1d, nn.ConvTranspose2d)
