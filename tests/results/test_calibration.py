"""Requested against achieved scores of laws that are known: coverage, range to trust, Label Score, order."""

from __future__ import annotations

import numpy as np
import pytest

from zmax.results.calibration import TRUSTED, Calibration, spearman


def calibration(asked: np.ndarray, achieved: np.ndarray, spread: float = 1.0) -> Calibration:
    return Calibration("S", 0.0, spread, float(asked.min()), float(asked.max()), asked, achieved)


def law(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Requests, and what comes of them: a bent mean, and a spread that grows."""
    asked = rng.uniform(-2, 2, n)
    return asked, asked - 0.1 * asked**2 + (0.1 + 0.1 * np.abs(asked)) * rng.standard_normal(n)


def test_intervals_hold_nine_in_ten_of_new_samples():
    rng, held = np.random.default_rng(0), []
    for _ in range(60):
        one = calibration(*law(rng, 200))
        for s, a in zip(*law(rng, 10), strict=True):
            low, high = one.interval(float(s))
            held.append(low <= a <= high)
    assert 0.87 <= np.mean(held) <= 0.93


def test_intervals_of_another_level_hold_as_many():
    rng, held = np.random.default_rng(1), []
    for _ in range(60):
        one = calibration(*law(rng, 200))
        for s, a in zip(*law(rng, 10), strict=True):
            low, high = one.interval(float(s), 0.5)
            held.append(low <= a <= high)
    assert 0.45 <= np.mean(held) <= 0.56


def test_the_range_to_trust_ends_where_the_mean_leaves_the_diagonal():
    asked = np.linspace(-2, 2, 401)
    achieved = np.minimum(asked, 1.0)
    low, high = calibration(asked, achieved).trusted or (0, 0)
    assert low == -2.0
    assert high == pytest.approx(1.0 + TRUSTED, abs=0.15)


def test_there_is_nothing_to_trust_where_the_median_is_missed():
    asked = np.linspace(-2, 2, 101)
    assert calibration(asked, asked + 1.0).trusted is None


def test_label_score_is_in_deviations_of_the_data_and_unchanged_by_units():
    asked = np.linspace(-2, 2, 101)
    achieved = asked + 0.3
    one, other = calibration(asked, achieved, 1.5), calibration(10 * asked, 10 * achieved, 15.0)
    assert one.label_score == pytest.approx(0.2) == other.label_score
    assert one.rho == pytest.approx(1.0)


def test_deviation_is_that_of_what_comes_at_one_request():
    rng = np.random.default_rng(2)
    asked = rng.uniform(-2, 2, 4000)
    one = calibration(asked, asked + 0.2 * rng.standard_normal(4000))
    assert one.deviation(0.5) == pytest.approx(0.2, abs=0.02)
    assert one.mean(0.5) == pytest.approx(0.5, abs=0.03)


def test_rank_correlation_gives_equal_values_one_rank():
    x, y = np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0])
    assert spearman(x, y) == pytest.approx(0.9486832980505139)
    assert spearman(-x, y) == pytest.approx(-0.9486832980505139)
    assert np.isnan(spearman(np.ones(4), y))
