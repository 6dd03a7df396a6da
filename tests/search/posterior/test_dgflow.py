"""DGflow: on linear-Gaussian problems its law after any number of steps is known."""

from __future__ import annotations

import pytest
import torch

import zmax
from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.search import DGflow
from zmax.testing import linear_gaussian, quadratic_score
from zmax.testing.driver import drive

MIXING = torch.tensor([[0.6, 0.2, 0.0], [0.0, 0.3, -0.4]])
LAW = linear_gaussian(MIXING, [0.2, -0.1])
SHIFT = quadratic_score(b=[0.8, -0.5])
WIDE = {"clip": 100.0}
KL = {"divergence": "KL", **WIDE}


def test_on_data_moved_by_a_vector_the_flow_of_kl_reaches_the_data():
    """The exact logit is linear, so the flow moves every prior draw by W^T b in all: the tilted law's mean."""
    method = DGflow(steps=20, step=0.05, noise=0.0, batch=2048, **KL)
    start = method.init(LAW.generator().space, stream(0, "method")).u
    population = method.draws(drive(method, LAW.generator(), SHIFT, 21).state)
    tilted = LAW.tilt(SHIFT)
    torch.testing.assert_close(population.u, start + tilted.mean.float(), atol=1e-5, rtol=0)
    torch.testing.assert_close(tilted.cov, torch.eye(3).double())
    x = LAW.generator().decode(population.u).detach()
    assert float((x.mean(0) - tilted.sample_mean).abs().max()) < 0.05
    assert float((x.T.cov() - tilted.sample_cov).abs().max()) < 0.05


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_its_law_is_that_of_the_affine_recursion(noise):
    """With S = b^T u - a |u|^2 / 2 a step is u -> (1 - eta a) u + eta b plus noise of variance 2 eta gamma."""
    a, b, eta, steps = 0.7, 1.5, 0.1, 8
    score = quadratic_score(A=a * torch.eye(2), b=[b, 0.0])
    method = DGflow(steps=steps, step=eta, noise=noise, batch=20_000, **KL)
    u = method.draws(drive(method, linear_gaussian(torch.eye(2)).generator(), score, steps + 1).state).u.double()
    mean, variance = 0.0, 1.0
    for _ in range(steps):
        mean, variance = (1 - eta * a) * mean + eta * b, (1 - eta * a) ** 2 * variance + 2 * eta * noise
    assert abs(float(u[:, 0].mean()) - mean) < 0.03
    assert abs(float(u[:, 1].mean())) < 0.03
    assert float((u.var(0) - variance).abs().max()) < 0.03


def test_the_speeds_of_js_and_logd_add_up_to_that_of_kl():
    """s is sigma(d) and sigma(-d): they sum to 1, and by the logit's sign one of them is the faster."""
    moves = {}
    for name in ("KL", "JS", "logD"):
        method = DGflow(divergence=name, noise=0.0, batch=64, **WIDE)
        first = method.init(LAW.generator().space, stream(0, "method")).u
        moves[name] = drive(method, LAW.generator(), SHIFT, 1).state.u - first
    torch.testing.assert_close(moves["JS"] + moves["logD"], moves["KL"], atol=1e-6, rtol=0)
    logit = SHIFT(LAW.generator().decode(first))
    assert torch.equal(moves["JS"].norm(dim=1) > moves["logD"].norm(dim=1), logit > 0)


def test_draws_cost_steps_plus_one_calls_and_are_independent():
    method = DGflow(steps=4, batch=8)
    for rounds, flows in ((4, 0), (5, 1), (9, 1), (10, 2), (25, 5)):
        population = method.draws(drive(method, LAW.generator(), SHIFT, rounds).state)
        assert (0 if population is None else len(population.u)) == 8 * flows
    assert len(population.u.unique(dim=0)) == 40


def test_the_temperature_divides_the_logit():
    def ends(temperature, score):
        method = DGflow(temperature=temperature, divergence="JS", steps=3)
        return method.draws(drive(method, LAW.generator(), score, 4).state).u

    torch.testing.assert_close(ends(0.5, SHIFT), ends(1.0, quadratic_score(b=[1.6, -1.0])), atol=1e-6, rtol=0)


def test_a_steep_logit_moves_a_point_by_the_clip():
    method = DGflow(divergence="KL", clip=0.1, noise=0.0, batch=4)
    first = method.init(LAW.generator().space, stream(0, "method")).u
    moved = drive(method, LAW.generator(), quadratic_score(b=[1e6, 0.0]), 1).state.u
    torch.testing.assert_close((moved - first).norm(dim=1), torch.full((4,), 0.1 * 3**0.5), atol=1e-5, rtol=0)


def test_it_serves_sample_and_maximize():
    """The flow of KL towards data moved by (1, 0) ends there; the best sample seen beats best-of-N."""
    G = zmax.generator(torch.nn.Identity(), shape=(2,), modality="vector")
    logit = zmax.score(lambda x: x[:, 0] - 0.5, differentiable=True, name="logit")
    method = DGflow(divergence="KL", steps=10, step=0.1, noise=0.0, batch=500)
    population = zmax.sample(G, logit, method=method, budget=12_000, batch_size=500).population
    assert len(population.u) == 1000
    assert abs(float(population.u[:, 0].mean()) - 1) < 0.13
    found = zmax.maximize(G, logit, "dgflow", 1300, params={"divergence": "KL", "step": 0.1}).best.score
    assert found > zmax.maximize(G, logit, "random", 1300).best.score


def test_arguments_are_checked():
    for bad in ({"divergence": "chi2"}, {"step": 0.0}, {"steps": 0}, {"noise": -1.0}):
        with pytest.raises(InputError):
            DGflow(**bad)
