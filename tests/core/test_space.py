"""Every prior: the stated law, the round trip, plausibility and retraction."""

import math

import pytest
import torch
from scipy import stats

from zmax.core.categorical import Categorical
from zmax.core.empirical import Empirical
from zmax.core.errors import InputError, ShapeError
from zmax.core.priors import Normal, Sphere, TruncatedNormal, Uniform, prior
from zmax.core.space import Block, Space

K, N = 5, 20_000
FACTOR = torch.tensor(
    [[1.0, 0, 0, 0, 0], [0.5, 1, 0, 0, 0], [0, -0.3, 0.7, 0, 0], [0, 0, 0.2, 2, 0], [1, 0, 0, 0, 0.5]],
    dtype=torch.float64,
)
PRIORS = {
    "normal": Normal(),
    "normal-scaled": Normal(2.5),
    "uniform": Uniform(),
    "uniform-0-3": Uniform(0.0, 3.0),
    "truncated": TruncatedNormal(),
    "truncated-0.5": TruncatedNormal(0.5),
    "sphere": Sphere(),
    "sphere-3": Sphere(3.0),
    "empirical": Empirical(torch.arange(5, dtype=torch.float64), FACTOR),
}
MARGINALS = {
    "normal": stats.norm(),
    "normal-scaled": stats.norm(scale=2.5),
    "uniform": stats.uniform(-1, 2),
    "uniform-0-3": stats.uniform(0, 3),
    "truncated": stats.truncnorm(-2, 2),
    "truncated-0.5": stats.truncnorm(-0.5, 0.5),
}


def draws(n=N, k=K, seed=0):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", MARGINALS)
def test_coordinates_have_the_stated_law(name):
    z = PRIORS[name].to_latent(draws())
    for column in z.T:
        assert stats.kstest(column.numpy(), MARGINALS[name].cdf).pvalue > 1e-3
    correlation = torch.corrcoef(z.T) - torch.eye(K)
    assert float(correlation.abs().max()) < 4 / N**0.5


@pytest.mark.parametrize(("name", "radius"), [("sphere", K**0.5), ("sphere-3", 3.0)])
def test_sphere_is_uniform_at_its_radius(name, radius):
    z = PRIORS[name].to_latent(draws())
    torch.testing.assert_close(z.norm(dim=1), torch.full((N,), radius, dtype=torch.float64))
    share = (1 + z[:, 0] / radius) / 2  # Beta((k-1)/2, (k-1)/2) for a uniform direction
    assert stats.kstest(share.numpy(), stats.beta((K - 1) / 2, (K - 1) / 2).cdf).pvalue > 1e-3
    assert float(z.mean(0).abs().max()) < 4 * radius / K**0.5 / N**0.5


def test_empirical_has_the_stated_mean_and_covariance():
    z = PRIORS["empirical"].to_latent(draws())
    cov = FACTOR @ FACTOR.T
    assert bool(((z.mean(0) - torch.arange(5)).abs() < 4 * (cov.diagonal() / N).sqrt()).all())
    error = ((cov.square() + torch.outer(cov.diagonal(), cov.diagonal())) / N).sqrt()
    assert bool(((torch.cov(z.T) - cov).abs() < 4 * error).all())


def test_empirical_fit_recovers_the_law_it_was_fitted_to():
    z = PRIORS["empirical"].to_latent(draws())
    fitted = Empirical.fit(z, shrinkage=0.0)
    torch.testing.assert_close(fitted.mean, z.mean(0))
    torch.testing.assert_close(fitted.factor @ fitted.factor.T, torch.cov(z.T))
    white = fitted.to_white(z)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(K, dtype=torch.float64), atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="at least 2"):
        Empirical.fit(z[:1])


@pytest.mark.parametrize("shrinkage", [0.25, 1.0])
def test_shrinkage_moves_the_covariance_towards_one_of_equal_variances(shrinkage):
    z = PRIORS["empirical"].to_latent(draws(500))
    cov = torch.cov(z.T)
    shrunk = (1 - shrinkage) * cov + shrinkage * cov.diagonal().mean() * torch.eye(K, dtype=torch.float64)
    fitted = Empirical.fit(z, shrinkage=shrinkage)
    torch.testing.assert_close(fitted.factor @ fitted.factor.T, shrunk)


@pytest.mark.parametrize("name", PRIORS)
def test_latents_survive_the_round_trip(name):
    law = PRIORS[name]
    z = law.to_latent(draws(200))
    torch.testing.assert_close(law.to_latent(law.to_white(z)), z, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name, law in PRIORS.items() if law.radial])
def test_whitened_points_survive_the_round_trip(name):
    law, u = PRIORS[name], draws(200)
    torch.testing.assert_close(law.to_white(law.to_latent(u)), u, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", PRIORS)
def test_map_is_differentiable_where_mass_lies(name):
    u = draws(3).requires_grad_()
    assert torch.autograd.gradcheck(PRIORS[name].to_latent, (u,))


@pytest.mark.parametrize("name", ["uniform", "uniform-0-3", "truncated", "truncated-0.5"])
def test_bounded_priors_stay_in_bounds_and_finite_far_out(name):
    law = PRIORS[name]
    low, high = (law.low, law.high) if isinstance(law, Uniform) else (-law.bound, law.bound)
    for dtype in (torch.float32, torch.float64):
        u = torch.tensor([[-60.0, -8.0, 0.0, 8.0, 60.0]], dtype=dtype)
        z = law.to_latent(u)
        assert bool(((z >= low - 1e-5) & (z <= high + 1e-5)).all())
        assert bool(torch.isfinite(law.to_white(z)).all())


SPACES = {name: Space((Block("z", (K,), law),)) for name, law in PRIORS.items()}
SPACES["shell"] = Space.of((12,))
SPACES["two shells"] = Space((Block("a", (3, 4)), Block("b", (20,), TruncatedNormal())))
SPACES["two blocks"] = Space((Block("noise", (2, 3), Normal()), Block("style", (4,), TruncatedNormal())))
SPACES["with a sphere"] = Space((Block("noise", (4,), Normal()), Block("turn", (4,), Sphere())))


@pytest.mark.parametrize("name", SPACES)
def test_space_round_trip_and_shapes(name):
    space = SPACES[name]
    u = draws(20, space.dim)
    z = space.latents(u)
    parts = {space.blocks[0].name: z} if isinstance(z, torch.Tensor) else z
    assert {b.name: (20, *b.shape) for b in space.blocks} == {n: tuple(p.shape) for n, p in parts.items()}
    again = space.latents(space.whiten(z))
    again = {space.blocks[0].name: again} if isinstance(again, torch.Tensor) else again
    for block in parts:
        torch.testing.assert_close(again[block], parts[block], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["normal", "truncated", "empirical", "shell"])
def test_plausibility_of_prior_draws_is_uniform(name):
    p = SPACES[name].plausibility(draws(k=SPACES[name].dim, seed=1))
    assert stats.kstest(p.numpy(), stats.uniform().cdf).pvalue > 1e-3


def test_plausibility_of_several_blocks_is_a_valid_p_value():
    """Bonferroni: P(p <= a) <= a, and at least a - a^2 / 4 for two independent blocks."""
    p = SPACES["two blocks"].plausibility(draws(100_000, 10, seed=2))
    for level in (0.01, 0.05, 0.2):
        share, slack = float((p <= level).double().mean()), 4 * (level / 100_000) ** 0.5
        assert level - level**2 / 4 - slack < share < level + slack


def test_plausibility_sees_one_block_off_its_shell_and_no_norm_on_a_sphere():
    u = draws(50, 8)
    off = u.clone()
    off[:, :4] *= 1000
    assert float(SPACES["with a sphere"].plausibility(off).max()) < 0.05
    turned = u.clone()
    turned[:, 4:] *= 1000
    torch.testing.assert_close(SPACES["with a sphere"].plausibility(turned), SPACES["with a sphere"].plausibility(u))
    assert bool((SPACES["sphere"].plausibility(draws(5)) == 1).all())


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("name", ["shell", "two shells"])
def test_retraction_reaches_the_level_and_is_idempotent(name, level):
    space = SPACES[name]
    for scale in (0.0, 1e-3, 0.3, 1.0, 3.0, 1e3):
        u = scale * draws(200, space.dim)
        there = space.retract(u, level)
        sizes = [block.size for block in space.blocks]
        for part in there.split(sizes, dim=1):
            alone = Space.of((part.shape[1],)).plausibility(part)
            assert float(alone.min()) >= level - 1e-6
        torch.testing.assert_close(space.retract(there, level), there, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9])
def test_a_small_block_is_held_where_it_would_be_suspicious_and_nowhere_else(level):
    """Under N(0, I_k) with k < 10 the density is highest at the origin: only 1 - F(|u|^2) counts."""
    for k in (1, 2, 9):
        space = Space.of((k,))
        for scale in (0.0, 1e-3, 1.0, 30.0):
            u = scale * draws(200, k)
            there, p = space.retract(u, level), space.plausibility(u)
            torch.testing.assert_close(p, torch.tensor(stats.chi2(k).sf(u.square().sum(1).numpy())))
            assert torch.equal(there[p > 0.0511], u[p > 0.0511])
            assert float(space.plausibility(there).min()) > 0.0499
            assert not len(p[p < 0.05]) or float(space.plausibility(there)[p < 0.05].max()) < 0.052
    one = Space.of((3,)).deviation(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 4.0]]))
    assert float(one[0, 0]) == 0 < 2 < float(one[1, 0])


def test_norms_say_nothing_of_a_box_nor_of_what_only_the_largest_decides():
    u = 4 * draws(50, 12)
    box, choice = Space.of((12,), "uniform"), Space((Block("prompt", (), Categorical(12)),))
    for space in (box, choice):
        assert bool((space.plausibility(u) == 1).all())
    assert torch.equal(box.retract(u.clamp(-5, 5)), u.clamp(-5, 5))
    z = box.latents(box.retract(100 * u))
    assert float(z.abs().median()) > 0.999
    assert bool(torch.isfinite(box.whiten(z)).all())
    assert torch.equal(choice.retract(u).argmax(1), u.argmax(1))


def test_a_direction_keeps_a_norm_that_steps_can_be_measured_by():
    for k in (3, 12):
        space = Space.of((k,), "sphere")
        there = space.retract(1e3 * draws(20, k))
        torch.testing.assert_close(space.latents(there), space.latents(draws(20, k)))
        assert 0.7 * k**0.5 < float(there.norm(dim=1).min()) <= float(there.norm(dim=1).max()) < 1.3 * k**0.5


def test_retraction_is_radial_and_leaves_typical_points_alone():
    space = Space.of((12,))
    u = 3 * draws(100, 12)
    there = space.retract(u)
    torch.testing.assert_close(there / there.norm(dim=1, keepdim=True), u / u.norm(dim=1, keepdim=True))
    typical = draws(1000, 12)
    kept = space.plausibility(typical) >= 0.5
    assert torch.equal(space.retract(typical)[kept], typical[kept])


def test_retraction_is_the_nearest_typical_point():
    space, u = Space.of((3,)), 4 * draws(1, 3)
    there = space.retract(u)
    rivals = 2 * draws(200_000, 3, seed=3)
    rivals = rivals[space.plausibility(rivals) >= 0.5]
    assert float((rivals - u).norm(dim=1).min()) >= float((there - u).norm()) - 1e-9


def test_log_prob_is_the_normal_density():
    u = draws(10)
    expected = torch.distributions.Normal(0, 1).log_prob(u).sum(1)
    torch.testing.assert_close(Space.of((K,)).log_prob(u), expected)


def test_sample_is_standard_normal_and_seeded():
    space = Space.of((K,))
    u = space.sample(N, torch.Generator().manual_seed(4))
    assert torch.equal(u, space.sample(N, torch.Generator().manual_seed(4)))
    assert stats.kstest(u.flatten().numpy(), stats.norm().cdf).pvalue > 1e-3


def test_shape_errors_name_both_sides():
    space = SPACES["two blocks"]
    with pytest.raises(ShapeError, match=r"\(n, 10\)(\n.*)*\(3, 9\)"):
        space.latents(torch.zeros(3, 9))
    with pytest.raises(ShapeError, match="style"):
        space.whiten({"noise": torch.zeros(3, 2, 3)})
    with pytest.raises(ShapeError, match=r"noise(.*\n.*)*\(3, 6\)"):
        space.whiten({"noise": torch.zeros(3, 6), "style": torch.zeros(3, 4)})
    with pytest.raises(InputError, match="sphere"):
        prior("cauchy")


def test_names_give_the_default_priors():
    kinds = {"normal": Normal, "uniform": Uniform, "truncated": TruncatedNormal, "sphere": Sphere}
    for name, kind in kinds.items():
        assert prior(name) == kind()
    assert prior(PRIORS["sphere-3"]) is PRIORS["sphere-3"]
    assert math.isclose(Space.of((2, 3), "uniform").dim, 6)


def test_a_block_may_have_no_coordinates_but_a_space_has_some():
    assert Block("z", (0, 3)).size == 0
    with pytest.raises(InputError, match="positive sizes"):
        Space.of((0, 3))
    with pytest.raises(InputError, match="positive whole numbers"):
        Space.of((-1,))


def test_deviation_holds_a_standard_score_for_the_norm_of_each_block():
    """By Wilson and Hilferty that of v with k degrees is ((v / k)^(1/3) - 1 + 2 / (9k)) / sqrt(2 / (9k))."""
    u = draws(6, 32)
    values = SPACES["two shells"].deviation(u)
    for column, part in zip(values.T, u.split([12, 20], dim=1), strict=True):
        k = part.shape[1]
        cube = (part.square().sum(1) / k) ** (1 / 3)
        torch.testing.assert_close(column, (cube - 1 + 2 / (9 * k)) / (2 / (9 * k)) ** 0.5)
    assert SPACES["sphere"].deviation(draws(3)).shape == (3, 0)


def test_one_latent_is_that_of_the_batch_and_shares_nothing_with_it():
    space, u = SPACES["two blocks"], draws(2, 10)
    alone, both = space.latent(u[1]), space.latents(u)
    assert {name: tuple(part.shape) for name, part in alone.items()} == {"noise": (2, 3), "style": (4,)}
    assert all(torch.equal(alone[name], both[name][1]) for name in both)
    single = Space.of((5,)).latent(draws(1)[0])
    assert single.shape == (5,)
