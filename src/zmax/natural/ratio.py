"""The log-ratio of two laws of samples, a child's and its parent's, by a small discriminator; and their KL."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from zmax.core.checks import whole
from zmax.core.errors import InputError, ShapeError
from zmax.core.rng import stream
from zmax.core.samples import sized

STEPS, BATCH, RATE, DECAY = 1000, 128, 2e-3, 0.01
LOOK, PATIENCE = 20, 10
"""Steps between looks at the held-out loss, and looks without a better one until training ends."""

LATE = 9
"""By how much the mean of the weights favours late steps; 1 is the plain mean."""

FLAT = 1e-2
"""Least standard deviation of a coordinate, as a share of that of all."""

MOMENTS = "moments."


class LogRatio(nn.Module):
    r"""An estimate of log child(x) / parent(x): the logit of a small discriminator of samples.

    .. math:: \min_T\ E_\mathrm{child} \log(1 + e^{-T(x)}) + E_\mathrm{parent} \log(1 + e^{T(x)})

    has the solution :math:`T = \log(\mathrm{child} / \mathrm{parent})`. At first T = 0, exactly. The mean of T over
    samples of the child is a penalty on KL(child || parent) whose gradient reaches the samples; the weights of T move
    by :meth:`update` alone.

    Reference: Sugiyama, Suzuki and Kanamori 2012, *Density ratio estimation in machine learning*, chapter 4,
    https://doi.org/10.1017/CBO9781139035613.

    Args:
        parent: samples of the parent, (n, c, h, w) for convolutions, any other shape for a perceptron; their mean and
            standard deviation set the scale.

    Raises:
        InputError: they are fewer than two, or not finite.

    Example:
        >>> parent = torch.randn(256, 2, generator=stream(0))
        >>> ratio = LogRatio(parent)
        >>> losses = [ratio.update(parent + torch.tensor([1.0, 0.0]), parent) for _ in range(100)]
        >>> low, high = ratio(torch.tensor([[-1.5, 0.0], [2.5, 0.0]])).tolist()
        >>> -3 < low < -1 and 1 < high < 3
        True
    """

    mean: Tensor
    std: Tensor

    def __init__(self, parent: Float[Tensor, "n ..."]) -> None:
        super().__init__()
        _usable(parent, least=2)
        x = sized(parent.detach().float())
        mean, std = _scale(x)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.shape = tuple(parent.shape[1:])
        self.network = _built(x.shape[1:]).to(parent.device).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), RATE, weight_decay=DECAY)

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
        """The estimate at each sample; autograd can follow to the samples."""
        if tuple(x.shape[1:]) != self.shape:
            raise ShapeError("samples of a log-ratio", expected=("n", *self.shape), got=tuple(x.shape))
        out: Tensor = self.network((sized(x.float()) - self.mean) / self.std)
        return out[:, 0]

    def loss(self, child: Float[Tensor, "n ..."], parent: Float[Tensor, "m ..."]) -> Float[Tensor, ""]:
        """Return the logistic loss, both laws weighing one half; log 2 where T = 0."""
        return (functional.softplus(-self(child)).mean() + functional.softplus(self(parent)).mean()) / 2

    def update(self, child: Float[Tensor, "n ..."], parent: Float[Tensor, "m ..."]) -> float:
        """Take one step of AdamW on a batch of each law, and return the loss before it.

        Raises:
            InputError: samples of another shape, none, or not finite.
        """
        _usable(child)
        _usable(parent)
        self.network.requires_grad_(True)
        with torch.enable_grad():
            loss = self.loss(child.detach(), parent.detach())
            loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.network.requires_grad_(False)
        return float(loss.detach())

    def tensors(self) -> dict[str, Tensor]:
        """Return all there is of it, the optimiser's moments included."""
        found = {"shape": torch.tensor(self.shape, dtype=torch.long), **self.state_dict()}
        for name, weight in self.network.named_parameters():
            found |= {f"{MOMENTS}{key}.{name}": t for key, t in self.optimiser.state[weight].items()}
        return {name: t.detach().clone() for name, t in found.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> LogRatio:
        """Put it together again; it goes on bit for bit as the one that gave the tensors."""
        made = cls(torch.zeros(2, *tensors["shape"].tolist(), device=tensors["mean"].device))
        made.load_state_dict({name: tensors[name] for name in made.state_dict()})
        weights = dict(made.network.named_parameters())
        for name in (name for name in tensors if name.startswith(MOMENTS)):
            key, weight = name.removeprefix(MOMENTS).split(".", 1)
            made.optimiser.state[weights[weight]][key] = tensors[name].clone()
        return made


def fit(
    ratio: LogRatio,
    child: Float[Tensor, "n ..."],
    parent: Float[Tensor, "m ..."],
    *,
    rng: torch.Generator,
    steps: int = STEPS,
) -> tuple[Float[Tensor, "a ..."], Float[Tensor, "b ..."]]:
    r"""Train on one half of both sets, to where the loss on the other is least; return the other halves.

    The weights are those of a mean that favours late steps, :math:`\bar w \leftarrow \bar w + \frac{9}{t + 8} (w_t -
    \bar w)`; then a constant is added to T, by which both laws come equally often on the halves held out.

    Reference: of the mean, Shamir and Zhang 2013, *Stochastic gradient descent for non-smooth optimization*,
    https://arxiv.org/abs/1212.1824, section 4.

    Args:
        ratio: what is trained.
        child, parent: fresh samples.
        rng: that halves them and draws the batches.
        steps: at most.

    Raises:
        InputError: fewer than four samples, samples of another shape or not finite, or no steps.
    """
    whole("fit", steps=steps)
    (learn, held), (others, held_others) = _halves(child, rng), _halves(parent, rng)
    averaged = copy.deepcopy(ratio)
    best, weights, since = float("inf"), averaged.network.state_dict(), 0
    for step in range(steps + 1):
        if step % LOOK == 0 or step == steps:
            with torch.no_grad():
                loss = float(averaged.loss(held, held_others))
            since += 1
            if loss < best:
                best, weights, since = loss, copy.deepcopy(averaged.network.state_dict()), 0
            if since == PATIENCE or step == steps:
                break
        ratio.update(batch(learn, rng), batch(others, rng))
        for mean, weight in zip(averaged.network.parameters(), ratio.network.parameters(), strict=True):
            mean.lerp_(weight, LATE / (step + LATE))
    ratio.network.load_state_dict(weights)
    _balance(ratio, held, held_others)
    return held, held_others


def kl_estimate(
    child: Float[Tensor, "n ..."], parent: Float[Tensor, "m ..."], rng: torch.Generator, steps: int = STEPS
) -> tuple[float, float]:
    r"""Return an estimate of KL(child || parent), at least 0, and its standard error, from samples of both.

    .. math:: \mathrm{KL} \approx \frac1a \sum_{i \le a} T(x_i), \qquad x_i \sim \mathrm{child}

    T is a :class:`LogRatio` that was trained on other halves of the samples. The error is that of the mean over
    samples; it knows nothing of what T has not learnt. With n samples of each, more than about log n cannot be told.

    Args:
        child, parent: fresh samples, some thousand of each; few pictures give estimates too large.
        rng: of the halves and batches.
        steps: of the discriminator, at most.

    Raises:
        InputError: fewer than four samples, samples of different shapes, or not finite.

    Example:
        >>> parent, child = torch.randn(2, 2000, 2, generator=stream(0))
        >>> kl, error = kl_estimate(child + torch.tensor([1.0, 0.0]), parent, stream(1))
        >>> 0.35 < kl < 0.65 and error < 0.05
        True
    """
    _usable(parent, least=4)
    ratio = LogRatio(parent)
    held, _ = fit(ratio, child, parent, rng=rng, steps=steps)
    with torch.no_grad():
        logits = ratio(held).double()
    return max(0.0, float(logits.mean())), float(logits.std() / len(logits) ** 0.5)


def _balance(ratio: LogRatio, child: Float[Tensor, "n ..."], parent: Float[Tensor, "m ..."]) -> None:
    """Add the constant to T under which the mean probabilities of both laws sum to one, by Newton's method."""
    *_, bias = ratio.network.parameters()
    for _ in range(20):
        with torch.no_grad():
            parts = [ratio(x).double().sigmoid() for x in (child, parent)]
        slope = sum(float((p * (1 - p)).mean()) for p in parts)
        over = sum(float(p.mean()) for p in parts) - 1
        bias.sub_(min(1.0, max(-1.0, over / max(slope, 1e-12))))


def _halves(x: Float[Tensor, "n ..."], rng: torch.Generator) -> tuple[Tensor, Tensor]:
    _usable(x, least=4)
    rows = torch.randperm(len(x), generator=rng, device="cpu").to(x.device)
    x = x.detach()[rows]
    return x[: len(x) // 2], x[len(x) // 2 :]


def batch(x: Float[Tensor, "n ..."], rng: torch.Generator) -> Float[Tensor, "b ..."]:
    """Draw as many samples, with repeats, as a step of a discriminator takes of each law."""
    return x[torch.randint(len(x), (BATCH,), generator=rng, device="cpu").to(x.device)]


def _usable(x: Float[Tensor, "n ..."], least: int = 1) -> None:
    if len(x) < least:
        raise InputError("samples of a log-ratio", expected=f"at least {least}", got=len(x))
    if not bool(x.isfinite().all()):
        raise InputError("samples of a log-ratio", expected="finite values", got="NaN or infinite ones")


def _scale(x: Float[Tensor, "n ..."]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation, of each channel or coordinate; none is nearly 0 beside the others."""
    axes = [0, 2, 3] if x.ndim == 4 else [0]
    std = x.std(axes, keepdim=True)
    return x.mean(axes, keepdim=True), std.clamp_min(max(1e-6, FLAT * float(std.square().mean().sqrt())))


def _built(shape: Sequence[int]) -> nn.Module:
    """Return the network for samples of that shape; its first weights are a function of the shape alone."""
    with torch.device("meta"):
        layers = _pictures(shape[0]) if len(shape) == 3 else _vectors(shape[0])
        network = nn.Sequential(*layers)
    network = network.to_empty(device="cpu")
    rng = stream(0, "ratio", "weights")
    for weight in network.parameters():
        if weight.ndim > 1:
            nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=rng)
        else:
            nn.init.zeros_(weight)
    *_, last, _ = network.parameters()
    nn.init.zeros_(last)
    return network


def _pictures(channels: int) -> list[nn.Module]:
    widths = [channels, 16, 32, 48]
    pairs = pairwise(widths)
    convolutions = [layer for a, b in pairs for layer in (nn.Conv2d(a, b, 3, stride=2, padding=1), nn.SiLU())]
    return [*convolutions, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * widths[-1], 1)]


def _vectors(size: int, width: int = 64) -> list[nn.Module]:
    return [nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)]
