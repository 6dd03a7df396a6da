"""Guidance: the closed form on a Gaussian, independent rows, honest costs, samples that decode again, any strength."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

import zmax
from tests.support.paths import Walked
from zmax.core.budget import Ledger
from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation
from zmax.guide import DPS, LGDMC, MPGD, TFG, UGD, FreeDoM
from zmax.guide.guidance.tfg import Ladder
from zmax.run.meter import Meter
from zmax.testing import gaussian_mixture, quadratic_score
from zmax.testing.driver import drive, proceed

EYE = torch.eye(2)
SCORE = quadratic_score([[1.0, 0.0], [0.0, 0.5]], [0.8, -0.4])


def law():
    return gaussian_mixture([[-1.5, 0.0], [1.5, 0.5]], [(0.2 * EYE).tolist()] * 2, [0.5, 0.5])


def gaussian(cov, mean=(0.5, -0.3)):
    return gaussian_mixture([list(mean)], [cov], [1.0])


class TestTFG(Walked):
    rounds = 36

    def make(self):
        return TFG(rows=5, mu=0.5, smooth=2)


class TestDPS(Walked):
    def make(self):
        return DPS(rows=5)


class TestFreeDoMAtATemperature(Walked):
    def make(self):
        return FreeDoM(rows=5, temperature=0.5)


def ends(method, G, S, rounds):
    """Decode the draws of a method after some rounds."""
    return G.decode(G.space.latents(drive(method, G, S, rounds).state.ends))


def guided_mean(law, steps, shift=lambda J, c: 0, move=lambda alpha, sigma: 0 * SLOPE):
    """Return the mean of the guided sampler's law, affine in every step, for shifts of noises and moves of previews."""
    path, cov, mean = law.generator(steps=steps, eta=1.0).space.path, law.cov, law.mean
    x, before, last = 0 * mean, 0 * mean, 0 * mean
    for i in range(steps):
        t = path.times[i : i + 1]
        alpha, sigma = float(path.schedule.alpha(t)), float(path.schedule.sigma(t))
        J = alpha * cov @ torch.linalg.inv(alpha**2 * cov + sigma**2 * EYE.double())
        a, b, c = path.factors(i)
        shown, moved, w = mean + J @ (x - alpha * mean), move(alpha, sigma) if i < steps - 1 else 0, path.weights[i]
        x = a * x + b * (shown + moved + w * (shown + moved - before - last)) + c * shift(J, c)
        before, last = shown, moved
    return x


SLOPE, T = torch.tensor([0.6, -0.4], dtype=torch.float64), 0.8
LINEAR = quadratic_score(b=SLOPE.tolist())
WIDE = {"temperature": T, "clip": 9.0}


def through(J, c):
    return c / T * J.T @ SLOPE


def past(alpha, sigma):
    return sigma**2 / (alpha**2 + sigma**2) / T * SLOPE


CLOSED = {
    "dps": (DPS, {}, 1, {"shift": through}),
    "lgdmc": (LGDMC, {"smooth": 3}, 1, {"shift": through}),
    "mpgd": (MPGD, {}, 1, {"move": past}),
    "mpgd in three steps": (MPGD, {"iterations": 3}, 3, {"move": past}),
    "both": (TFG, {"mu": 0.25}, 2, {"shift": lambda *at: 0.75 * through(*at), "move": lambda *at: 0.25 * past(*at)}),
}


@pytest.mark.parametrize("name", CLOSED)
def test_on_a_gaussian_a_linear_score_moves_every_sample_by_the_same_known_vector(name):
    kind, kept, previews, pushed = CLOSED[name]
    p, steps = gaussian([[1.0, 0.3], [0.3, 0.5]]), 20
    G, rounds = p.generator(steps=steps, eta=1.0), previews * (steps - 1) + 1
    guided = ends(kind(rows=8, **WIDE, **kept), G, LINEAR, rounds)
    plain = ends(kind(rows=8, **{**WIDE, "temperature": 1e12}, **kept), G, LINEAR, rounds)
    known = guided_mean(p, steps, **pushed) - guided_mean(p, steps)
    torch.testing.assert_close(guided - plain, known.expand(8, 2), rtol=0, atol=1e-4)


def test_dps_tends_to_the_tilted_law_of_a_gaussian_with_the_first_order_of_the_steps():
    p = gaussian([[1.0, 0.3], [0.3, 0.5]])
    tilted = p.tilt(LINEAR, T)
    errors = [float((guided_mean(p, steps, through) - tilted.mean).norm()) for steps in (40, 80, 160)]
    assert all(1.7 < coarse / fine < 2.3 for coarse, fine in itertools.pairwise(errors))
    n = 2000
    x = ends(DPS(rows=n, **WIDE), p.generator(steps=80, eta=1.0), LINEAR, 80)
    torch.testing.assert_close(x.mean(0), tilted.mean, rtol=0, atol=4 / n**0.5 + errors[1])
    torch.testing.assert_close(x.T.cov(), tilted.cov, rtol=0, atol=0.2)


def test_for_data_of_size_one_leaving_the_network_out_gives_the_tilted_mean_too():
    p = gaussian(EYE.tolist())
    assert float((guided_mean(p, 50, move=past) - p.tilt(LINEAR, T).mean).norm()) < 0.01


KINDS = {
    **{"dps": DPS, "lgdmc": LGDMC, "freedom": FreeDoM, "mpgd": MPGD, "ugd": UGD},
    "tfg": lambda **kw: TFG(mu=0.3, iterations=2, recurrence=2, smooth=2, **kw),
}


def per_pass(method, steps):
    """Return the previews of a row on its way from noise to data."""
    return (steps - 1) * method.recurrence * ((method.mu < 1) + (method.mu > 0) * method.iterations) + 1


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("given", [{"strength": 0.5}, {"temperature": 0.5}], ids=["strength", "temperature"])
def test_rows_do_not_know_of_each_other(name, given):
    """What happens to row 0 (gradients, previews and scores that are not finite) leaves the others bit for bit."""
    G, method = law().generator(steps=6, eta=1.0), KINDS[name](rows=4, **given)

    def spoil(e):
        x_0, ok, score = e.samples.clone(), e.ok.clone(), e.score.clone()
        x_0[0], ok[0], score[0] = math.nan, False, -math.inf
        grad = None if e.grad is None else e.grad * (torch.arange(4) > 0)[:, None]
        return replace(e, samples=x_0, ok=ok, score=score, grad=grad)

    rounds = per_pass(method, 6) + 3
    plain, spoilt = drive(method, G, SCORE, rounds), drive(method, G, SCORE, rounds, spoil=spoil)
    for a, b in zip(plain.proposals, spoilt.proposals, strict=True):
        assert torch.equal(a.at.x[1:], b.at.x[1:])
        assert a.u is None or torch.equal(a.u[1:], b.u[1:])
        assert bool(torch.isfinite(b.at.x[1:]).all())
    end = next(e for p, e in zip(spoilt.proposals, spoilt.evaluations, strict=True) if p.u is not None)
    assert end.ok.tolist() == [False, True, True, True]


def test_a_path_that_broke_fails_at_its_end_although_it_was_walked_on():
    """Decoding its noises would break where it broke, so it has no sample."""
    G, method = law().generator(steps=6, eta=1.0), DPS(rows=3)

    def once(e):
        x_0 = e.samples.clone()
        x_0[1] = math.inf
        return replace(e, samples=x_0)

    first = drive(method, G, SCORE, 1, spoil=once).state
    rest = proceed(method, G, SCORE, first, 5)
    assert rest.proposals[-1].u is not None
    assert rest.evaluations[-1].ok.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("name", "forward", "backward"),
    [("dps", 1, 1), ("lgdmc", 1, 1), ("mpgd", 1, 0), ("freedom", 2, 2), ("ugd", 4, 2), ("tfg", 6, 2)],
)
def test_network_evaluations_a_row_and_step_and_none_unasked(name, forward, backward):
    steps, rows, ledger = 8, 4, Ledger()
    G, method = law().generator(steps=steps, eta=1.0), KINDS[name](rows=rows)
    rounds = per_pass(method, steps)
    with Meter(G.networks, ledger):
        trace = drive(method, G, SCORE, rounds)
    assert trace.proposals[-1].u is not None
    assert ledger.nfe == rows * (forward * (steps - 1) + 1)
    assert ledger.nfe_backward == rows * backward * (steps - 1)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [("dps", "vp-linear"), ("freedom", "vp-linear"), ("mpgd", "rectified-flow"), ("tfg", "rectified-flow")],
)
def test_what_a_run_returns_decodes_again(name, schedule):
    G = law().generator(steps=6, eta=0.0, schedule=schedule)
    r = zmax.maximize(G, SCORE, method=KINDS[name](rows=4), budget=zmax.Budget(nfe=160), seed=0)
    path = G.stochastic()
    back = path.decode({name: z[None] for name, z in r.best.z.items()})[0]
    torch.testing.assert_close(back, r.best.sample, rtol=0, atol=1e-5)
    assert float(SCORE(back[None])) == pytest.approx(r.best.score, abs=1e-5)


@pytest.mark.parametrize("name", ["dps", "mpgd"])
def test_it_beats_best_of_n_at_equal_network_evaluations(name):
    d = 16
    means = torch.zeros(2, d)
    means[0, 0], means[1, 1] = 2.0, 2.0
    p = gaussian_mixture(means, 0.3 * torch.eye(d)[None].repeat(2, 1, 1), [0.5, 0.5])
    G, S = p.generator(steps=6, eta=1.0), quadratic_score(torch.eye(d), torch.ones(d))
    budget = zmax.Budget(nfe=16 * 6 * 4 + 40)
    for seed in range(3):
        guided = zmax.maximize(G, S, method=name, budget=budget, seed=seed)
        plain = zmax.maximize(G, S, method="random", budget=budget, seed=seed)
        assert guided.best.score > plain.best.score + 1
        assert guided.ledger.nfe <= plain.ledger.nfe + 16


@pytest.mark.parametrize("name", KINDS)
def test_any_strength_keeps_the_length_of_every_noise(name):
    """Over six decades of strength and of the score's unit, proposals are finite; the plain noise is as long."""
    G, rounds = law().generator(steps=4, eta=1.0), per_pass(KINDS[name](), 4)
    plain = drive(KINDS[name](rows=4, strength=1e-9), G, SCORE, rounds).proposals[-1].u
    for strength, unit in ((1e-3, 1e6), (1.0, 1.0), (1e3, 1e-6), (1e3, 1e6)):
        S = quadratic_score((unit * EYE).tolist(), [unit, -unit])
        trace = drive(KINDS[name](rows=4, strength=strength), G, S, rounds)
        assert all(bool(torch.isfinite(p.at.x).all()) for p in trace.proposals)
        assert bool(trace.evaluations[-1].ok.all())
        length = trace.proposals[-1].u.reshape(4, 4, 2).norm(dim=2)
        torch.testing.assert_close(length, plain.reshape(4, 4, 2).norm(dim=2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_any_temperature_gives_finite_points(name):
    G, rounds = law().generator(steps=6, eta=1.0), per_pass(KINDS[name](), 6)
    for temperature in (1e-3, 1e3):
        trace = drive(KINDS[name](rows=4, temperature=temperature), G, SCORE, rounds)
        assert all(bool(torch.isfinite(p.at.x).all()) for p in trace.proposals)
        assert bool(trace.evaluations[-1].ok.all())


@pytest.mark.parametrize("name", ["dps", "mpgd"])
def test_at_a_low_temperature_every_noise_is_shifted_by_the_clip(name):
    G, one = law().generator(steps=6, eta=1.0), quadratic_score(b=[1.0, 1.0])
    cold, warm = (
        drive(KINDS[name](rows=4, temperature=heat, clip=0.5), G, one, 6).proposals[-1].u.reshape(4, 6, 2)
        for heat in (1e-6, 1e12)
    )
    length = (cold - warm).norm(dim=2)
    longest, steps = 0.5 * 2**0.5, 5 if name == "dps" else 1  # later moves are extrapolated, and cut to the clip
    assert length[:, 1 : 1 + steps].min() == pytest.approx(longest, rel=1e-3)
    assert length.max() == pytest.approx(longest, rel=1e-3)
    assert float(length[:, 0].max()) == 0


def test_the_unit_of_the_score_plays_no_part_when_maximising():
    G = law().generator(steps=6, eta=1.0)
    runs = [drive(DPS(rows=5), G, quadratic_score((k * EYE).tolist(), [k, -k]), 20) for k in (1.0, 1e4)]
    for a, b in zip(*(run.proposals for run in runs), strict=True):
        torch.testing.assert_close(a.at.x, b.at.x, rtol=1e-3, atol=1e-3)


def test_the_strength_is_the_best_plausible_one_and_then_refined():
    ladder = Ladder()
    tried = ladder.strengths(10)
    assert len(tried.unique()) == 5
    score = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0] * 2)
    plausibility, ok = torch.tensor([0.5, 0.5, 0.5, 0.01, 0.01] * 2), torch.ones(10, dtype=torch.bool)
    end = Evaluation(score, ok, plausibility, range(10))
    told = ladder.told(end)
    assert told.centre == pytest.approx(float(tried[2]))
    assert 1 < told.ratio < ladder.ratio
    assert ladder.told(replace(end, plausibility=0 * plausibility)).centre == pytest.approx(float(tried[4]))
    assert ladder.told(replace(end, ok=~ok)) == ladder
    for _ in range(12):
        told = told.told(end)
    assert len(told.strengths(10).unique()) == 1


def test_draws_are_the_finished_ends_and_failures_weigh_nothing():
    G, method = law().generator(steps=6, eta=1.0), DPS(temperature=1.0, rows=4)
    assert method.draws(drive(method, G, SCORE, 5).state) is None

    def kill(e):
        return replace(e, ok=torch.arange(4) > 0, score=e.score.masked_fill(torch.arange(4) == 0, -math.inf))

    population = method.draws(drive(method, G, SCORE, 12, spoil=kill).state)
    torch.testing.assert_close(population.log_weight.exp(), torch.tensor([0, 1, 1, 1] * 2) / 6.0, check_dtype=False)
    r = zmax.sample(G, SCORE, 1.0, method="dps", budget=200)
    assert len(r.draws) == 16


def test_arguments_are_checked():
    for wrong in ({"mu": 1.5}, {"strength": 0.0}, {"rows": 0}, {"smooth": -1}, {"temperature": 1.0, "strength": 1.0}):
        with pytest.raises(InputError, match=f"TFG.{list(wrong)[-1]}"):
            TFG(**wrong)


def test_a_run_goes_on_bit_for_bit(tmp_path):
    G = law().generator(steps=8, eta=1.0)
    method = {"method": "tfg", "params": {"mu": 0.5, "smooth": 2, "recurrence": 2, "rows": 5}}
    whole = zmax.maximize(G, SCORE, budget=400, seed=3, **method)
    zmax.maximize(G, SCORE, budget=190, seed=3, out=tmp_path / "run", **method)
    rest = zmax.resume(tmp_path / "run", generator=G, score=SCORE, budget=400)
    assert torch.equal(whole.best.u, rest.best.u)
    assert whole.best.score == rest.best.score
