"""Evolution on the sphere and by zeroth-order gradients: norms, closed-form estimates, sizes, failures."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.priors import shell
from zmax.core.rng import stream
from zmax.core.space import Block, Space
from zmax.search import ES, SPSA, SphereCMA, Trust
from zmax.search.ascent.differences import antithetic_gradient, centred_ranks
from zmax.search.evolution.separable import weighted_square
from zmax.search.evolution.spherecma import turned
from zmax.search.surrogate.trust import standardised


def test_sphere_cma_stays_on_the_sphere_of_every_block(bench):
    space = Space((Block("a", (20,)), Block("b", (3, 8))))
    pull = torch.randn(44, generator=stream(5)).double()
    method = SphereCMA()
    run = bench.climb(method, lambda u: u @ pull, calls=1000, state=method.init(space, stream(0)))
    a, b = torch.cat(run.path).double().split([20, 24], dim=1)
    assert torch.allclose(a.norm(dim=1), torch.tensor(math.sqrt(20)).double(), rtol=1e-5)
    assert torch.allclose(b.norm(dim=1), torch.tensor(math.sqrt(24)).double(), rtol=1e-5)


def test_a_turn_follows_the_great_circle_by_the_angle_of_the_tangent():
    """The angle between m and exp_m(theta t) is theta |t| / sqrt(d), and the three lie in one plane."""
    space, rng = Space.of((30,)), stream(1)
    m = torch.randn(30, generator=rng)
    m = m * math.sqrt(30) / m.norm()
    z = torch.randn(6, 30, generator=rng)
    u = turned(space, m, z, 0.4)
    t = z - torch.outer(z @ m, m) / 30
    cosine = (u @ m / 30).clamp(-1, 1)
    assert torch.allclose(cosine.acos(), 0.4 * t.norm(dim=1) / math.sqrt(30), atol=1e-4)
    for row, tangent in zip(u, t, strict=True):
        assert int(torch.linalg.matrix_rank(torch.stack([row, m, tangent]), rtol=1e-4)) == 2


def test_sphere_cma_angle_falls_by_its_law(bench):
    """In 10,000 dimensions |t| is nearly sqrt(d), so that every draw turns by theta (1 + t / T)^-3/5."""
    method = SphereCMA(angle=0.5, decay=3.0)
    run = bench.climb(method, bench.sphere, dim=10_000, calls=16 * 8)
    for t, u in enumerate(run.path[1:]):
        centre = u[-1]
        angle = (u[:-1] @ centre / 10_000).clamp(-1, 1).acos()
        assert torch.allclose(angle, torch.tensor(0.5 * (1 + t / 3) ** -0.6), rtol=0.04)


def test_all_signs_give_the_gradient_of_a_linear_score_exactly():
    """The mean of e e^T over all 2^d signs is I."""
    slope = torch.randn(5, generator=stream(2)).double()
    e = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=5))).double()
    for width in (0.1, 2.0):
        difference = ((3 + width * e) @ slope) - ((3 - width * e) @ slope)
        assert torch.allclose(antithetic_gradient(e, difference, width), slope)


@pytest.mark.parametrize("signs", [False, True])
def test_estimates_of_a_linear_slope_are_unbiased(signs):
    """Mean over estimates within 4 standard errors of the slope, in every coordinate."""
    slope, n, k = torch.randn(6, generator=stream(3)).double(), 4000, 3
    z = torch.randn(n, k, 6, generator=stream(4)).double()
    z = torch.where(z < 0, -1.0, 1.0).double() if signs else z
    estimates = torch.stack([antithetic_gradient(e, 2 * 0.3 * e @ slope, 0.3) for e in z])
    error = (estimates.mean(0) - slope).abs()
    assert bool((error <= 4 * estimates.std(0) / math.sqrt(n)).all())


def test_centred_ranks_are_even_and_share_ties():
    assert torch.allclose(centred_ranks(torch.tensor([3.0, 1.0, 2.0])), torch.tensor([0.5, -0.5, 0.0]).double())
    tied = centred_ranks(torch.tensor([1.0, 1.0, 0.0, 2.0]))
    assert float(tied[0]) == float(tied[1]) == 0.0
    assert float(centred_ranks(torch.zeros(7)).abs().max()) == 0.0


@pytest.mark.parametrize("method", [ES(pairs=6), SPSA(pairs=6)], ids=["es", "spsa"])
def test_a_pair_of_which_one_failed_does_not_count(bench, method):
    """What the surviving half of the pair scored changes nothing."""
    state = method.init(Space.of((8,)), stream(0))
    ok = torch.ones(len(state.u), dtype=torch.bool)
    ok[2] = False
    score = bench.sphere(state.u.double())
    other = score.clone()
    other[2 + 6] = 1e6
    first, second = (method.tell(state, bench.told(state.u, values, ok=ok)) for values in (score, other))
    assert torch.equal(first.u, second.u)


def test_spsa_does_not_depend_on_the_scale_of_the_score(bench):
    plain = bench.climb(SPSA(), bench.sphere, dim=12, calls=400)
    scaled = bench.climb(SPSA(), lambda u: 1024 * bench.sphere(u), dim=12, calls=400)
    assert all(torch.equal(a, b) for a, b in zip(plain.path, scaled.path, strict=True))


def test_size_is_linear_in_the_dimension(bench):
    """At d = 100,000 the state holds nothing larger than the proposals."""
    method = SphereCMA()
    state = method.init(Space.of((100_000,)), stream(0))
    for _ in range(3):
        state = method.tell(state, bench.evaluate(method, bench.sphere, state.u))
        sizes = [getattr(state, f.name).numel() for f in fields(state) if isinstance(getattr(state, f.name), Tensor)]
        assert max(sizes) == 16 * 100_000


def test_weighted_square_is_the_plain_sum():
    w, z = torch.randn(5, generator=stream(0)), torch.randn(5, 40_000, generator=stream(1))
    assert torch.allclose(weighted_square(w, z), w @ z.square(), atol=1e-5)


def test_failed_rows_have_no_influence(bench):
    method = SphereCMA(population=12)
    state = method.init(Space.of((8,)), stream(0))
    for _ in range(3):
        ok = torch.arange(len(state.u)) % 3 != 1
        evaluation = bench.told(state.u, bench.sphere(state.u.double()), ok=ok)
        spoilt = replace(state, z=torch.where(ok[: len(state.z), None], state.z, float("nan")))
        state, other = method.tell(state, evaluation), method.tell(spoilt, evaluation)
        assert torch.equal(state.u, other.u)


def test_trust_is_blind_to_shift_and_scale(bench):
    """Scores are standardised: a S + b gives the points that S gives, up to rounding."""
    plain = bench.climb(Trust(), bench.sphere, dim=6, calls=80)
    moved = bench.climb(Trust(), lambda u: 1024 * bench.sphere(u), dim=6, calls=80)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(plain.path, moved.path, strict=True))


def test_standardised_scores_are_finite_and_cut_off_below():
    scores = torch.tensor([-1e300, 0.0, 1.0, 2.0, 3.0]).double()
    y = standardised(scores)
    assert bool(torch.isfinite(y).all())
    ordinary = standardised(torch.tensor([-9.0, 0.0, 1.0, 2.0, 3.0]).double())
    assert torch.allclose(y, ordinary), "a wild low score drowns the others"
    assert float(standardised(torch.full((4,), 7.0).double()).abs().max()) == 0.0


def test_trust_finds_the_maximiser_of_a_smooth_score_in_few_calls(bench):
    """-|u - v|^2 / d, in 100 dimensions with v on the shell: within 1 % of the prior's mean loss in 400 calls."""
    v = Space.of((100,)).retract(torch.randn(1, 100, generator=stream(8)))[0].double()
    run = bench.climb(Trust(), lambda u: -(u - v).square().mean(1), dim=100, calls=400)
    assert run.best > -0.02


def test_trust_maximises_a_linear_score_on_the_shell(bench):
    """On the shell, max of b^T u is |b| times the outer radius."""
    b = torch.randn(32, generator=stream(9)).double()
    top = float(b.norm()) * shell(32, 0.5)[1]
    run = bench.climb(Trust(), lambda u: u @ b, dim=32, calls=320)
    assert 0.99 * top <= run.best <= top * (1 + 1e-6)


def test_trust_keeps_no_more_than_it_may(bench):
    method = Trust(population=8, memory=40)
    run = bench.climb(method, bench.sphere, dim=5, calls=400)
    assert len(run.state.score) == len(run.state.points) == len(run.state.gram) <= 40
    gram = run.state.points.double() @ run.state.points.double().T / 5
    assert torch.allclose(run.state.gram, gram)


@pytest.mark.parametrize(
    ("method", "bad"),
    [
        (SphereCMA, {"angle": -1.0}),
        (SphereCMA, {"population": 2}),
        (ES, {"pairs": 0}),
        (ES, {"width": 0.0}),
        (SPSA, {"step": float("nan")}),
        (Trust, {"memory": 3}),
        (Trust, {"spread": -0.1}),
    ],
)
def test_bad_arguments_are_refused_by_name(method, bad):
    with pytest.raises(InputError, match=f"{method.__name__}\\({next(iter(bad))}="):
        method(**bad)
