"""`avatars-flow`: a rectified flow over 16x16 images, by a small diffusion transformer."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class FlowBlock(nn.Module):
    """Transformer block with adaptive layer norm.

    (Peebles & Xie 2023, *DiT*, fig. 3, https://arxiv.org/abs/2212.09748.) The modulation of all blocks comes from one
    projection plus a table of the block's own (Chen et al. 2023, *PixArt-α*, sec. 2.3, https://arxiv.org/abs/2310.00426),
    which saves a third of the parameters.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.table = nn.Parameter(torch.zeros(6, width))

    def attention(self, x: Float[Tensor, "n tokens width"]) -> Float[Tensor, "n tokens width"]:
        """Multi-head self-attention."""
        n, tokens, width = x.shape
        query, key, value = self.qkv(x).view(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(
            query @ key.mT * query.shape[-1] ** -0.5, -1
        )  # 16 tokens: faster on CPUs than a fused kernel
        out: Tensor = self.out((weights @ value).transpose(1, 2).reshape(n, tokens, width))
        return out

    def forward(
        self, x: Float[Tensor, "n tokens width"], modulation: Float[Tensor, "n 6 width"]
    ) -> Float[Tensor, "n tokens width"]:
        """The block's output, of the input's shape."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = (modulation + self.table)[:, :, None].unbind(1)
        x = x + gate_a * self.attention(self.norm(x) * (1 + scale_a) + shift_a)
        out: Tensor = x + gate_m * self.mlp(self.norm(x) * (1 + scale_m) + shift_m)
        return out


class AvatarFlow(nn.Module):
    r"""Velocity of the rectified flow x_t = (1 - t) x_0 + t \epsilon, with t = 1 noise and images x_0 in [-1, 1].

    Trained to v(x_t, t) = E[\epsilon - x_0 | x_t] (Liu et al. 2023, *Flow Straight and Fast*, eq. 1,
    https://arxiv.org/abs/2209.03003), hence the denoiser E[x_0 | x_t] = x_t - t v(x_t, t).

    Args:
        width: Channels of a token; a token is a 4x4 patch.
        depth: Number of blocks.
        heads: Attention heads.
    """

    def __init__(self, *, width: int = 192, depth: int = 6, heads: int = 6) -> None:
        super().__init__()
        self.patch = 4
        self.width = width
        self.embed = nn.Linear(3 * self.patch**2, width)
        self.position = nn.Parameter(torch.empty(16, width).normal_(std=0.02))
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.modulation = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(FlowBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.last_modulation = nn.Linear(width, 2 * width)
        self.last = nn.Linear(width, 3 * self.patch**2)
        for layer in (self.modulation, self.last_modulation, self.last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def time_features(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n width"]:
        """Sines and cosines of 1000 t at geometric frequencies (Vaswani et al. 2017, sec. 3.5)."""
        half = self.width // 2
        frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device, dtype=t.dtype) / half)
        angles = 1000 * t[:, None] * frequencies
        return torch.cat([angles.cos(), angles.sin()], 1)

    def forward(self, x: Float[Tensor, "n 3 16 16"], t: Float[Tensor, " n"]) -> Float[Tensor, "n 3 16 16"]:
        """Velocity d x_t / d t at the noisy image `x` and the time `t` in [0, 1], one a sample."""
        time = self.time(self.time_features(t))
        modulation = self.modulation(time).view(len(x), 6, self.width)
        tokens = self.embed(functional.pixel_unshuffle(x, self.patch).flatten(2).mT) + self.position
        for block in self.blocks:
            tokens = block(tokens, modulation)
        shift, scale = self.last_modulation(time)[:, None].chunk(2, -1)
        patches = self.last(self.norm(tokens) * (1 + scale) + shift)
        return functional.pixel_shuffle(patches.mT.unflatten(2, (4, 4)), self.patch)
