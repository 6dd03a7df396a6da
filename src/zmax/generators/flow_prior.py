"""A normalising flow as a prior of codes."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.checks import positive, whole
from zmax.core.errors import InputError, MissingExtraError
from zmax.core.fit import Fit, as_codes, doubtful, tested
from zmax.core.global_random import left_as_found
from zmax.core.priors import Prior
from zmax.core.rng import stream

DRAWS = 1024
"""Prior draws whose density a point's is compared with."""

PATIENCE = 15
"""Passes over the codes without a better likelihood of those held out, after which training ends."""


@dataclass(frozen=True, eq=False)
class FlowPrior(Prior):
    r"""The law of z = s f^{-1}(u) + m, f being an invertible network such as those of zuko.

    A flow is one piece where codes are several clusters: between them run bridges of little density. So a point is as
    plausible as its norm in u and its density, compared with prior draws, are.

    Args:
        flow: a module that called with nothing returns a distribution with `log_prob` and a `transform` to N(0, I), as
            zuko's flows do. Its weights are held.
        shift: m.
        scale: s, of each coordinate.
        held_out: how the law fits codes that were held out, None where that was not tested.

    Reference: Durkan, Bekasov, Murray and Papamakarios, *Neural spline flows*, NeurIPS 2019,
    https://arxiv.org/abs/1906.04032; Rozet et al., zuko, https://github.com/probabilists/zuko.
    """

    flow: nn.Module
    shift: Float[Tensor, " k"]
    scale: Float[Tensor, " k"]
    held_out: Fit | None = field(default=None, kw_only=True)
    _known: Float[Tensor, " draws"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for weight in self.flow.parameters():
            weight.requires_grad_(False)
        u = torch.randn(DRAWS, self.size, generator=stream(0, "flow"), device="cpu", dtype=torch.float32)
        with torch.no_grad():
            object.__setattr__(self, "_known", self.log_prob(self.to_latent(u)).sort().values)

    def __repr__(self) -> str:
        """Name the law by its weights."""
        digest = hashlib.blake2b(digest_size=8)
        for part in (self.shift, self.scale, *self.flow.state_dict().values()):
            digest.update(part.detach().cpu().numpy().tobytes())
        return f"FlowPrior({type(self.flow).__name__}, {digest.hexdigest()})"

    @classmethod
    def fit(
        cls,
        codes: Any,
        flow: nn.Module | None = None,
        *,
        held_out: float = 0.2,
        epochs: int = 200,
        rate: float = 1e-3,
        batch: int = 256,
        seed: int = 0,
    ) -> FlowPrior:
        """Train a flow on codes by likelihood, and test it on codes that were held out.

        Training ends when the held-out codes become no likelier, and keeps the weights under which they were likeliest.

        Args:
            codes: (n, k): a tensor, an array or a DataFrame.
            flow: untrained, of k features; None for zuko's neural spline flow of three couplings.
            held_out: share of the codes that are held out.
            epochs: passes over the codes, at most.
            rate: of Adam.
            batch: codes a step.
            seed: of the weights and the order of the codes.

        Raises:
            InputError: the codes are no table of finite numbers, or fewer than two.
            MissingExtraError: zuko is not installed, and no flow is given.
        """
        positive("FlowPrior.fit", rate=rate)
        whole("FlowPrior.fit", epochs=epochs, batch=batch)
        found = as_codes(codes).float()
        if len(found) < 2:
            raise InputError("codes of a flow", expected="at least 2", got=len(found))
        first = copy.deepcopy(flow) if flow is not None else _spline(found.shape[1], seed)

        def trained(some: Tensor) -> FlowPrior:
            return _trained(cls, copy.deepcopy(first), some, epochs, rate, batch, seed)

        law, fit = tested(found, held_out, trained)
        return replace(law, held_out=fit)

    @property
    def size(self) -> int:
        """Number of latents."""
        return len(self.shift)

    @property
    def doubt(self) -> str:
        """What a run says of the law, "" where it fits."""
        return doubtful(self.held_out, "more codes or epochs, or zmax.Mixture.fit(codes)")

    def to_latent(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Run the flow from noise to codes."""
        z = self.flow().transform.inv(u.to(self.shift))
        return (z * self.scale + self.shift).to(u)

    def to_white(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Run the flow from codes to noise."""
        return self.flow().transform((z.to(self.shift) - self.shift) / self.scale).to(z)

    def log_prob(self, z: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
        """Return the log density, in nats."""
        log = self.flow().log_prob((z.to(self.shift) - self.shift) / self.scale)
        return (log - self.scale.log().sum()).to(z)

    def tails(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n 1"]:
        """Return the share of prior draws whose density is at most that of the points."""
        with torch.no_grad():
            below = torch.searchsorted(self._known, self.log_prob(self.to_latent(u)).to(self._known), right=True)
        return (below.double() / DRAWS).clamp_min(1 / DRAWS)[:, None]


def _trained(
    kind: type[FlowPrior], flow: nn.Module, codes: Tensor, epochs: int, rate: float, batch: int, seed: int
) -> FlowPrior:
    """Return the law of a flow that was trained on nine tenths of the codes, by the likelihood of the rest."""
    shift, scale = codes.mean(0), codes.std(0).clamp_min(1e-6)
    rng = stream(seed, "flow prior")
    unit = ((codes - shift) / scale)[torch.randperm(len(codes), generator=rng, device="cpu")]
    judge, learnt = unit[: max(1, len(unit) // 10)], unit[max(1, len(unit) // 10) :]
    descent = torch.optim.Adam(flow.parameters(), lr=rate)
    best, least, waited = copy.deepcopy(flow.state_dict()), float("inf"), 0
    for _ in range(epochs):
        for rows in torch.randperm(len(learnt), generator=rng, device="cpu").split(batch):
            loss = -flow().log_prob(learnt[rows]).mean()
            descent.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
            descent.step()
        with torch.no_grad():
            found = -float(flow().log_prob(judge).mean())
        waited = 0 if found < least else waited + 1
        if found < least:
            best, least = copy.deepcopy(flow.state_dict()), found
        if waited >= PATIENCE:
            break
    flow.load_state_dict(best)
    return kind(flow.eval(), shift, scale)


def _spline(features: int, seed: int) -> nn.Module:
    """Return zuko's neural spline flow, its weights drawn from that seed alone."""
    try:
        from zuko.flows import NSF
    except ImportError as error:
        raise MissingExtraError("zuko", "priors", "a normalising flow as a prior") from error
    with left_as_found():
        torch.manual_seed(seed)  # noqa: TID251 - zuko draws weights from the global random numbers, on purpose
        return NSF(features, transforms=3, hidden_features=(64, 64), passes=min(2, features))
