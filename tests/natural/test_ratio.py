"""The log-ratio of two laws: KL in closed form, none between equal laws, exact going on, gradients to samples."""

from __future__ import annotations

import math

import pytest
import torch

from zmax.core.errors import InputError, ShapeError
from zmax.core.rng import stream
from zmax.natural.ratio import LogRatio, fit, kl_estimate


def normal(n, d, name, seed=0):
    return torch.randn(n, d, generator=stream(seed, name))


def patched(n, share, name):
    """Noise of which a share has a bright patch."""
    rng = stream(0, name)
    x = torch.rand(n, 3, 8, 8, generator=rng) / 2
    x[:, :, 2:4, 4:7] += (torch.rand(n, generator=rng) < share)[:, None, None, None] / 2
    return x


GAUSSIANS = [(2, 1.0, 1.0), (4, 1.5, 1.0), (8, 2.0, 1.0), (2, 0.0, 0.6), (8, 0.5, 0.7)]
"""Dimension, shift of the first coordinate, then a scaling of all."""


@pytest.mark.parametrize(("d", "shift", "scale"), GAUSSIANS)
def test_the_kl_of_gaussians_is_known(d, shift, scale):
    child, parent = normal(2000, d, "child"), normal(2000, d, "parent")
    child[:, 0] += shift
    expected = (d * scale**2 + (shift * scale) ** 2 - d) / 2 - d * math.log(scale)
    kl, error = kl_estimate(child * scale, parent, stream(0, "fit"))
    assert kl == pytest.approx(expected, rel=0.25)
    assert 0 < error < 0.1 * expected


@pytest.mark.parametrize("d", [2, 8])
@pytest.mark.parametrize("seed", range(3))
def test_equal_laws_have_no_kl(d, seed):
    kl, error = kl_estimate(normal(1000, d, "child", seed), normal(1000, d, "parent", seed), stream(seed, "fit"))
    assert 0 <= kl < 0.05
    assert error < 0.05


def test_the_best_of_four_is_as_far_from_its_parent_as_it_must_be():
    """KL = log n - (n - 1) / n, whatever the score."""
    draws = normal(8000, 3, "draws").reshape(2000, 4, 3)
    best = draws[torch.arange(2000), draws[:, :, 1].argmax(1)]
    kl, _ = kl_estimate(best, normal(2000, 3, "parent"), stream(0, "fit"))
    assert kl == pytest.approx(math.log(4) - 3 / 4, rel=0.25)


def test_the_kl_of_pictures_is_that_of_what_tells_them_apart():
    """Patches in shares p and q, on noise common to both: the KL of two coins; of 600 it comes out up to .45 high."""
    p, q = 0.9, 0.4
    kl, _ = kl_estimate(patched(600, p, "child"), patched(600, q, "parent"), stream(0, "fit"))
    assert kl == pytest.approx(p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)), rel=0.5)


def test_the_kl_is_that_of_the_child_from_the_parent():
    """Which is not symmetric: of N(0, s^2 I) from N(0, I) it is d (s^2 - 1 - log s^2) / 2."""
    narrow, wide = 0.4 * normal(1000, 4, "narrow"), normal(1000, 4, "wide")
    there, back = kl_estimate(narrow, wide, stream(0))[0], kl_estimate(wide, narrow, stream(0))[0]
    assert there == pytest.approx(2 * (0.16 - 1 - math.log(0.16)), rel=0.25)
    assert back > 1.5 * there  # 6.84 in truth, of which a thousand samples show a part


def test_the_scale_of_the_samples_does_not_matter():
    child, parent = normal(200, 2, "child") + 1, normal(200, 2, "parent")
    one = kl_estimate(child, parent, stream(0))
    other = kl_estimate(1024 * child, 1024 * parent, stream(0))
    assert other == pytest.approx(one, rel=0.02)


def test_sets_of_different_sizes_weigh_the_same():
    kl, _ = kl_estimate(normal(500, 2, "child"), normal(2000, 2, "parent"), stream(0))
    assert kl < 0.05


def test_a_fit_is_a_function_of_its_stream_and_draws_from_no_other():
    child, parent = normal(200, 2, "child") + 1, normal(200, 2, "parent")
    before = torch.get_rng_state()
    one, again, other = (LogRatio(parent) for _ in range(3))
    for ratio, seed in ((one, 0), (again, 0), (other, 1)):
        fit(ratio, child, parent, rng=stream(seed), steps=30)
    assert torch.equal(one(child), again(child))
    assert not torch.equal(one(child), other(child))
    assert torch.equal(torch.get_rng_state(), before)


def test_at_first_the_ratio_is_one():
    for parent in (normal(9, 5, "x"), patched(9, 0.5, "x")):
        ratio = LogRatio(parent)
        assert ratio(parent).tolist() == [0.0] * 9
        assert ratio.loss(parent, parent).item() == pytest.approx(math.log(2))


def test_what_is_held_out_is_the_half_that_is_not_learnt():
    child, parent = normal(40, 2, "child"), normal(60, 2, "parent")
    held, other = fit(LogRatio(parent), child, parent, rng=stream(0), steps=3)
    assert (len(held), len(other)) == (20, 30)
    assert all(any(torch.equal(row, x) for x in child) for row in held)
    assert len(held.unique(dim=0)) == 20


def test_a_fit_leaves_the_least_held_out_loss_balanced():
    child, parent = normal(400, 2, "child") + 0.7, normal(400, 2, "parent")
    ratio = LogRatio(parent)
    held, other = fit(ratio, child, parent, rng=stream(0))
    with torch.no_grad():
        assert ratio.loss(held, other) < math.log(2) - 0.05
        shares = ratio(held).sigmoid().mean() + ratio(other).sigmoid().mean()
    assert shares.item() == pytest.approx(1, abs=1e-4)


def taught(steps, ratio=None, first=0):
    ratio = LogRatio(patched(50, 0.2, "scale")) if ratio is None else ratio
    losses = [ratio.update(patched(16, 0.8, f"c{i}"), patched(16, 0.2, f"p{i}")) for i in range(first, first + steps)]
    return ratio, losses


def test_updates_teach():
    _, losses = taught(40)
    assert losses[0] == pytest.approx(math.log(2))
    assert sum(losses[-5:]) / 5 < 0.9 * math.log(2)


def test_a_saved_ratio_goes_on_bit_for_bit():
    whole, losses = taught(8)
    part, _ = taught(4)
    stored = part.tensors()
    taught(2, part, first=20)  # what was stored does not follow
    back, later = taught(4, LogRatio.of(stored), first=4)
    assert later == losses[4:]
    assert whole.tensors().keys() == back.tensors().keys()
    assert all(torch.equal(value, back.tensors()[name]) for name, value in whole.tensors().items())


def test_an_untaught_ratio_is_saved_too():
    ratio = LogRatio(normal(9, 5, "x"))
    stored = ratio.tensors()
    assert {t.dtype for t in stored.values()} == {torch.float32, torch.long}
    assert torch.equal(LogRatio.of(stored)(normal(3, 5, "y")), ratio(normal(3, 5, "y")))


def test_the_penalty_pulls_samples_towards_the_parent_and_moves_no_weights():
    ratio = LogRatio(normal(500, 2, "parent"))
    for i in range(100):
        ratio.update(normal(64, 2, "child", i) + torch.tensor([2.0, 0.0]), normal(64, 2, "parent", i))
    before = ratio.tensors()
    x = normal(100, 2, "x").requires_grad_()
    ratio(x).mean().backward()
    assert (x.grad[:, 0] > 0).float().mean() > 0.95  # descent on the penalty goes back
    assert all(weight.grad is None for weight in ratio.parameters())
    assert all(torch.equal(value, ratio.tensors()[name]) for name, value in before.items())


def test_the_ratio_of_shifted_gaussians_is_linear():
    """log N(x; s, 1) / N(x; 0, 1) = s x - s^2 / 2."""
    ratio = LogRatio(normal(2000, 1, "parent"))
    fit(ratio, normal(2000, 1, "child") + 1, normal(2000, 1, "parent"), rng=stream(0))
    x = torch.linspace(-1, 2, 7)[:, None]
    torch.testing.assert_close(ratio(x), x[:, 0] - 0.5, atol=0.3, rtol=0)


@pytest.mark.parametrize("shape", [(), (7,), (3, 40), (1, 5, 5), (4, 100, 70)])
def test_each_sample_has_its_own_ratio_in_any_shape(shape):
    x = torch.rand(6, *shape, generator=stream(0))
    ratio = LogRatio(x)
    ratio.update(x + 1, x)
    alone = torch.cat([ratio(x[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(alone, ratio(x), atol=1e-5, rtol=1e-4)
    assert ratio(x).any()


def test_a_coordinate_that_the_parent_never_moves_is_no_infinity():
    parent = torch.cat([normal(200, 1, "parent"), torch.zeros(200, 1)], 1)
    ratio = LogRatio(parent)
    for _ in range(50):
        ratio.update(parent + 0.01, parent)
    assert 0 < ratio(parent + 0.01).mean() < 20


def test_discriminators_of_pictures_are_small():
    assert sum(weight.numel() for weight in LogRatio(patched(2, 0.5, "x")).parameters()) < 20_000


X = normal(8, 2, "x")
BROKEN = torch.where(torch.arange(16).reshape(8, 2) == 3, torch.nan, X)


@pytest.mark.parametrize(
    "call",
    [
        lambda: LogRatio(X[:1]),
        lambda: LogRatio(BROKEN),
        lambda: LogRatio(X).update(X[:0], X),
        lambda: LogRatio(X).update(X, BROKEN),
        lambda: kl_estimate(X[:3], X, stream(0)),
        lambda: kl_estimate(X, X[:3], stream(0)),
        lambda: kl_estimate(BROKEN, X, stream(0)),
        lambda: fit(LogRatio(X), X, X, rng=stream(0), steps=0),
    ],
)
def test_what_cannot_be_told_apart_is_refused(call):
    with pytest.raises(InputError):
        call()


def test_samples_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"\('n', 2\)"):
        LogRatio(X)(normal(8, 3, "x"))
