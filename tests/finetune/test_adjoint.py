"""Adjoint matching: its fixed point is the tilted model, and only where paths forget their beginning."""

from itertools import pairwise

import pytest
import torch
from torch import nn

import zmax
from zmax.core.errors import CapabilityError, InputError
from zmax.core.proposal import Evaluation
from zmax.core.tuner import Models, Rollout
from zmax.finetune.gradient.adjoint import Adjoint, aims, counted, gains, walked, weights
from zmax.generators.diffusion.generator import DenoiserGenerator
from zmax.generators.diffusion.path import Path, PathSpace
from zmax.generators.diffusion.samplers import Ancestral
from zmax.generators.diffusion.schedules import schedule

SCHEDULES = ("rectified-flow", "vp-linear")
SCORE = zmax.testing.quadratic_score([[1.5, 0.4], [0.4, 0.5]], [1.0, -0.5])


def normal():
    return zmax.testing.gaussian_mixture([[0.3, -0.2]], [[[1.0, 0.3], [0.3, 0.5]]], [1.0])


def ring():
    angles = torch.arange(5) * 2 * torch.pi / 5
    means = 1.5 * torch.stack([angles.cos(), angles.sin()], 1)
    return zmax.testing.gaussian_mixture(means, 0.06 * torch.eye(2).expand(5, 2, 2), torch.ones(5))


def draw(path, n):
    return PathSpace.along(path).sample(n, torch.Generator().manual_seed(0)).double()


def residual(path, parent, child, score, temperature, n=20000):
    """Return the mean error of the child's denoiser against what it is to match, by step, and that of the mean."""
    x = walked(path, child, draw(path, n))
    end = x[:, -1].requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(score(end).sum(), end)
    wanted = aims(path, parent, x.detach(), slope / temperature)
    shown = torch.stack([child.denoise(x[:, i], path.times[i].expand(n)) for i in range(path.steps)], 1)
    return (shown - wanted).detach(), x.detach()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [3, 12])
def test_the_denoiser_of_the_tilted_law_is_the_fixed_point_at_any_number_of_steps(name, steps):
    law = normal()
    tilted = law.tilt(SCORE, 0.7)
    parent = law.generator(steps, schedule=name)
    child = zmax.testing.gaussian_mixture(tilted.means, tilted.covs, tilted.weights).generator(steps, schedule=name)
    path = Path(parent.schedule, steps, 1.0, (2,), order=1)
    errors, x = residual(path, parent, child, SCORE, 0.7)
    for i in range(1, steps):  # the first step takes the limit of short steps
        bias = torch.linalg.lstsq(torch.cat([x[:, i], torch.ones(len(x), 1)], 1), errors[:, i]).solution
        assert bias.abs().max() < 6 * errors[:, i].std() / (len(x) ** 0.5 * x[:, i].std(0).min()) + 1e-9
    wrong, x = residual(path, parent, parent, SCORE, 0.7)
    assert wrong[:, steps // 2].mean(0).norm() > 0.1


def test_the_shift_of_the_first_step_tends_to_that_of_the_tilted_law():
    law, gaps = normal(), []
    tilted = law.tilt(SCORE, 1.0)
    for steps in (3, 12):
        parent = law.generator(steps, schedule="rectified-flow")
        child = zmax.testing.gaussian_mixture(tilted.means, tilted.covs, tilted.weights)
        path = Path(parent.schedule, steps, 1.0, (2,), order=1)
        errors, _ = residual(path, parent, child.generator(steps, schedule="rectified-flow"), SCORE, 1.0)
        gaps.append(float(errors[:, 0].mean(0).norm()))
    assert gaps[1] < 0.5 * gaps[0]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_change_of_the_denoiser_costs_the_kl_of_its_steps(name):
    path = Path(schedule(name), 8, 1.0, (2,), order=1)
    snr = [(a / s) ** 2 for a, s in (path.levels(i) for i in range(8))]
    assert weights(path)[:-1].tolist() == pytest.approx([b - a for a, b in pairwise(snr)])
    assert weights(path)[-1] == weights(path)[-2]
    a, s = path.levels(5)
    assert gains(path)[5] == pytest.approx(s**2 / a)
    less = Path(schedule(name), 8, 0.1, (2,), order=1)
    assert gains(less)[5] == pytest.approx(s**2 / a * 0.02 / 1.01)


def test_less_than_all_noise_aims_at_another_law():
    law = normal()
    tilted = law.tilt(SCORE, 1.0)
    child = zmax.testing.gaussian_mixture(tilted.means, tilted.covs, tilted.weights).generator(12)
    path = Path(child.schedule, 12, 0.1, (2,), order=1)
    errors, _ = residual(path, law.generator(12), child, SCORE, 1.0, 4000)
    assert errors[:, 6].mean(0).norm() > 0.1


def rolled(tuner, G, score, n_failed=0):
    models = Models(G, G)
    state, proposal = tuner.collect(tuner.init(G, torch.Generator().manual_seed(1)), models)
    x = proposal.at.x.clone().requires_grad_()
    with torch.enable_grad():
        value = score(x)
        (grad,) = torch.autograd.grad(value.sum(), x)
    ok = torch.arange(len(x)) >= n_failed
    found = Evaluation(value.detach().double(), ok, None, range(len(x)), grad=grad)
    return models, *tuner.rollout(state, models, found)


def test_rows_of_the_loss_know_nothing_of_each_other():
    G = normal().generator(6, schedule="rectified-flow")
    models, state, rollout = rolled(Adjoint(batch=5, temperature=1.0, times=3), G, SCORE, n_failed=1)
    assert len(rollout) == 4 * 3
    assert state.x is None
    whole = Adjoint(temperature=1.0).loss(models, rollout)
    part = Adjoint(temperature=1.0).loss(models, rollout.at(torch.tensor([7, 2])))
    assert torch.allclose(part, whole[[7, 2]], rtol=1e-5)


def test_the_first_gradient_is_the_slope_that_the_parent_carries_back():
    G = normal().generator(6, schedule="rectified-flow")
    tuner = Adjoint(batch=4, temperature=0.5, times=6)
    models, _, rollout = rolled(tuner, G, SCORE)
    path = tuner.path(G)
    shift = (rollout["wanted"] - G.denoise(rollout["x_t"], rollout["t"].float())).detach()
    last = rollout["t"] == path.times[-2]
    x_t = rollout["x_t"][last].clone().requires_grad_()
    with torch.enable_grad():
        end = G.denoise(x_t, rollout["t"][last].to(x_t))
        (slope,) = torch.autograd.grad(SCORE(end).sum() / 0.5, x_t)
    a, s = path.levels(5)
    assert torch.allclose(shift[last], (s**2 / a * slope).to(shift), atol=1e-5)
    loss = tuner.loss(models, rollout)
    expected = rollout["weight"] * shift.square().mean(1)
    assert torch.allclose(loss.double(), expected, rtol=1e-4)


def test_checks_see_a_flat_score_a_changed_child_and_guidance():
    G = normal().generator(6, schedule="rectified-flow")
    tuner = Adjoint(batch=4, temperature=1.0)
    models, _, rollout = rolled(tuner, G, SCORE)
    assert [check.ok for check in tuner.checks(models, rollout)] == [True, True, True]
    other = ring().generator(6, schedule="rectified-flow")
    assert [check.ok for check in tuner.checks(Models(other, G), rollout)] == [True, False, True]
    flat = Rollout({**rollout.rows, "wanted": G.denoise(rollout["x_t"], rollout["t"].float()).detach()})
    assert [check.ok for check in tuner.checks(models, flat)] == [False, True, True]
    twice = Guided()
    guided = DenoiserGenerator(
        twice, shape=(2,), schedule=schedule("vp-linear"), sampler=Ancestral(4), name="guided", networks=(twice.body,)
    )
    assert counted(guided, torch.zeros(3, 2), torch.ones(3))[1] == 6
    models, _, rollout = rolled(tuner, guided, SCORE)
    assert not tuner.checks(models, rollout)[2].ok


class Guided(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Identity()

    def forward(self, x, t):
        return self.body(x) + 0.5 * self.body(x)


def test_what_cannot_be_steered_is_refused():
    with pytest.raises(CapabilityError, match="two steps"):
        Adjoint().init(normal().generator(1), torch.Generator())
    for wrong in ({"eta": 0.0}, {"eta": 1.5}, {"times": 0}, {"batch": 0}, {"temperature": 0.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Adjoint(**wrong)


def distance(generator, tilted, n=8000):
    u = generator.space.sample(n, torch.Generator().manual_seed(5))
    x = generator.decode(generator.space.latents(u)).detach().double()
    return float((x.mean(0) - tilted.mean).norm())


def test_the_child_finds_the_modes_of_the_tilted_law_and_misses_them_without_noise():
    law, S = ring(), zmax.testing.quadratic_score(b=[1.0, 0.3])
    tilted, G = law.tilt(S, 1.0), zmax.testing.trained(law)
    begun = distance(G, tilted)
    for seed in (0, 1):
        t = zmax.finetune(G, S, Adjoint(temperature=1.0), budget=1500, seed=seed, looks=2, keep="last")
        assert distance(t.generator, tilted) < 0.15 * begun
    missed = zmax.finetune(G, S, Adjoint(temperature=1.0, eta=0.1), budget=1500, seed=0, looks=2, keep="last")
    assert distance(missed.generator, tilted) > 0.5 * begun
