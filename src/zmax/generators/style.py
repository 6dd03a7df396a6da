"""The latent spaces Z, W and W+ of a style-based generator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.empirical import Empirical
from zmax.core.errors import InputError
from zmax.core.generator import Generator
from zmax.core.rng import stream
from zmax.core.space import Block, LatentValue, Space
from zmax.generators.module import generator

Styles = Callable[[Float[Tensor, "n ..."]], Tensor]
SPACES = ("z", "w", "w+")
DRAWS = 8192
"""Draws of w from which its mean and covariance are estimated."""


def style_generator(
    mapping: Styles,
    synthesis: Styles,
    *,
    latent: int,
    layers: int = 1,
    space: str = "w",
    modality: str = "image",
    name: str = "style-based",
) -> Generator:
    r"""Wrap a mapping z -> w and a synthesis w -> x as a generator over one of its three latent spaces.

    Z is N(0, I). W is the law of w = mapping(z), which has no closed form: it is whitened by its mean and covariance,
    :math:`w = \bar w + L u`. W+ has a w of its own for each layer, each under the law of W; that reaches more than the
    generator was trained for, and each layer's norm is watched for itself.

    Reference: Karras et al. 2019, *A style-based generator architecture*, https://arxiv.org/abs/1812.04948; Abdal et
    al. 2019, *Image2StyleGAN*, section 3, https://arxiv.org/abs/1904.03189.

    Args:
        mapping: z (n, latent) to w (n, latent).
        synthesis: w (n, latent), or (n, layers, latent) for W+, to n samples.
        latent: length of z and of w.
        layers: number of layers that take a w.
        space: "z", "w" or "w+".
        modality: what the samples are.
        name: how reports call it.

    Raises:
        InputError: there is no such space, or W+ is asked of a generator of one layer.

    Example:
        >>> mapping, synthesis = torch.nn.Tanh(), lambda w: w.sum(1) if w.ndim == 3 else w
        >>> G = style_generator(mapping, synthesis, latent=4, layers=3, space="w+", modality="vector")
        >>> G.space.dim, G.decode(G.space.latents(torch.zeros(5, 12))).shape
        (12, torch.Size([5, 4]))
    """
    if space not in SPACES or (space == "w+" and layers < 2):
        expected = ", ".join(SPACES if layers > 1 else SPACES[:2])
        raise InputError(f"latent space of {name}", expected=expected, got=repr(space))
    if space == "z":
        network: nn.Module = _Chained(mapping, synthesis)
        return generator(network, (latent,), differentiable=True, modality=modality, name=name)
    with torch.no_grad():
        rng = stream(0, name, "w")
        law = Empirical.fit(
            mapping(torch.randn(DRAWS, latent, generator=rng, device="cpu", dtype=torch.float32)), held_out=0.0
        )
    names = ["w"] if space == "w" else [f"w{layer}" for layer in range(layers)]
    latents = Space(tuple(Block(block, (latent,), law) for block in names))
    network = _Synthesis(synthesis)
    return generator(network, space=latents, differentiable=True, modality=modality, name=f"{name}:{space}")


class _Chained(nn.Module):
    def __init__(self, mapping: Styles, synthesis: Styles) -> None:
        super().__init__()
        self.mapping, self.synthesis = mapping, synthesis

    def forward(self, z: Float[Tensor, "n latent"]) -> Tensor:
        return self.synthesis(self.mapping(z))


class _Synthesis(nn.Module):
    """The generator behind its mapping network, as a network of its own so that its calls are counted."""

    def __init__(self, synthesis: Styles) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(self, w: LatentValue) -> Tensor:
        return self.synthesis(w if isinstance(w, Tensor) else torch.stack(list(w.values()), dim=1))
