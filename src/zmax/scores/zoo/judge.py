"""`attribute-judge:<label>`: the held-out judge, an MLP-mixer trained on pictures that `attribute:` never saw."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from zmax.scores.zoo.heads import Heads


class MixerBlock(nn.Module):
    """Mixes over tokens, then over channels (Tolstikhin et al. 2021, eq. 1, https://arxiv.org/abs/2105.01601).

    U = X + W_2 act(W_1 norm(X)^T)^T,  Y = U + W_4 act(W_3 norm(U)).
    """

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(width)
        self.token_mix = nn.Sequential(nn.Linear(tokens, 4 * tokens), nn.GELU(), nn.Linear(4 * tokens, tokens))
        self.channel_norm = nn.LayerNorm(width)
        self.channel_mix = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Float[Tensor, "n tokens width"]) -> Float[Tensor, "n tokens width"]:
        """The block's output, of the input's shape."""
        x = x + self.token_mix(self.token_norm(x).mT).mT
        out: Tensor = x + self.channel_mix(self.channel_norm(x))
        return out


class AttributeJudge(nn.Module):
    """MLP-mixer over 4x4 patches; its features also measure precision and recall of the generators.

    Args:
        groups: The labels of each head (see `Heads`).
        width: Channels of a token.
        depth: Number of mixer blocks.
        hidden: Size of the features.
    """

    def __init__(self, *, groups: Sequence[Sequence[str]], width: int = 128, depth: int = 3, hidden: int = 128) -> None:
        super().__init__()
        self.heads = Heads(groups)
        self.patch = 4
        self.embed = nn.Linear(3 * self.patch**2, width)
        self.blocks = nn.Sequential(*(MixerBlock(16, width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.gather = nn.Linear(16 * width, hidden)
        self.head = nn.Linear(hidden, len(self.heads.labels))

    def layers(self, x: Float[Tensor, "n 3 16 16"]) -> list[Float[Tensor, "n tokens width"]]:
        """The tokens after each block."""
        tokens = self.embed(functional.pixel_unshuffle(2 * x - 1, self.patch).flatten(2).mT)
        found = []
        for block in self.blocks:
            tokens = block(tokens)
            found.append(tokens)
        return found

    def features(self, x: Float[Tensor, "n 3 16 16"]) -> Float[Tensor, "n hidden"]:
        """What the last layer reads."""
        return functional.gelu(self.gather(self.norm(self.layers(x)[-1]).flatten(1)))

    def forward(self, x: Float[Tensor, "n 3 16 16"]) -> Float[Tensor, "n logits"]:
        """Logits in the order of `heads.labels`, of images in [0, 1]."""
        out: Tensor = self.head(self.features(x))
        return out

    def log_odds(self, x: Float[Tensor, "n 3 16 16"], label: str) -> Float[Tensor, " n"]:
        """log p(label | x) - log p(not label | x) of images in [0, 1]; see `Heads.log_odds`."""
        return self.heads.log_odds(self(x), label)
