"""A small denoiser trained on a generator's own samples, for generators that bring none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from zmax.core.errors import CapabilityError
from zmax.core.rng import stream
from zmax.core.samples import Samples, describe, spread
from zmax.natural.denoising import Denoiser, fitting

UPDATES, BATCH, RATE = 1500, 32, 2e-3
RATIOS = (0.1, 0.5)
"""Noise levels at which it is asked; less hides the speckle of a GAN, more is beyond so small a network."""

LOWEST, HIGHEST = 0.03, 1.8
"""Noise levels that it is trained at."""

LARGEST = 64
"""Height and width beyond which images are averaged down; what happens below such a pixel is not seen."""

MOST = 4096
"""Values of a vector, at most."""

WEIGHT = "weight."


class Companion(Denoiser):
    """A network that predicts the noise eps of x + sigma eps, of data of mean 0 and standard deviation 1.

    Args:
        network: (x, log sigma) -> eps.
        mean, std: those of the samples; one number each for images, one a coordinate for vectors.
        shape: of a sample.
    """

    slopes = metered = False

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor, shape: Sequence[int]) -> None:
        self.network, self.mean, self.std, self.shape = network, mean, std, list(shape)
        self.levels = [(1.0, sigma) for sigma in RATIOS]

    def clean(self, samples: Samples) -> Float[Tensor, "n ..."]:
        """Return samples of the size, mean and standard deviation that the network was trained at."""
        return (fitting(sized(samples), self.shape).to(self.mean.device) - self.mean) / self.std

    def __call__(self, x_t: Float[Tensor, "n ..."], level: int) -> Float[Tensor, "n ..."]:
        """Take the predicted noise away."""
        sigma = x_t.new_full((len(x_t),), self.levels[level][1])
        eps: Tensor = self.network(x_t, sigma)
        return x_t - spread(sigma, x_t) * eps

    def tensors(self) -> dict[str, Tensor]:
        """Return its weights and the scale of the samples."""
        weights = {WEIGHT + name: value for name, value in self.network.state_dict().items()}
        return {"mean": self.mean, "std": self.std, "shape": torch.tensor(self.shape), **weights}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Companion:
        """Put it together again."""
        network = built(tensors["shape"].tolist())
        network.load_state_dict({n.removeprefix(WEIGHT): t for n, t in tensors.items() if n.startswith(WEIGHT)})
        return cls(network.eval().requires_grad_(False), tensors["mean"], tensors["std"], tensors["shape"].tolist())


def sized(samples: Samples) -> Float[Tensor, "n ..."]:
    """Return images of at most 64 x 64, in multiples of four, and everything else as vectors.

    Raises:
        CapabilityError: the samples are no numbers, or too many.
    """
    if not isinstance(samples, Tensor) or samples.is_complex():
        raise CapabilityError(
            "realism of these samples",
            expected="images or vectors; for texts and molecules count valid and distinct ones instead",
            got=describe(samples),
        )
    x = samples.float()
    if x.ndim == 4 and min(x.shape[2:]) >= 8:
        size = [min(LARGEST, side // 4 * 4) for side in x.shape[2:]]
        return x if list(x.shape[2:]) == size else functional.interpolate(x, size, mode="area")
    x = x.flatten(1)
    if x.shape[1] > MOST:
        raise CapabilityError("realism of these samples", expected=f"at most {MOST} values", got=describe(samples))
    return x


def trained(samples: Samples, told: Callable[[float], None]) -> Companion:
    r"""Train a companion on samples of G.

    .. math:: \min_\theta\ E\, |\epsilon_\theta(x + \sigma \epsilon, \sigma) - \epsilon|^2

    Args:
        samples: thousands of them.
        told: shown the share that is done.
    """
    bank = sized(samples).cpu()
    picture = bank.ndim == 4
    mean, std = (bank.mean(), bank.std()) if picture else (bank.mean(0), bank.std(0))
    std = std.clamp_min(1e-6)
    bank = (bank - mean) / std
    network = built(bank.shape[1:])
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.01)
    rng = stream(0, "companion", "batches")
    for step in range(UPDATES):
        warm, cold = min(1.0, (step + 1) / 50), 0.5 + 0.5 * math.cos(math.pi * step / UPDATES)
        optimiser.param_groups[0]["lr"] = RATE * warm * cold
        x = bank[torch.randint(len(bank), (BATCH,), generator=rng, device="cpu")]
        at = torch.rand(BATCH, generator=rng, device="cpu")
        sigma = LOWEST * (HIGHEST / LOWEST) ** at
        eps = torch.randn(x.shape, generator=rng, device="cpu")
        with torch.enable_grad():
            loss = (network(x + spread(sigma, x) * eps, sigma) - eps).square().mean()
            optimiser.zero_grad()
            loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        told((step + 1) / UPDATES)
    return Companion(network.eval().requires_grad_(False), mean, std, bank.shape[1:])


def built(shape: Sequence[int]) -> nn.Module:
    """Return the network for samples of that shape; its first weights are a function of the shape alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # noqa: TID251 - torch's initialisers know no other stream
        return Pictures(shape[0], (shape[1], shape[2])) if len(shape) == 3 else Vectors(shape[0])


class Residual(nn.Module):
    """x + conv(silu(conv(silu(norm(x)))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The block's output, of the input's shape."""
        out: Tensor = x + self.second(functional.silu(self.first(functional.silu(self.norm(x)))))
        return out


class Pictures(nn.Module):
    """A U-Net over blocks of 2 x 2 pixels, with a bias a position and a perceptron over the whole picture.

    Args:
        channels: of the images.
        size: height and width, multiples of four.
        width: channels at half resolution; twice that at a quarter.
    """

    def __init__(self, channels: int, size: tuple[int, int], width: int = 48) -> None:
        super().__init__()
        coarse = 2 * width
        self.enter = nn.Conv2d(4 * channels + 1, width, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(width, size[0] // 2, size[1] // 2))
        self.first, self.bottom, self.last = Residual(width), Residual(coarse), Residual(width)
        self.down, self.up = nn.Conv2d(width, coarse, 2, stride=2), nn.Conv2d(coarse, 4 * width, 1)
        self.whole = nn.Sequential(nn.Linear(16 * coarse, 256), nn.SiLU(), nn.Linear(256, 16 * coarse))
        self.leave = nn.Conv2d(width, 4 * channels, 3, padding=1)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Float[Tensor, "n c h w"], sigma: Float[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
        """The noise that was added at that level."""
        blocks = functional.pixel_unshuffle(x * spread(1 + sigma.square(), x).rsqrt(), 2)
        level = spread(sigma.log(), x).expand(-1, 1, *blocks.shape[2:])
        fine = self.first(self.enter(torch.cat([blocks, level], 1)) + self.place)
        coarse = self.down(fine)
        summary = functional.adaptive_avg_pool2d(functional.silu(coarse), 4).flatten(1)
        whole = self.whole(summary).view(len(x), -1, 4, 4)
        coarse = self.bottom(coarse + functional.interpolate(whole, coarse.shape[2:]))
        fine = self.last(fine + functional.pixel_shuffle(self.up(coarse), 2))
        return functional.pixel_shuffle(self.leave(functional.silu(fine)), 2)


class Vectors(nn.Module):
    """A perceptron.

    Args:
        size: values of a sample.
        width: of the layers between.
    """

    def __init__(self, size: int, width: int = 256) -> None:
        super().__init__()
        self.enter = nn.Linear(size + 1, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.leave = nn.Linear(width, size)

    def forward(self, x: Float[Tensor, "n d"], sigma: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """The noise that was added at that level."""
        h = self.enter(torch.cat([x * (1 + sigma.square()).rsqrt()[:, None], sigma.log()[:, None]], 1))
        for layer in self.layers:
            h = h + layer(functional.silu(h))
        out: Tensor = self.leave(functional.silu(h))
        return out
