"""Reno: the steps are those of torch's SGD on ReNO's loss; the norm's prior has its maximum where the chi law has."""

from __future__ import annotations

import pytest
import torch

from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.core.space import Block, Space
from zmax.search.ascent.reno import PAPER_DIM, Reno, chi_gradient


def pulled(u):
    return 0.05 * (u @ torch.linspace(-1, 2, u.shape[1], dtype=u.dtype) + torch.sin(2 * u).sum(1))


def test_the_steps_are_those_of_nesterov_sgd_on_the_regularised_loss(bench):
    """At 16,384 coordinates the rate is the paper's."""
    method = Reno(batch=2)
    run = bench.climb(method, pulled, dim=PAPER_DIM, calls=2 * 20)
    u = run.path[0].double().clone().requires_grad_()
    sgd = torch.optim.SGD([u], lr=5.0, momentum=0.9, nesterov=True)
    for point in run.path:
        assert torch.allclose(point.double(), u.detach(), rtol=1e-4, atol=1e-4)
        sgd.zero_grad()
        norm = u.norm(dim=1)
        (0.01 * (norm.square() / 2 - (PAPER_DIM - 1) * norm.log()) - pulled(u)).sum().backward()
        u.grad.mul_((0.1 / u.grad.norm(dim=1, keepdim=True)).clamp(max=1.0))
        sgd.step()


def test_the_longest_step_is_the_same_share_of_the_norm_in_every_space(bench):
    shares = []
    for dim in (64, 1024):
        path = bench.climb(Reno(batch=1), lambda u: 100 * u.sum(1), dim=dim, calls=2).path
        shares.append(float((path[1] - path[0]).norm()) / dim**0.5)
    assert shares[0] == pytest.approx(1.9 * 5 * 0.1 / PAPER_DIM**0.5, rel=1e-3)
    assert shares[1] == pytest.approx(shares[0], rel=1e-3)


def test_the_prior_term_is_the_gradient_of_the_chi_density_of_each_block():
    space = Space((Block("a", (5,)), Block("b", (7,))))
    u = space.sample(4, stream(0)).double().requires_grad_()
    density = sum((k - 1) * p.norm(dim=1).log() - p.square().sum(1) / 2 for k, p in ((5, u[:, :5]), (7, u[:, 5:])))
    (wanted,) = torch.autograd.grad(density.sum(), u)
    assert torch.allclose(chi_gradient(space, u.detach()), wanted)


def test_without_a_score_norms_go_to_the_mode_of_the_chi_law(bench):
    method = Reno(batch=3, steps=10_000, weight=0.1, rate=50.0)
    run = bench.climb(method, lambda u: 0 * u.sum(1), dim=40, calls=3 * 300)
    assert torch.allclose(run.path[-1].norm(dim=1), torch.tensor(39.0).sqrt(), rtol=1e-3)


@pytest.mark.parametrize("bad", [{"rate": 0.0}, {"clip": -1.0}, {"weight": 0.0}, {"momentum": 1.0}, {"steps": 0}])
def test_bad_arguments_are_refused_by_name(bad):
    with pytest.raises(InputError, match=f"Reno\\({next(iter(bad))}="):
        Reno(**bad)
