"""`critic:avatars`: how real a picture looks, learnt against the samples of the shipped generators."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from zmax.scores.zoo.classifier import ResidualBlock


class Critic(nn.Module):
    r"""One logit, about log p_data(x) / p_fake(x), higher for pictures that look real (Goodfellow et al. 2014, prop. 1,
    https://arxiv.org/abs/1406.2661), smoothed by a penalty on its gradient at real pictures (R1).

    Args:
        width: Channels at 8x8; twice that at 4x4.
        hidden: Size of the last hidden layer.
    """

    def __init__(self, *, width: int = 48, hidden: int = 128) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            ResidualBlock(width),
            nn.Conv2d(width, 2 * width, 2, stride=2),
            ResidualBlock(2 * width),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(32 * width, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, x: Float[Tensor, "n 3 16 16"]) -> Float[Tensor, " n"]:
        """The realism logit of images in [0, 1]."""
        out: Tensor = self.body(2 * x - 1)
        return out.squeeze(1)
