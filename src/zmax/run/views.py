"""What the points of a proposal show, what is made of it, and whether gradients flow where nobody said so.

No other file tells kinds of proposals apart.

Pure functions: :mod:`zmax.run.evaluator`, which charges them and isolates what fails, is the only one to call them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from zmax.core.defaults import theirs
from zmax.core.errors import ProposalError
from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.proposal import Latents, PathPoints, Proposal, Pullback, Pushforward, Unscored, Value
from zmax.core.rng import stream
from zmax.core.samples import Samples, describe, spare
from zmax.core.score import Score
from zmax.core.space import Space
from zmax.generators.diffusion.steps import ddim_step


@dataclass(frozen=True)
class View:
    """What some points show.

    Attributes:
        point: the points, a leaf where the graph from them was wanted.
        shown: G(u), x, or E[x_0 | x_t] in the network's scale: what a method is told, and products are taken of.
        seen: the same, but denoised further where that was wanted.
        finish: turns what is seen into samples.
        t: the time of each row, None where it lies on no path.
    """

    point: Samples
    shown: Samples
    seen: Samples
    finish: Callable[[Tensor], Samples] | None = None
    t: Float[Tensor, " n"] | None = None


def view(generator: Generator, proposal: Proposal, own: Callable[[Samples], Samples]) -> View:
    """Look at the points, with a graph from them if what is wanted takes one; `own` keeps hold of what is decoded.

    Raises:
        ProposalError: the points lie on a path, and the generator has none.
    """
    at, through = proposal.at, proposal.want.through
    twice = isinstance(proposal.want, Pushforward)  # fused attention has no second derivative
    with torch.set_grad_enabled(through), sdpa_kernel(SDPBackend.MATH) if twice else nullcontext():
        if isinstance(at, PathPoints):
            return _along(generator, at, through)
        if isinstance(at, Latents):
            u = at.u.detach().clone().requires_grad_(through)  # a decoder may work in place
            made = own(decoded(generator, u))
            return View(u, made, made)
        x = _leaf(at.x) if through else spare(at.x)
        return View(x, x, x)


def decoded(generator: Generator, u: Float[Tensor, "n dim"]) -> Samples:
    """Return the samples of latents."""
    z = generator.space.latents(u)
    with theirs():
        return generator.decode(z)


def presented(seen: View, proposal: Proposal) -> tuple[Samples, Tensor | None, Float[Tensor, " nm"] | None]:
    """Return the samples that S is to see, m blurred ones a row after another; what to differentiate by; the times."""
    want, x = proposal.want, seen.seen
    assert isinstance(want, Value), "only values are judged"
    wrt = _tensor(seen.point) if want.grad == "point" else None
    if want.grad == "sample":
        x = wrt = _leaf(x)
    with torch.set_grad_enabled(want.grad != ""):
        if want.blur is not None:
            base = _tensor(x)
            x = (base[:, None] + want.blur.to(base)).flatten(0, 1)
        samples = x if seen.finish is None else seen.finish(_tensor(x))
    t = seen.t if seen.t is None or want.blur is None else seen.t.repeat_interleave(want.calls)
    return samples, wrt, t


def pooled(values: Float[Tensor, " nm"], proposal: Proposal) -> Float[Tensor, " n"]:
    r"""Return one value a row: :math:`T \ln \frac1m \sum_j e^{S_j / T}` over its blurred samples."""
    want = proposal.want
    if not isinstance(want, Value) or want.blur is None:
        return values
    each = values.reshape(len(proposal), -1)
    pool: Tensor = torch.logsumexp(each / want.temperature, 1) - torch.tensor(float(each.shape[1])).log()
    return want.temperature * pool


def priced(values: Float[Tensor, " nm"], fine: Float[Tensor, " nm"], proposal: Proposal) -> Float[Tensor, " n"]:
    """Return what a row's value falls by where each of its blurred samples pays a fine."""
    fine = fine.to(values)
    return fine if proposal.want.calls == 1 else pooled(values, proposal) - pooled(values - fine, proposal)


def product(seen: View, proposal: Proposal) -> Tensor | None:
    """Return the product that is wanted with the Jacobian of what is shown; None where none is.

    A pushforward pulls back twice: c -> J^T c is linear, and its transpose applied to v is J v. That works wherever a
    backward pass does, which forward mode does not.

    Raises:
        ProposalError: what is shown is no tensor, or cotangents have another shape.
    """
    want = proposal.want
    if isinstance(want, Unscored):
        return None
    shown, point = _tensor(seen.shown), _tensor(seen.point)
    with torch.enable_grad():
        if isinstance(want, Pullback):
            given = want.cotangent if isinstance(want.cotangent, Tensor) else want.cotangent(shown.detach())
            if shown.shape != given.shape:
                expected = f"the shape of the samples: {describe(shown)}"
                raise ProposalError("cotangents to pull back", expected=expected, got=tuple(given.shape))
            return torch.autograd.grad(shown, point, given.to(shown))[0]
        assert isinstance(want, Pushforward), "values are judged"
        dummy = torch.zeros_like(shown, requires_grad=True)
        (pulled,) = torch.autograd.grad(shown, point, dummy, create_graph=True)
        return torch.autograd.grad(pulled, dummy, want.tangent.to(pulled))[0]


def failed(proposal: Proposal) -> tuple[Samples, Tensor | None]:
    """Return what rows that failed show, and their gradient or product: nothing, and 0."""
    at, want, n = proposal.at, proposal.want, len(proposal)
    shown: Samples = torch.full_like(at.x, float("nan")) if isinstance(at, PathPoints) else [None] * n
    if not want.grads and not want.through:
        return shown, None
    return shown, torch.zeros_like(_tensor(at.points), dtype=torch.float32, device="cpu")


def _tensor(samples: Samples) -> Tensor:
    """Return samples that are to be differentiated or blurred.

    Raises:
        ProposalError: they are no tensor.
    """
    if not isinstance(samples, Tensor):
        raise ProposalError("samples to differentiate or blur", expected="a tensor", got=describe(samples))
    return samples


def _leaf(samples: Samples) -> Tensor:
    return _tensor(samples).detach().clone().requires_grad_()


def _along(generator: Generator, at: PathPoints, through: bool) -> View:
    """Denoise points on the path; those without noise are the data, which no network need tell."""
    if not isinstance(generator, DiffusionGenerator):
        raise ProposalError(f"{generator.name!r} has no path to look along", expected="a diffusion or flow model")
    x = at.x.detach().clone().requires_grad_(through)
    data = bool((generator.schedule.sigma(at.t) == 0).all())
    x_0 = _like_weights(generator, x) if data else generator.denoise(x, at.t.to(x))
    t = torch.zeros_like(at.t) if at.u is not None else at.t / (at.ahead + 1)
    return View(x, x_0, _sharpened(generator, x, x_0, at), generator.finish, t)


def _like_weights(generator: Generator, x: Tensor) -> Tensor:
    weights = (weight for network in generator.networks for weight in network.parameters())
    like = next((weight for weight in weights if weight.is_floating_point()), x)
    return x.to(like.device, like.dtype)


def _sharpened(generator: DiffusionGenerator, x: Tensor, x_0: Tensor, at: PathPoints) -> Tensor:
    """Walk on from x_t without fresh noise, in equal steps of time, and return where E[x_0 | x] then lies."""
    t = at.t.to(x_0.device)
    for step in range(at.ahead):
        s = t * (at.ahead - step) / (at.ahead - step + 1)
        x = ddim_step(x.to(x_0), x_0, generator.schedule, t, s)
        x_0, t = generator.denoise(x, s.to(x.dtype)), s
    return x_0


PROBED = 2
"""Samples that a score is probed on."""

DRAWS = 4
"""Prior draws that a decoder is probed at, at most."""


def decoder_flows(generator: Generator, charge: Callable[[int], None]) -> bool:
    """Say whether samples have a finite gradient by latents that is not zero at one of a few prior draws.

    A draw at which it is zero, or not finite, or that fails, is a bad spot that another one may not hit.
    """
    for u in generator.space.sample(DRAWS, stream(0, "differentiable")).split(1):
        charge(1)
        grad = _slope(generator, u.requires_grad_())
        if grad is not None and grad.isfinite().all() and grad.any():
            return True
    return False


def settle_score(score: Score, samples: Samples) -> bool:
    """Find out whether gradient methods can use a score, by one call on a few samples; kept in `differentiable`.

    Every term of a combined score must pass, since a term that autograd cannot follow would be left out of the
    gradient without a word. A score that declares itself a black box is not called.

    Example:
        >>> from zmax.scores import score
        >>> x = torch.rand(2, 3)
        >>> [settle_score(score(f), x) for f in (lambda x: x.sum(1), lambda x: x.round().sum(1))]
        [True, False]
    """
    if score.terms:
        flows = [settle_score(term, samples) for term in score.terms]  # every term, so that each is settled
        found = all(flows)
    else:
        found = score.differentiable is not False and _score_flows(score, samples)
    score.differentiable = found
    return found


def settle_latents(score: Score, space: Space) -> None:
    """Find out whether gradients flow through what constraints judge of latents, where nobody said so."""
    judges = [constraint.judge for constraint in score.constraints if constraint.judge.latents]
    for judge in judges:
        if isinstance(judge, Score) and judge.differentiable is None:
            u = space.sample(PROBED, stream(0, "differentiable", "latents")).requires_grad_()
            judge.differentiable = _reaches(judge, space, u)
    if any(isinstance(judge, Score) and not judge.differentiable for judge in judges):
        score.differentiable = False


def _reaches(judge: Score, space: Space, u: Tensor) -> bool:
    try:
        with torch.enable_grad():
            values = judge(space.latents(u))  # type: ignore[arg-type]
            (gradient,) = torch.autograd.grad(values.sum(), u, allow_unused=True)
    except Exception:  # noqa: BLE001 - a function that refuses tensors with a graph is not differentiable
        return False
    return gradient is not None and bool(gradient.isfinite().all() and gradient.any())


def _score_flows(score: Score, samples: Samples) -> bool:
    """Say whether a finite gradient reaches the samples; where nothing was declared, one of zeros counts as none."""
    if not isinstance(samples, Tensor) or not samples.is_floating_point() or not len(samples):
        return False
    return any(_flows_at(score, samples[i : i + 1]) for i in range(min(PROBED, len(samples))))


def _flows_at(score: Score, sample: Tensor) -> bool:
    x = sample.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            with theirs():
                values = score(x.clone())  # a score may work in place
            if not values.requires_grad:
                return False
            (gradient,) = torch.autograd.grad(values[torch.isfinite(values)].sum(), x, allow_unused=True)
    except Exception:  # noqa: BLE001 - a function that refuses tensors with a graph is not differentiable
        return False
    if gradient is None or not bool(torch.isfinite(gradient).all()):
        return False
    return score.differentiable is not None or bool((gradient != 0).any())


def _slope(generator: Generator, u: Tensor) -> Tensor | None:
    """Return the gradient of a random projection of the sample with respect to u, None where there is none."""
    try:
        with torch.enable_grad():
            samples = decoded(generator, u)
            if not isinstance(samples, Tensor) or not samples.requires_grad:
                return None
            rng = stream(0, "differentiable", "projection")
            weight = torch.randn(samples.shape, generator=rng, device="cpu", dtype=torch.float32)
            return torch.autograd.grad((samples * weight.to(samples)).sum(), u, allow_unused=True)[0]
    except Exception:  # noqa: BLE001 - a decoder that refuses graph tensors is not differentiable
        return None
