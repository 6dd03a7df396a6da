"""Discriminators that are told a score: weights and pairs of a vicinity in closed form, saved bit for bit."""

import math

import pytest
import torch

from zmax.core.rng import stream
from zmax.natural.vicinal import LEAST, Vicinal, around, bandwidths, nearby, soft_weights


def test_bandwidths_follow_the_rules_of_thumb():
    label = torch.linspace(0, 1, 101)
    sigma, nu = bandwidths(label, 2.0)
    assert sigma == pytest.approx((4 * float(label.double().std()) ** 5 / 303) ** 0.2)
    assert nu == pytest.approx(1 / 0.02**2, rel=1e-4)


def test_weights_fall_as_a_bell():
    y = torch.tensor([0.3, 0.4, 0.5])
    assert torch.allclose(soft_weights(y, torch.tensor(0.5), 100.0), torch.tensor([math.exp(-4), math.exp(-1), 1.0]))


def test_pairs_lie_in_the_vicinity_evenly():
    label, nu, rng = torch.linspace(0, 1, 101), 2500.0, stream(0)
    reach = math.sqrt(-math.log(LEAST) / nu)
    target = torch.full((4000,), 0.502)
    drawn = label[nearby(label, target, nu, rng)]
    inside = label[(label - 0.502).abs() <= reach]
    counts = torch.stack([(drawn == value).sum() for value in inside])
    assert int(counts.sum()) == 4000
    expected = 4000 / len(inside)
    assert float(((counts - expected) ** 2 / expected).sum()) < 2 * len(inside)
    fake = around(target, nu, rng)
    assert float((fake - 0.502).abs().max()) <= reach
    assert float(fake.std()) == pytest.approx(reach / math.sqrt(3), rel=0.05)
    assert float(around(torch.zeros(99), nu, rng).min()) >= 0


def test_where_nothing_is_near_the_nearest_stands_for_it():
    assert nearby(torch.tensor([0.0, 1.0]), torch.tensor([0.4, 0.7]), 1e4, stream(0)).tolist() == [0, 1]


def test_the_loss_is_the_weighted_cross_entropy():
    critic = Vicinal((3,))
    with torch.no_grad():
        for layer in (critic.alone, critic.second):
            layer.weight.zero_()
            layer.bias.zero_()
        critic.alone.bias.fill_(0.7)
    x, target = torch.zeros(2, 3), torch.tensor([0.2, 0.8])
    real, fake = torch.tensor([0.2, 0.7]), torch.tensor([0.3, 0.8])
    found = critic.loss((x, real), (x, fake), target, 100.0).detach()
    weights = (1 + math.exp(-1)) / 2
    logistic = 1 / (1 + math.exp(-0.7))
    assert float(found) == pytest.approx(-weights * math.log(logistic) - weights * math.log(1 - logistic), rel=1e-5)


def test_it_tells_labels_apart_and_goes_on_from_tensors_bit_for_bit():
    critic, rng = Vicinal((2,)), stream(1)
    for step in range(150):
        target = torch.rand(64, generator=rng)
        real = torch.stack([target, torch.randn(64, generator=rng)], 1)
        critic.update((real, target), (torch.rand(64, 2, generator=rng), target), target, 100.0)
        if step == 100:
            other = Vicinal.of(critic.tensors())
    again = stream(1)
    for step in range(150):
        target = torch.rand(64, generator=again)
        real = torch.stack([target, torch.randn(64, generator=again)], 1)
        rest = torch.rand(64, 2, generator=again)
        if step > 100:
            other.update((real, target), (rest, target), target, 100.0)
    assert all(torch.equal(a, b) for a, b in zip(critic.parameters(), other.parameters(), strict=True))
    y = torch.tensor([0.1, 0.9])
    x = torch.stack([y, torch.zeros(2)], 1)
    assert bool((critic(x, y) > critic(x, 1 - y)).all())
