"""DAPS: exact where its Gaussian is the law of x_0 given x_t, and near the exact posterior of inverse problems."""

import pytest
import torch

import zmax
from tests.support.paths import Walked
from zmax.guide import DAPS, DPS
from zmax.testing import gaussian_mixture, quadratic_score
from zmax.testing.driver import drive

STEPS, ITERATIONS = 12, 6
EYE = torch.eye(2)
TWO = gaussian_mixture([[-1.5, 0.0], [1.5, 0.5]], [(0.2 * EYE).tolist()] * 2, [0.5, 0.5])


class TestDAPS(Walked):
    rounds = 72

    def make(self):
        return DAPS(rows=5, iterations=2)


class TestDAPSAtATemperature(Walked):
    rounds = 72

    def make(self):
        return DAPS(rows=5, iterations=2, temperature=0.5)


def rounds(steps=STEPS, iterations=ITERATIONS):
    """Of a pass: preview, first samples and Langevin steps a level, then the way back along the path, and the end."""
    return (steps - 1) * (iterations + 2) + steps


def drawn(law, S, n, schedule="edm"):
    method = DAPS(temperature=1.0, rows=n, iterations=ITERATIONS)
    G = law.generator(steps=STEPS, schedule=schedule)
    trace = drive(method, G, S, rounds())
    return G.decode(G.space.latents(method.draws(trace.state).u)), trace


def test_on_normal_data_of_size_one_it_draws_from_the_posterior_of_a_noisy_measurement():
    """x_1 measured as 2 with noise 0.2, x_2 not at all: N((1.923, 0), diag(0.0385, 1))."""
    law, S = (
        gaussian_mixture([[0.0, 0.0]], [EYE.tolist()], [1.0]),
        quadratic_score([[25.0, 0.0], [0.0, 0.0]], [50.0, 0.0]),
    )
    exact, n = law.tilt(S), 1500
    x, _ = drawn(law, S, n)
    assert bool(((x.double().mean(0) - exact.mean).abs() < 4 * (exact.cov.diagonal() / n).sqrt() + 0.01).all())
    torch.testing.assert_close(x.double().T.cov(), exact.cov, rtol=0.2, atol=0.03)


def test_it_finds_the_shares_of_modes_that_a_measurement_leaves_where_guidance_does_not():
    """Three modes, the second coordinate measured: its mean and covariance tell the shares of modes."""
    means, covs = [[-1.5, 0.0], [1.5, 0.5], [0.0, -2.0]], [(0.1 * EYE).tolist()] * 3
    law, S, n = (
        gaussian_mixture(means, covs, [0.4, 0.4, 0.2]),
        quadratic_score([[0.0, 0.0], [0.0, 12.0]], [0.0, 3.0]),
        1000,
    )
    exact = law.tilt(S)
    x, _ = drawn(law, S, n, "rectified-flow")
    dps = DPS(temperature=1.0, rows=n)
    G = law.generator(steps=STEPS, schedule="rectified-flow")
    guided = G.decode(G.space.latents(dps.draws(drive(dps, G, S, STEPS).state).u))
    right, biased = ((each.double().mean(0) - exact.mean)[0].abs() for each in (x, guided))
    assert float(right) < 4 * float(exact.cov[0, 0] / n) ** 0.5 + 0.05 < float(biased)
    torch.testing.assert_close(x.double().T.cov(), exact.cov, rtol=0.1, atol=0.06)


def test_its_ends_decode_from_their_noises_and_are_plausible():
    _, trace = drawn(TWO, quadratic_score(EYE, [1.0, 0.5]), 64, "vp-linear")
    end, G = trace.evaluations[-1], TWO.generator(steps=STEPS, schedule="vp-linear")
    back = G.decode(G.space.latents(trace.proposals[-1].u))
    torch.testing.assert_close(back, end.samples, rtol=0, atol=1e-4)
    assert float(end.plausibility.median()) > 0.1


def test_langevin_steps_take_no_network_and_a_pass_two_evaluations_a_step():
    law, n = gaussian_mixture([[0.0, 0.0]], [EYE.tolist()], [1.0]), 7
    _, trace = drawn(law, quadratic_score(EYE, [1.0, 0.5]), n)
    assert trace.ledger.nfe == n * (2 * (STEPS - 1) + 1)
    assert trace.ledger.score_grads == n * (STEPS - 1) * (ITERATIONS + 1)


def test_without_a_temperature_it_begins_at_a_tenth_of_the_spread_of_scores_and_halves_it():
    law, S = gaussian_mixture([[0.0, 0.0]], [EYE.tolist()], [1.0]), quadratic_score(EYE, [1.0, 0.5])
    method, G = DAPS(rows=50, iterations=2), law.generator(steps=4)
    first = drive(method, G, S, 2)
    spread = first.state.temperature
    assert spread == pytest.approx(float(first.evaluations[1].score.double().std()) / 10)
    assert drive(method, G, S, rounds(4, 2)).state.temperature == spread / 2
    assert method.draws(first.state) is None


def test_draws_of_guidance_are_said_to_be_approximate_in_the_result_and_on_the_page(tmp_path):
    """Also once they are stored; those of particles are not."""
    G, S = TWO.generator(steps=6), quadratic_score(b=[1.0, 0.5])
    for method, approximate in (("mpgd", True), ("daps", True), ("fk", False)):
        r = zmax.sample(G, S, 1.0, method, budget=1000, out=tmp_path / method, progress=False)
        stored = zmax.load_result(tmp_path / method)
        assert r.approximate == stored.approximate == r.summary()["approximate"] == approximate
        page = stored.report().read_text()
        assert ("The draws are approximate" in page) == approximate
