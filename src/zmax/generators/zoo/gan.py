"""`avatars-gan`: a small style-based generator of 16x16 avatars, with the latent spaces Z, W and W+."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class StyledConv(nn.Module):
    r"""Convolution with input channels scaled by a style, and output channels scaled back to unit variance.

    y_o = \frac{\sum_i W_{oi} * (s_i x_i)}{\sqrt{\sum_{i,k} (s_i W_{oik})^2 + \epsilon}} + b_o, with s = A w + 1
    (Karras et al. 2020, *Analyzing and Improving the Image Quality of StyleGAN*, eq. 1 and 3,
    https://arxiv.org/abs/1912.04958). Scaling the maps, not the weights, is the same and keeps one kernel a batch.
    The bias b has a value at each position: avatars are aligned.

    Args:
        inputs: Channels in.
        outputs: Channels out, after the `upscale`.
        size: Height and width in.
        latent: Length of w.
        upscale: 2 doubles height and width (pixel shuffle), 1 keeps them.
        kernel: Height and width of the kernel.
        demodulate: Whether to divide as above.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        latent: int,
        *,
        upscale: int = 1,
        kernel: int = 3,
        demodulate: bool = True,
    ) -> None:
        super().__init__()
        self.style = nn.Linear(latent, inputs)
        self.weight = nn.Parameter(torch.empty(outputs * upscale**2, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs, size * upscale, size * upscale))
        self.upscale = upscale
        self.demodulate = demodulate
        nn.init.ones_(self.style.bias)
        nn.init.normal_(self.weight, std=(inputs * kernel**2) ** -0.5)

    def forward(self, x: Float[Tensor, "n i h w"], w: Float[Tensor, "n latent"]) -> Float[Tensor, "n o hh ww"]:
        """The maps before the activation."""
        style = self.style(w)
        out = functional.conv2d(x * style[:, :, None, None], self.weight, padding=self.weight.shape[-1] // 2)
        if self.demodulate:
            power = self.weight.square().sum((2, 3)).mT
            out = out * torch.rsqrt(style.square() @ power + 1e-8)[:, :, None, None]
        return functional.pixel_shuffle(out, self.upscale) + self.bias


class AvatarGAN(nn.Module):
    """Generator: z ~ N(0, I) -> w -> image in [0, 1]; a function without noise of its own.

    Args:
        latent: Length of z and of w.
        widths: Channels at 4x4, 8x8 and 16x16.
    """

    def __init__(self, *, latent: int = 128, widths: Sequence[int] = (128, 48, 16)) -> None:
        super().__init__()
        small, middle, large = widths
        self.latent = latent
        self.hidden = nn.ModuleList(nn.Linear(latent, latent) for _ in range(3))
        self.constant = nn.Parameter(torch.empty(small, 4, 4).normal_())
        self.convs = nn.ModuleList(
            [
                StyledConv(small, small, 4, latent),
                StyledConv(small, middle, 4, latent, upscale=2),
                StyledConv(middle, middle, 8, latent),
                StyledConv(middle, large, 8, latent, upscale=2),
                StyledConv(large, large, 16, latent),
            ]
        )
        self.to_rgb = StyledConv(large, 3, 16, latent, kernel=1, demodulate=False)
        self.layers = len(self.convs) + 1

    def mapping(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n latent"]:
        """w of z: z scaled to unit mean square, then a perceptron."""
        w = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.hidden:
            w = functional.leaky_relu(layer(w), 0.2) * 2**0.5
        return w

    def synthesis(self, w: Float[Tensor, "n latent"] | Float[Tensor, "n layers latent"]) -> Float[Tensor, "n 3 16 16"]:
        """Image of w; `(n, latent)` for one w in every layer, `(n, layers, latent)` for one a layer (W+)."""
        styles = w[:, None].expand(-1, self.layers, -1) if w.ndim == 2 else w
        x = self.constant.expand(len(w), -1, -1, -1)
        for index, conv in enumerate(self.convs):
            x = functional.leaky_relu(conv(x, styles[:, index]), 0.2) * 2**0.5
        return torch.sigmoid(self.to_rgb(x, styles[:, -1]))

    def forward(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n 3 16 16"]:
        """Image of z."""
        return self.synthesis(self.mapping(z))
