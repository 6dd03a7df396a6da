"""`attribute:<label>`: a residual network that reads an avatar's labels from its pixels."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from zmax.scores.zoo.heads import Heads


class ResidualBlock(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))) (He et al. 2016, *Identity mappings*, https://arxiv.org/abs/1603.05027)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(8, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The block's output, of the input's shape."""
        out: Tensor = x + self.body(x)
        return out


class AttributeNet(nn.Module):
    """Convolutional classifier with one head a question; smooth (SiLU), so that its gradient is of use to a search.

    Args:
        groups: The labels of each head (see `Heads`).
        width: Channels at 8x8; twice that at 4x4.
        hidden: Size of the features.
    """

    def __init__(self, *, groups: Sequence[Sequence[str]], width: int = 48, hidden: int = 128) -> None:
        super().__init__()
        self.heads = Heads(groups)
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            ResidualBlock(width),
            ResidualBlock(width),
            nn.Conv2d(width, 2 * width, 2, stride=2),
            ResidualBlock(2 * width),
            nn.GroupNorm(8, 2 * width),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(32 * width, hidden),
            nn.SiLU(),
        )
        self.head = nn.Linear(hidden, len(self.heads.labels))

    def features(self, x: Float[Tensor, "n 3 16 16"]) -> Float[Tensor, "n hidden"]:
        """What the last layer reads."""
        out: Tensor = self.body(2 * x - 1)
        return out

    def forward(self, x: Float[Tensor, "n 3 16 16"]) -> Float[Tensor, "n logits"]:
        """Logits in the order of `heads.labels`, of images in [0, 1]."""
        out: Tensor = self.head(self.features(x))
        return out

    def log_odds(self, x: Float[Tensor, "n 3 16 16"], label: str) -> Float[Tensor, " n"]:
        """log p(label | x) - log p(not label | x) of images in [0, 1]; see `Heads.log_odds`."""
        return self.heads.log_odds(self(x), label)
