"""Tuners of the forward process: gradients in closed form, the step towards the tilt, checks, learning."""

from __future__ import annotations

import pytest
import torch
from gaussian_flow import SPREAD, gaussian_flow
from torch import Tensor, nn

import zmax
from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation
from zmax.core.rng import Rng, stream
from zmax.core.tuner import Models, Rollout
from zmax.finetune import AWM, CRD, NFT
from zmax.finetune.regression.forward import ForwardState, ForwardTuner
from zmax.kit.forward import velocity
from zmax.kit.scale import Scale
from zmax.testing import gaussian_mixture, quadratic_score

KINDS = [NFT, AWM, CRD]


class Constant(nn.Module):
    """The same velocity everywhere."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.value.expand(len(x), -1)


def constant(value: Tensor, schedule: str = "rectified-flow") -> tuple[Generator, nn.Parameter]:
    network = Constant(value)
    made = zmax.diffusion(
        network, shape=(3,), schedule=schedule, steps=4, parametrisation="velocity", modality="vector"
    )
    return made, network.value


def scored(tuner: ForwardTuner, models: Models, score: Tensor, ok: Tensor | None = None) -> Rollout | None:
    """Collect, and return the rollout of given scores."""
    state, proposal = tuner.collect(ForwardState(Rng.of(stream(0, "tuner")), Scale()), models)
    alive = torch.ones(len(proposal), dtype=torch.bool) if ok is None else ok
    with torch.no_grad():
        after, rollout = tuner.rollout(state, models, Evaluation(score, alive, None, range(len(score))))
    assert after.fresh is None
    return rollout


def begun(kind: type[ForwardTuner], **settings: float) -> tuple[ForwardTuner, Models, Rollout, nn.Parameter]:
    """Return a tuner, models that are equal, and a rollout of random scores."""
    child, value = constant(torch.tensor([0.3, -0.2, 0.5]))
    tuner, models = kind(batch=8, times=2, **settings), Models(child, constant(value.detach().clone())[0])
    rollout = scored(tuner, models, torch.randn(8, generator=stream(1)))
    assert rollout is not None
    return tuner, models, rollout, value


def pull(rollout: Rollout) -> Tensor:
    """Return the gradient of each row's squared error at the old policy."""
    return 2 * (rollout["old"] - rollout["noise"] + rollout["x_0"]) / 3


def test_the_first_gradient_of_awm_is_the_models_own_weighted_by_advantage() -> None:
    tuner, models, rollout, value = begun(AWM)
    (slope,) = torch.autograd.grad(tuner.loss(models, rollout).sum(), value)
    torch.testing.assert_close(slope, (rollout["advantage"][:, None] * pull(rollout)).sum(0), rtol=1e-4, atol=1e-4)


def test_the_first_gradient_of_nft_is_its_advantage_times_that_of_the_scaled_error() -> None:
    tuner, models, rollout, value = begun(NFT, strength=0.5)
    (slope,) = torch.autograd.grad(tuner.loss(models, rollout).sum(), value)
    size = (rollout["old"] - rollout["noise"] + rollout["x_0"]).abs().mean(1)
    weight = rollout["advantage"] * rollout["t"].float() / size
    torch.testing.assert_close(slope, (weight[:, None] * pull(rollout)).sum(0), rtol=1e-4, atol=1e-4)


def test_nft_contrasts_two_policies_away_from_the_old_one() -> None:
    tuner, models, rollout, value = begun(NFT, anchor=0.0)
    with torch.no_grad():
        value += 0.4
    before = tuner.loss(models, rollout)
    mirrored = Rollout({**rollout.rows, "advantage": -rollout["advantage"], "old": rollout["old"]})
    with torch.no_grad():
        value -= 0.8
    torch.testing.assert_close(tuner.loss(models, mirrored), before)


def test_a_step_of_crd_is_the_step_to_the_tilted_law_where_that_is_linear() -> None:
    """For a Gaussian and a linear score the covariance of velocity and score is that of the tilt at any size."""
    law = gaussian_mixture([[0.0, 0.0]], [[[0.5, 0.1], [0.1, 0.3]]], [1.0])
    score, pace = quadratic_score(b=[1.0, -0.5]), 0.5
    old, tilted = (g.generator(steps=8, eta=0.0, schedule="rectified-flow") for g in (law, law.tilt(score, 1 / pace)))
    tuner = CRD(batch=20000, times=1, temperature=1.0, pace=pace, own=0.0, keep=0.0, clip=100.0)
    x_0 = law.sample(20000, stream(0)).float()
    state = ForwardState(Rng.of(stream(1)), Scale(), x_0)
    told = Evaluation(score(x_0), torch.ones(20000, dtype=torch.bool), None, range(20000))
    rollout = tuner.rollout(state, Models(old, old), told)[1]
    assert rollout is not None
    rollout = rollout.at((rollout["t"] > 0.1).nonzero().flatten())
    wanted = velocity(tilted, rollout["x_t"], rollout["t"]).float() - rollout["old"]
    step = pace * rollout["advantage"][:, None] * (rollout["noise"] - rollout["x_0"] - rollout["old"])
    apart = step - wanted
    for feature in (torch.ones_like(rollout["t"]), rollout["t"], rollout["x_t"][:, 0], rollout["x_t"][:, 1]):
        each = apart * feature.float()[:, None]
        assert (each.mean(0).abs() < 4 * each.std(0) / len(each) ** 0.5).all()
    assert wanted.abs().mean() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_rows_loss_does_not_depend_on_other_rows(kind: type[ForwardTuner]) -> None:
    tuner, models, rollout, _ = begun(kind)
    part = torch.tensor([5, 2])
    torch.testing.assert_close(tuner.loss(models, rollout.at(part)), tuner.loss(models, rollout)[part])


@pytest.mark.parametrize("kind", KINDS)
def test_checks_hold_at_the_start_and_fire_where_something_is_amiss(kind: type[ForwardTuner]) -> None:
    tuner, models, rollout, _ = begun(kind)
    assert all(check.ok for check in tuner.checks(models, rollout))
    flat = Rollout({**rollout.rows, "advantage": torch.zeros(len(rollout))})
    assert [c.name for c in tuner.checks(models, flat) if not c.ok][:1] == ["advantages differ"]
    another = Rollout({**rollout.rows, "old": rollout["old"] + 0.1})
    assert "old and new policy begin as one" in [c.name for c in tuner.checks(models, another) if not c.ok]


def test_a_loss_without_the_old_policy_has_no_contrast() -> None:
    class Deaf(AWM):
        def loss(self, models: Models, rollout: Rollout) -> Tensor:
            return velocity(models.child, rollout["x_t"], rollout["t"]).square().sum(1)

    _, models, rollout, _ = begun(AWM)
    assert "contrast alive" in [c.name for c in Deaf(batch=8).checks(models, rollout) if not c.ok]


@pytest.mark.parametrize("kind", KINDS)
def test_samples_that_failed_are_not_trained_on(kind: type[ForwardTuner]) -> None:
    models = Models(constant(torch.zeros(3))[0], constant(torch.zeros(3))[0])
    score = torch.tensor([1.0, -torch.inf, 3.0, 2.0])
    rollout = scored(kind(batch=4, times=2), models, score, score.isfinite())
    assert rollout is not None
    assert len(rollout) == 6
    assert rollout["advantage"].isfinite().all()
    one = torch.tensor([True, False, False, False])
    assert scored(kind(batch=4, times=2), models, score, one) is None


def test_centred_rewards_find_the_tilted_law() -> None:
    score, temperature = quadratic_score(b=[1.0, -0.5]), 0.7
    tuner = CRD(temperature=temperature, batch=32, pace=1.0, pairs=2)
    found = zmax.finetune(
        gaussian_flow(), score, tuner, 1200, seed=0, keep="last", looks=1, fresh=16, rate=3e-2, updates=8
    )
    exact = torch.tensor([1.0, -0.5]) * SPREAD**2 / temperature
    (mean,) = found.generator.networks[0].parameters()
    assert float((mean - exact).norm()) < 0.15 * float(exact.norm())


@pytest.mark.parametrize("kind", [NFT, AWM])
def test_scores_rise_without_a_law_to_follow(kind: type[ForwardTuner]) -> None:
    found = zmax.finetune(gaussian_flow(), quadratic_score(b=[1.0, -0.5]), kind(), 1000, looks=2, rate=1e-2)
    looks = found.rounds.looks
    assert looks[-1].score > looks[0].score + 0.3
