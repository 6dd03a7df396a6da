"""The law of scores as a prior: exact where knots are, a round trip between them, NaN for no request."""

from __future__ import annotations

import math

import pytest
import torch

from zmax.core.errors import ShapeError
from zmax.core.quantiles import BEYOND, KNOTS, Quantiles, places
from zmax.core.rng import stream


@pytest.fixture(scope="module")
def normal() -> Quantiles:
    return Quantiles.fit(3.0 + 2.0 * torch.randn(20_000, 1, generator=stream(0, "normal"), dtype=torch.float64))


def test_a_normal_law_is_a_straight_line(normal):
    u = torch.linspace(-2, 2, 41)[:, None]
    torch.testing.assert_close(normal.to_latent(u), 3 + 2 * u, atol=0.1, rtol=0)


def test_to_latent_and_back_is_the_identity_also_beyond_the_data(normal):
    u = torch.linspace(-BEYOND - 2, BEYOND + 2, 101)[:, None]
    torch.testing.assert_close(normal.to_white(normal.to_latent(u)), u, atol=1e-4, rtol=0)


def test_beyond_the_data_it_goes_on_at_their_spread(normal):
    low, high = normal.to_latent(torch.tensor([[4.0], [5.0]])).flatten().tolist()
    assert high - low == pytest.approx(2.0, rel=0.05)


def test_whitened_data_are_normal_whatever_their_law():
    values = torch.rand(20_000, 1, generator=stream(0, "values")).square()
    u = Quantiles.fit(values).to_white(values)
    assert abs(float(u.mean())) < 0.02
    assert float(u.std()) == pytest.approx(1.0, abs=0.03)


def test_each_column_has_its_own_law():
    values = torch.stack([torch.arange(100.0), -5 * torch.arange(100.0)], 1)
    both = Quantiles.fit(values)
    for j in range(2):
        alone = Quantiles.fit(values[:, j : j + 1])
        assert torch.equal(both.knots[:, j : j + 1], alone.knots)


def test_no_request_stays_none_and_what_is_not_finite_is_left_out():
    values = torch.arange(100.0)[:, None]
    holed = torch.cat([values, torch.tensor([[math.nan], [math.inf]])])
    assert torch.equal(Quantiles.fit(values).knots, Quantiles.fit(holed).knots)
    law = Quantiles.fit(values)
    nothing = torch.tensor([[math.nan]])
    assert bool(law.to_white(nothing).isnan())
    assert bool(law.to_latent(nothing).isnan())


def test_a_value_that_many_share_comes_from_among_them():
    values = torch.cat([torch.zeros(600), torch.linspace(1, 2, 400)])[:, None]
    law = Quantiles.fit(values)
    middle = law.to_white(torch.tensor([[0.0]]))
    assert 0.05 < float(torch.special.ndtr(middle)) < 0.55
    assert float(law.to_latent(middle)) == 0.0


def test_knots_that_fall_are_refused():
    with pytest.raises(ShapeError, match="ascending"):
        Quantiles(torch.tensor([[0.0], [1.0], [0.5], [2.0]]))
    at = places(KNOTS)
    assert bool((at.diff() > 0).all())
    assert torch.allclose(at, -at.flip(0))
