"""Surrogate: what it believes is the posterior of its kernel, and it finds maxima that are known from few scores."""

from __future__ import annotations

import math

import pytest
import torch

from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.kit.process import WIDEST, Process, flattened
from zmax.search import Surrogate
from zmax.search.surrogate.kernel import Field
from zmax.testing import drive, linear_gaussian, quadratic_score
from zmax.testing.strategy_suite import exact_problem


def points(n, m, seed=0):
    return torch.randn(n, m, generator=stream(seed, "points")).double()


@pytest.mark.parametrize("m", [3, 20])
def test_distance_to_a_target_is_known_everywhere_from_m_plus_two_values(m):
    """-|x - t|^2 has m + 2 unknowns, all of them in the kernel's first term; elsewhere the order it gives is right."""
    target, x, far = points(1, m, 1), points(m + 10, m), 3 * points(50, m, 2)
    process = Process.blank().told(x, -(x - target).square().sum(1))
    mean, _ = process.predict(process.features(far))
    truth = -(far - target).square().sum(1)
    assert float(torch.corrcoef(torch.stack([mean, truth]))[0, 1]) > 0.999


def test_mean_and_deviation_are_those_of_the_joint_normal_law():
    x, y, far = points(30, 4), points(30, 1, 3)[:, 0], points(5, 4, 4)
    process = Process.blank().told(x, y)
    everything = process.features(torch.cat([x, far]))
    q = everything.square().sum(1) - 1
    stationary = torch.exp(-torch.cdist(everything, everything).square() / (2 * process.length**2))
    k = process.linear * (1 + everything @ everything.T + torch.outer(q, q)) + (1 - process.linear) * stationary
    known = k[:30, :30] + process.noise * torch.eye(30).double()
    mean = k[30:, :30] @ torch.linalg.solve(known, (y - y.mean()) / y.std(correction=0))
    cov = process.variance * (k[30:, 30:] - k[30:, :30] @ torch.linalg.solve(known, k[:30, 30:]))
    got = process.predict(process.features(far))
    assert torch.allclose(got[0], mean, atol=1e-6)
    assert torch.allclose(got[1], cov.diagonal().sqrt(), atol=1e-6)


def test_cotangents_are_the_slopes_of_the_bound_and_of_its_wall():
    x = points(20, 6)
    process = Process.blank().told(x, torch.sin(x).sum(1))
    beta, reach = torch.tensor([-1.0, 0.0, 2.0, 1.0]).double(), torch.tensor([0.1, math.inf, 0.5, 9.0]).double()
    model = Field(process, beta, process.x[:4], reach)
    at = points(4, 6, 5)
    way, h = points(4, 6, 6), 1e-5
    numeric = (model.value(at + h * way) - model.value(at - h * way)) / (2 * h)
    assert torch.allclose((model(at) * way).sum(1), numeric, rtol=1e-4, atol=1e-6)
    assert torch.allclose(model[1:3](at[1:3]), model(at)[1:3])


def test_a_sketch_keeps_distances_and_small_samples_are_left_alone():
    small, large = points(3, 48).reshape(3, 3, 4, 4), points(40, 30_000)
    assert torch.equal(flattened(small), small.flatten(1))
    sketch = flattened(large)
    ratio = (torch.pdist(sketch) / torch.pdist(large)).square()
    assert sketch.shape == (40, WIDEST)
    assert abs(float(ratio.mean()) - 1) < 0.01
    assert float(ratio.std()) < 2 * (2 / WIDEST) ** 0.5


@pytest.mark.parametrize("seed", range(3))
def test_a_quadratic_is_maximised_on_the_shell_within_200_scores(seed):
    """The maximum over the shell's radii is known in closed form; random draws stay far below."""
    d = 12
    law, score = exact_problem(d, seed)
    tilt = law.tilt(score)
    radii = [r * d**0.5 for r in torch.linspace(0.85, 1.15, 31).tolist()]
    plausible = [r for r in radii if float(law.generator().space.plausibility(torch.full((1, d), r / d**0.5))) >= 0.5]
    tops = torch.stack([tilt.argmax_on_shell(r) for r in plausible])
    top = float(score(law.generator().decode(tops)).detach().max())
    trace = drive(Surrogate(steps=10), law.generator(), score, rounds=1 + 21 * 12, seed=seed)
    assert sum(len(e.score) for e in trace.evaluations) <= 200
    drawn = float(trace.evaluations[0].score.max())
    assert top - trace.best < 0.01 * (top - drawn)


def test_climbing_costs_no_scores_and_every_point_scored_is_plausible():
    law, score = exact_problem(12)
    trace = drive(Surrogate(batch=4, first=10, steps=5), law.generator(), score, rounds=29)
    for proposal, evaluation in zip(trace.proposals, trace.evaluations, strict=True):
        assert len(evaluation.score) == len(proposal) * proposal.want.calls
        assert float(law.generator().space.plausibility(proposal.u).min()) > 0.05
    assert [len(e.score) for e in trace.evaluations if len(e.score)] == [10, 4, 4, 4, 4]


def test_two_scores_are_enough_to_climb_from():
    law, score = linear_gaussian(torch.eye(4)), quadratic_score(torch.eye(4), torch.ones(4))
    trace = drive(Surrogate(batch=4, first=2, steps=2), law.generator(), score, rounds=2)
    assert [p.want.calls for p in trace.proposals] == [1, 0]


def test_the_memory_keeps_the_best_and_the_latest():
    law, score = linear_gaussian(torch.eye(4)), quadratic_score(torch.eye(4), torch.ones(4))
    trace = drive(Surrogate(batch=4, first=30, steps=2, memory=16), law.generator(), score, rounds=31)
    latents = [p.u for p in trace.proposals if p.want.calls]
    scores = torch.cat([e.score for e in trace.evaluations])
    assert len(trace.state.y) == 16
    assert torch.equal(trace.state.u[-8:], torch.cat(latents)[-8:])
    assert float(trace.state.y.max()) == float(scores.max())


def test_no_point_is_scored_twice():
    """A chain that has nowhere to go is scored beside the point it started from."""
    law = linear_gaussian(torch.eye(5))
    flat = quadratic_score(torch.zeros(5, 5), torch.zeros(5))
    trace = drive(Surrogate(batch=4, first=8, steps=3), law.generator(), flat, rounds=16)
    u = torch.cat([p.u for p in trace.proposals if p.want.calls])
    assert len(u.unique(dim=0)) == len(u)


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"first": 1}, {"steps": 0}, {"radius": 0.0}, {"memory": 1}])
def test_arguments_are_checked(wrong):
    with pytest.raises(InputError):
        Surrogate(**wrong)
