"""Update rules of published latent optimisers, as their papers and code recommend them, in the shortest loop each.

Written anew from the equations. Each runs as many independent chains as the calls allow, all in one batch, which is
the fastest way to run them, and keeps the best point it scored. A chain's path does not depend on the other chains.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zmax.core.priors import radial_plausibility
from zmax.core.rng import stream

Objective = Callable[[Tensor], Tensor]
"""Whitened latents (n, d) to scores (n,), with a graph."""


@dataclass
class Best:
    """The best point found, the calls after which the best rose, and what it all took."""

    score: float = float("-inf")
    plausibility: float = 0.0
    calls: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    trace: list[tuple[int, float]] = field(default_factory=list)

    def see(self, u: Tensor, score: Tensor) -> None:
        """Take note of one round."""
        self.calls += len(score)
        row = int(score.argmax())
        if float(score[row]) > self.score:
            self.score = float(score[row])
            self.plausibility = float(radial_plausibility(u[row : row + 1].detach()))
            self.trace.append((self.calls, self.score))


def pulse(objective: Objective, u: Tensor, *, steps: int = 100, rate: float = 0.4) -> Iterator[tuple[Tensor, Tensor]]:
    """Adam, then back to the sphere of the first draw's norm; the rate rises and falls as `linear1cycledrop`.

    Menon et al., PULSE, CVPR 2020, https://arxiv.org/abs/2003.03808, and the defaults of its code.
    """
    u = u.clone().requires_grad_()
    radius = u.detach().norm(dim=1, keepdim=True)
    adam = torch.optim.Adam([u], lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: one_cycle(step, steps))
    for _ in range(steps):
        adam.zero_grad()
        score = objective(u)
        yield u, score.detach()
        (-score).sum().backward()
        adam.step()
        schedule.step()
        with torch.no_grad():
            u.mul_(radius / u.norm(dim=1, keepdim=True))


def one_cycle(step: int, steps: int) -> float:
    """Rise from 0.1 to 1 at 45 % of the steps, fall to 0.1 at 90 %, then to 0.001."""
    if step < 0.9 * steps:
        return 0.1 + 0.9 * (1 - abs(2 * step / (0.9 * steps) - 1))
    return 0.1 + (step / steps - 0.9) / 0.1 * (0.001 - 0.1)


def reno(
    objective: Objective,
    u: Tensor,
    *,
    steps: int = 50,
    rate: float = 5.0,
    clip: float = 0.1,
    weight: float = 0.01,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Nesterov descent on minus the score minus the log density of the norm, gradients clipped.

    Eyring et al., ReNO, NeurIPS 2024, https://arxiv.org/abs/2406.04312, and the defaults of its code.
    """
    u = u.clone().requires_grad_()
    sgd = torch.optim.SGD([u], lr=rate, momentum=0.9, nesterov=True)
    for step in range(steps):
        sgd.zero_grad()
        score = objective(u)
        yield u, score.detach()
        if step == steps - 1:
            return
        norm = u.norm(dim=1)
        prior = norm.square() / 2 - (u.shape[1] - 1) * norm.log()
        (weight * prior - score).sum().backward()
        assert u.grad is not None
        u.grad.mul_((clip / (u.grad.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1.0))
        sgd.step()


def reno_scaled(objective: Objective, u: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """ReNO with its rate scaled to the space: the longest step is the share of the norm that it is in the paper."""
    return reno(objective, u, rate=5.0 * (u.shape[1] / 16_384) ** 0.5)


PEERS: dict[str, tuple[Callable[[Objective, Tensor], Iterator[tuple[Tensor, Tensor]]], int]] = {
    "PULSE": (pulse, 100),
    "ReNO": (reno, 50),
    "ReNO, scaled": (reno_scaled, 50),
}
"""Each peer, and the steps of one of its chains."""


def run_peer(name: str, objective: Objective, dim: int, calls: int, seed: int) -> Best:
    """Run `calls / steps` chains of a peer from prior draws."""
    rule, steps = PEERS[name]
    wall, cpu = time.perf_counter(), time.process_time()
    best = Best()
    for u, score in rule(objective, torch.randn(calls // steps, dim, generator=stream(seed, "peer", name))):
        best.see(u, score)
    best.seconds, best.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    return best
