"""The shipped generators of 16x16 avatars as Generators."""

from __future__ import annotations

from zmax.core.errors import InputError
from zmax.core.generator import Generator
from zmax.generators.diffusion.denoisers import NetworkDenoiser
from zmax.generators.diffusion.generator import DenoiserGenerator
from zmax.generators.diffusion.samplers import Euler
from zmax.generators.diffusion.schedules import RectifiedFlow
from zmax.generators.module import generator
from zmax.generators.style import style_generator
from zmax.generators.zoo import AvatarFlow, AvatarGAN, AvatarVAE, load


def avatars_gan(space: str = "z") -> Generator:
    """Return the style-based GAN: z ~ N(0, I_128) to images (n, 3, 16, 16) in [0, 1].

    Args:
        space: "z", "w" for the latents behind the mapping network, or "w+" for one of those a layer; see
            :func:`~zmax.generators.style.style_generator`.

    Raises:
        InputError: there is no such space.
    """
    network = load("avatars-gan")
    assert isinstance(network, AvatarGAN)
    if space == "z":
        return generator(network, (network.latent,), differentiable=True, modality="image", name="avatars-gan")
    latent, layers = network.latent, network.layers
    return style_generator(
        network.mapping, network.synthesis, latent=latent, layers=layers, space=space, name="avatars-gan"
    )


def avatars_flow(spec: str = "8") -> Generator:
    """Return the rectified flow as a deterministic decoder of its noise (3, 16, 16) to images in [0, 1].

    Args:
        spec: number of Euler steps, one network evaluation each; 8 is usable, 50 is good. Then, after a comma, the
            memory policy of gradients, as in "50,checkpoint"; see :class:`~zmax.generators.diffusion.memory.Memory`.

    Raises:
        InputError: steps is not a positive whole number, or there is no such memory policy.
        CapabilityError: the sampler does not allow the memory policy.
    """
    steps, _, memory = spec.partition(",")
    if not steps.isdigit() or int(steps) < 1:
        raise InputError("steps of avatars-flow", expected="a number, as in 'avatars-flow:50'", got=repr(steps))
    network = load("avatars-flow")
    assert isinstance(network, AvatarFlow)
    levels = RectifiedFlow()
    return DenoiserGenerator(
        NetworkDenoiser(network, levels, prediction="velocity"),
        shape=(3, 16, 16),
        schedule=levels,
        sampler=Euler(int(steps)),
        name="avatars-flow",
        modality="image",
        finish=lambda x: ((x + 1) / 2).clamp(0, 1),
        memory=memory or "none",
    )


def avatars_vae() -> Generator:
    """Return the VAE: its decoder from z ~ N(0, I) to images (n, 3, 16, 16) in [0, 1], and its encoder."""
    network = load("avatars-vae")
    assert isinstance(network, AvatarVAE)
    encoder, shape = network.encode, (network.latent,)
    return generator(network, shape, differentiable=True, modality="image", name="avatars-vae", encoder=encoder)
