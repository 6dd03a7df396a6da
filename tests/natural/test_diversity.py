"""Diversity and distance of sets of samples: closed forms, limits, invariances."""

from __future__ import annotations

import math

import pytest
import torch

from zmax.core.errors import CapabilityError, InputError
from zmax.core.rng import stream
from zmax.natural.diversity import features, frechet, median_distance, pairwise_distance, precision_recall, vendi

X = torch.randn(60, 4, generator=stream(0, "x"))
Y = torch.randn(60, 4, generator=stream(0, "y")) * 2 + 1


def rotated(x):
    """The same points elsewhere: turned, then moved."""
    turn, _ = torch.linalg.qr(torch.randn(4, 4, generator=stream(1, "turn")))
    return x @ turn + 3


def test_features_of_small_images_are_their_pixels():
    x = torch.rand(3, 2, 16, 5, generator=stream(0))
    assert torch.equal(features(x), x.flatten(1))


def test_features_of_large_images_are_means_over_areas():
    x = torch.rand(3, 2, 64, 32, generator=stream(0))
    areas = x.reshape(3, 2, 16, 4, 16, 2).mean((3, 5))
    torch.testing.assert_close(features(x), areas.flatten(1))


def test_features_of_other_tensors_are_their_values():
    x = torch.rand(3, 40, 50, generator=stream(0))
    assert torch.equal(features(x), x.flatten(1))
    assert features(torch.arange(3)).tolist() == [[0.0], [1.0], [2.0]]


@pytest.mark.parametrize("samples", [["CCO", "C"], torch.zeros(3, dtype=torch.complex64)])
def test_what_is_no_number_has_no_features(samples):
    with pytest.raises(CapabilityError, match="images or vectors"):
        features(samples)


def test_distances_of_the_corners_of_a_simplex():
    corners = torch.eye(7)
    assert pairwise_distance(corners) == pytest.approx(math.sqrt(2))
    assert median_distance(corners) == pytest.approx(math.sqrt(2))


def test_the_median_distance_is_not_moved_by_one_outlier():
    line = torch.tensor([0.0, 1.0, 3.0, 1000.0])[:, None]  # distances 1, 2, 3, 997, 999, 1000
    assert median_distance(line[:3]) == 2
    assert median_distance(line) == 3


def test_the_mean_distance_is_that_of_normal_draws():
    """|x - y| is sqrt(2) chi of f degrees: 2 Gamma((f + 1) / 2) / Gamma(f / 2)."""
    x = torch.randn(2000, 6, generator=stream(2))
    assert pairwise_distance(x) == pytest.approx(2 * math.gamma(3.5) / math.gamma(3), rel=0.01)


def test_vendi_of_equal_samples_is_one():
    assert vendi(torch.ones(50, 3), 0.5) == pytest.approx(1.0)


@pytest.mark.parametrize("m", [1, 3, 20])
def test_vendi_counts_clusters_that_are_far_apart(m):
    clusters = 100 * torch.eye(m).repeat_interleave(4, 0)
    assert vendi(clusters, 1.0) == pytest.approx(m)


def test_vendi_weighs_clusters_by_their_shares():
    x = torch.tensor([0.0, 0.0, 0.0, 100.0])[:, None]
    assert vendi(x, 1.0) == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))


def test_vendi_of_two_samples_is_known_at_any_distance():
    """The eigenvalues are (1 + k) / 2 and (1 - k) / 2 with k = exp(-d^2 / 2 h^2)."""
    k = math.exp(-(3**2) / (2 * 2**2))
    entropy = -sum(p * math.log(p) for p in ((1 + k) / 2, (1 - k) / 2))
    assert vendi(torch.tensor([[0.0], [3.0]]), 2.0) == pytest.approx(math.exp(entropy))


def test_vendi_falls_with_the_bandwidth_from_n_to_one():
    scores = [vendi(X, h) for h in (1e-3, 0.5, 1.0, 2.0, 1e4)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(60)
    assert scores[-1] == pytest.approx(1, abs=1e-3)


def test_vendi_at_one_bandwidth_sees_a_child_that_shrinks():
    h = median_distance(X)
    assert vendi(X / 2, h) < 0.8 * vendi(X, h)
    assert vendi(X / 2, h / 2) == pytest.approx(vendi(X, h))


def test_a_set_recalls_itself():
    assert precision_recall(X, X) == (1.0, 1.0)


def test_sets_apart_share_nothing():
    assert precision_recall(X, X + 100) == (0.0, 0.0)


def test_a_part_of_the_reference_is_precise_and_recalls_its_share():
    reference = torch.cat([X, X + 100])
    assert precision_recall(reference, X) == (1.0, 0.5)
    assert precision_recall(X, reference) == (0.5, 1.0)


def test_balls_reach_to_the_kth_other_member_and_hold_their_rim():
    reference = torch.tensor([0.0, 1.0, 3.0, 7.0])[:, None]  # radii 1, 1, 2, 4 at k = 1
    samples = torch.tensor([-1.0, -1.5, 11.0, 11.5])[:, None]  # radii .5, .5, .5, .5
    assert precision_recall(reference, samples, k=1) == (0.5, 0.0)
    assert precision_recall(samples, reference, k=1) == (0.0, 0.5)


def test_equal_points_are_at_no_distance():
    """Where balls have no extent, nothing less will do; distances by inner products are off by their rounding."""
    twice = (1000 + torch.randn(60, 30, generator=stream(7))).repeat(2, 1)
    assert precision_recall(twice, twice[:60].repeat(3, 1), k=1) == (1.0, 1.0)


def test_draws_of_one_law_recall_each_other_and_less_the_further_they_are_moved():
    one, other = torch.randn(2, 800, 2, generator=stream(3))
    pairs = [precision_recall(one, other + shift) for shift in (0, 1, 2, 4, 8)]
    assert min(pairs[0]) > 0.95
    for shares in zip(*pairs, strict=True):
        assert list(shares) == sorted(shares, reverse=True)
        assert shares[-1] == 0


def test_frechet_of_a_set_from_itself_is_nothing():
    assert frechet(X, X) == pytest.approx(0, abs=1e-6)
    few = torch.randn(5, 40, generator=stream(4))  # covariances without full rank
    assert frechet(few, few) == pytest.approx(0, abs=1e-5)


def test_frechet_of_a_shift_is_its_square():
    assert frechet(X, X + torch.tensor([3.0, 0.0, 4.0, 0.0])) == pytest.approx(25, rel=1e-5)


def test_frechet_of_a_scaling_is_known():
    """Of s x from x, with x of mean 0: (s - 1)^2 tr C."""
    x = X.double() - X.double().mean(0)
    assert frechet(x, 3 * x) == pytest.approx(4 * float(x.T.cov().trace()), rel=1e-6)


def test_frechet_of_covariances_that_do_not_commute():
    """In two dimensions tr sqrt(A B) = sqrt(tr A B + 2 sqrt(det A B))."""
    x, y = torch.randn(2, 50, 2, generator=stream(5), dtype=torch.double)
    x, y = x @ torch.tensor([[2.0, 1.0], [0.0, 0.5]]).double(), y @ torch.tensor([[1.0, 0.0], [-3.0, 1.0]]).double()
    a, b = x.T.cov(), y.T.cov()
    common = ((a @ b).trace() + 2 * (a.det() * b.det()).sqrt()).sqrt()
    expected = (x.mean(0) - y.mean(0)).square().sum() + a.trace() + b.trace() - 2 * common
    assert frechet(x, y) == pytest.approx(float(expected))


MEASURES = {
    "pairwise": lambda x, y: pairwise_distance(torch.cat([x, y])),
    "vendi": lambda x, y: vendi(torch.cat([x, y]), 1.5),
    "precision-recall": precision_recall,
    "frechet": frechet,
}


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_measures_do_not_change_with_order_place_or_turn(measure):
    assert measure(rotated(X), rotated(Y)) == pytest.approx(measure(X, Y), rel=1e-4)
    assert measure(X.flip(0), Y[torch.randperm(60, generator=stream(6))]) == pytest.approx(measure(X, Y), rel=1e-9)


@pytest.mark.parametrize("measure", [precision_recall, frechet])
def test_measures_of_two_sets_swap_with_them(measure):
    there, back = measure(X, Y), measure(Y, X)
    assert back == pytest.approx(there[::-1] if isinstance(there, tuple) else there)


@pytest.mark.parametrize(
    "call",
    [
        lambda: pairwise_distance(X[:1]),
        lambda: median_distance(X[:1]),
        lambda: vendi(X[:0], 1.0),
        lambda: vendi(X, 0.0),
        lambda: precision_recall(X[:5], X),
        lambda: precision_recall(X, X[:5]),
        lambda: precision_recall(X, X, k=0),
        lambda: frechet(X[:1], X),
        lambda: frechet(X, X[:1]),
    ],
)
def test_too_few_samples_are_refused(call):
    with pytest.raises(InputError):
        call()
