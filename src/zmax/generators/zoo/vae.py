"""`avatars-vae`: a variational autoencoder of 16x16 avatars."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """x + conv(act(conv(act(norm(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The block's output, of the input's shape."""
        out: Tensor = x + self.body(x)
        return out


class AvatarVAE(nn.Module):
    r"""Encoder q(z | x) = N(mean, diag \exp log_variance) and decoder of the prior z ~ N(0, I)
    (Kingma & Welling 2014, eq. 7, https://arxiv.org/abs/1312.6114).

    Args:
        latent: Length of z.
        width: Channels at 8x8; twice that at 4x4.
    """

    def __init__(self, *, latent: int = 48, width: int = 48) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            ResidualBlock(width),
            nn.Conv2d(width, 2 * width, 2, stride=2),
            ResidualBlock(2 * width),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(32 * width, 2 * latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, 256),
            nn.SiLU(),
            nn.Linear(256, 32 * width),
            nn.Unflatten(1, (2 * width, 4, 4)),
            ResidualBlock(2 * width),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            ResidualBlock(width),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(width // 2, 3, 3, padding=1),
        )
        self.position = nn.Parameter(torch.zeros(3, 16, 16))

    def encode(self, x: Float[Tensor, "n 3 16 16"]) -> tuple[Float[Tensor, "n latent"], Float[Tensor, "n latent"]]:
        """Mean and log-variance of q(z | x), of images in [0, 1]."""
        mean, log_variance = self.encoder(2 * x - 1).chunk(2, 1)
        return mean, log_variance.clamp(-12, 4)

    def decode(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n 3 16 16"]:
        """The image of z, in [0, 1]."""
        return functional.sigmoid(self.decoder(z) + self.position)

    def forward(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n 3 16 16"]:
        """The same as `decode`."""
        return self.decode(z)
