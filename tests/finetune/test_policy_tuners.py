"""Policy gradients: log-probabilities, trust region and KL in closed form, rest at the tilted law, learning."""

from __future__ import annotations

import pytest
import torch
from gaussian_flow import SPREAD, gaussian_flow
from torch import Tensor, nn

import zmax
from zmax.core.generator import DiffusionGenerator
from zmax.core.proposal import Evaluation
from zmax.core.rng import Rng, stream
from zmax.core.tuner import Models, Rollout
from zmax.finetune import DDPO, GRPO
from zmax.finetune.policy.grpo import step_kl
from zmax.finetune.policy.paths import PathState, PathTuner, asked, first_order, log_ratio, seen
from zmax.generators.diffusion.path import PathSpace
from zmax.kit.scale import Scale
from zmax.testing import quadratic_score

KINDS = [DDPO, GRPO]
VECTOR = torch.tensor([1.0, -0.5])


def models() -> tuple[Models, nn.Parameter]:
    child = gaussian_flow(6).stochastic()
    return Models(child, gaussian_flow(6).stochastic()), next(child.networks[0].parameters())


def rolled(tuner: PathTuner, pair: Models, ok: Tensor | None = None) -> Rollout | None:
    """Collect, and return the rollout of a linear score."""
    with torch.no_grad():
        state, proposal = tuner.collect(PathState(Rng.of(stream(0, "tuner")), Scale()), pair)
        assert isinstance(proposal.at.points, Tensor)
        score = proposal.at.points @ VECTOR
        alive = torch.ones(len(score), dtype=torch.bool) if ok is None else ok
        after, rollout = tuner.rollout(state, pair, Evaluation(score, alive, None, range(len(score))))
    assert after.steps is None
    assert after.far is None
    return rollout


def begun(kind: type[PathTuner], **settings: float) -> tuple[PathTuner, Models, Rollout, nn.Parameter]:
    pair, mean = models()
    tuner = kind(batch=8, times=3, **settings)
    rollout = rolled(tuner, pair)
    assert rollout is not None
    return tuner, pair, rollout, mean


def test_the_ratio_is_that_of_the_steps_normal_densities() -> None:
    _, pair, rollout, mean = begun(DDPO)
    with torch.no_grad():
        mean += torch.tensor([0.2, -0.1])
        x_0, found, path = asked(pair.child, rollout)
    for i in range(len(rollout)):
        a, b, c = path.factors(int(rollout["step"][i]))
        x_s = a * rollout["x_t"][i] + b * rollout["old"][i] + c * rollout["noise"][i]
        new, old = (
            torch.distributions.Normal(a * rollout["x_t"][i] + b * x, c).log_prob(x_s).sum()
            for x in (x_0[i], rollout["old"][i])
        )
        torch.testing.assert_close(found[i], new - old, rtol=1e-3, atol=1e-3)
    assert found.abs().max() > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_ratios_begin_at_one_and_the_first_gradient_is_the_policy_gradient(kind: type[PathTuner]) -> None:
    tuner, pair, rollout, mean = begun(kind)
    _, ratio, _ = asked(pair.child, rollout)
    assert float(ratio.detach().abs().max()) < 1e-5
    (found,) = torch.autograd.grad(tuner.loss(pair, rollout).sum(), mean, retain_graph=True)
    (exact,) = torch.autograd.grad(-(rollout["advantage"] * ratio).sum(), mean)
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-4)
    assert float(exact.norm()) > 0


def test_steps_are_distinct_and_as_many_as_asked_for() -> None:
    rollout = begun(DDPO)[2]
    assert len(rollout) == 8 * 3
    assert len(rollout["noise"].unique(dim=0)) == len(rollout)
    assert int(rollout["step"].max()) < 5


def test_paths_are_those_of_the_generators_first_order_sampler() -> None:
    pair, _ = models()
    child = pair.child
    assert isinstance(child, DiffusionGenerator)
    proposal = DDPO(batch=4).collect(PathState(Rng.of(stream(0)), Scale()), pair)[1]
    space = PathSpace.along(first_order(child))
    u = space.sample(4, stream(0))
    with torch.no_grad():
        torch.testing.assert_close(proposal.at.points, space.path.follow(child.denoise, space.latents(u)))


class Steered(nn.Module):
    """A denoiser with something added at each time."""

    def __init__(self, denoiser: nn.Module, times: Tensor, added: Tensor) -> None:
        super().__init__()
        self.denoiser, self.times, self.added = denoiser, times, added

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        nearest = (t[:, None].double() - self.times).abs().argmin(1)
        seen: Tensor = self.denoiser(x, t) + self.added[nearest]
        return seen


def noise_slopes(parent: DiffusionGenerator) -> Tensor:
    """Return the slope of a linear score by the fresh noise of each step; it is the same for all paths."""
    path = first_order(parent)
    space = PathSpace.along(path)
    u = torch.zeros(1, space.dim, requires_grad=True)
    end = path.follow(parent.denoise, space.latents(u))
    (slope,) = torch.autograd.grad((end @ VECTOR).sum(), u)
    return slope[0, path.columns(0).stop :].reshape(path.steps - 1, 2)


def at_the_tilt(parent: DiffusionGenerator) -> DiffusionGenerator:
    """Return a model whose paths follow the tilt of the parent's: S is linear in the noises, which are shifted."""
    path, shift = first_order(parent), noise_slopes(parent)
    added = torch.zeros(path.steps, 2)
    for i in range(path.steps - 1):
        _, b, c = path.factors(i)
        added[i] = c / b * shift[i]
    network = Steered(parent.networks[0], path.times[:-1], added)
    made = zmax.diffusion(
        network, shape=(2,), schedule="rectified-flow", steps=path.steps, parametrisation="x0", modality="vector"
    )
    return made.stochastic()


def test_grpo_rests_without_noise_at_the_tilted_law_of_paths() -> None:
    parent = gaussian_flow(6).stochastic()
    tilted = Models(at_the_tilt(parent), parent)
    tuner = GRPO(batch=64, times=5, temperature=1.0)
    with torch.no_grad():
        state, proposal = tuner.collect(PathState(Rng.of(stream(0)), Scale()), tilted)
    assert isinstance(proposal.at.points, Tensor)
    assert state.far is not None
    left = proposal.at.points @ VECTOR - state.far
    assert float(left.std()) < 1e-3
    assert float(state.far.std()) > 0.1


def test_steps_beyond_the_trust_region_lead_no_further() -> None:
    tuner, pair, rollout, mean = begun(GRPO, keep=0.0, bound=1e-3)
    with torch.no_grad():
        mean += 0.5
    x_0, ratio, path = asked(pair.child, rollout)
    assert float(step_kl(path, rollout, x_0, "old").detach().min()) > 1e-3
    loss = tuner.loss(pair, rollout)
    further = rollout["advantage"] * ratio > 0
    assert bool(further.any())
    assert not loss[further].any()
    torch.testing.assert_close(loss[~further], -(rollout["advantage"] * ratio.exp())[~further])


def test_the_kl_is_that_of_two_normal_steps_and_its_gradient_is_not_zero() -> None:
    _, pair, rollout, mean = begun(GRPO)
    with torch.no_grad():
        mean += torch.tensor([0.3, 0.1])
    x_0, _, path = asked(pair.child, rollout)
    kl = step_kl(path, rollout, x_0, "parent")
    _, b, c = path.factors(int(rollout["step"][0]))
    one, other = (torch.distributions.Normal(b * x[0], c) for x in (x_0, rollout["parent"]))
    torch.testing.assert_close(kl[0], torch.distributions.kl_divergence(one, other).sum(), rtol=1e-4, atol=1e-6)
    (slope,) = torch.autograd.grad(kl.sum(), mean)
    assert float(slope.norm()) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_rows_loss_does_not_depend_on_other_rows(kind: type[PathTuner]) -> None:
    tuner, pair, rollout, mean = begun(kind)
    with torch.no_grad():
        mean += 0.1
    part = torch.tensor([5, 2])
    torch.testing.assert_close(tuner.loss(pair, rollout.at(part)), tuner.loss(pair, rollout)[part])


@pytest.mark.parametrize("kind", KINDS)
def test_checks_hold_at_the_start_and_fire_where_something_is_amiss(kind: type[PathTuner]) -> None:
    tuner, pair, rollout, mean = begun(kind)
    assert all(check.ok for check in tuner.checks(pair, rollout))
    with torch.no_grad():
        mean += 0.1
    assert "ratio 1" in [check.name for check in tuner.checks(pair, rollout) if not check.ok]
    flat = Rollout({**rollout.rows, "advantage": torch.zeros(len(rollout))})
    assert "advantages differ" in [check.name for check in tuner.checks(pair, flat) if not check.ok]


@pytest.mark.parametrize("kind", KINDS)
def test_paths_that_failed_are_not_trained_on(kind: type[PathTuner]) -> None:
    pair, _ = models()
    rollout = rolled(kind(batch=4, times=2), pair, torch.tensor([True, False, True, True]))
    assert rollout is not None
    assert len(rollout) == 6
    assert rollout["advantage"].isfinite().all()
    assert rolled(kind(batch=4, times=2), pair, torch.tensor([True, False, False, False])) is None


def test_log_ratios_of_equal_models_are_zero() -> None:
    pair, _ = models()
    child = pair.child
    assert isinstance(child, DiffusionGenerator)
    path = first_order(child)
    x = torch.randn(3, 2, generator=stream(0))
    with torch.no_grad():
        x_0 = seen(child, path, 2, x)
    rows = {"noise": x, "old": x_0, "step": torch.full((3,), 2)}
    assert not log_ratio(path, rows, x_0).any()


def best_mean(parent: DiffusionGenerator, temperature: float) -> Tensor:
    r"""Return the mean at which E S / T - KL of paths is largest, with noises that a unit of it shifts by l_i.

    .. math:: \mu = \frac{V}{T} \frac{\sum_i l_i\, \partial x_N / \partial \xi_i}{\sum_i l_i^2}
    """
    path = first_order(parent)
    pull = noise_slopes(parent)
    moved = torch.zeros(path.steps - 1)
    for i in range(path.steps - 1):
        alpha, sigma = path.levels(i)
        _, b, c = path.factors(i)
        moved[i] = b / c * sigma**2 / (alpha**2 * SPREAD**2 + sigma**2)
    along = pull[:, 0] / VECTOR[0]
    return VECTOR / temperature * float((moved * along).sum() / moved.square().sum())


def test_grpo_finds_the_mean_at_which_score_less_kl_is_largest() -> None:
    score, temperature = quadratic_score(b=VECTOR), 0.7
    tuner = GRPO(temperature=temperature)
    found = zmax.finetune(gaussian_flow(), score, tuner, 1500, seed=0, keep="last", looks=1, fresh=16, rate=1e-2)
    (mean,) = found.generator.networks[0].parameters()
    exact = best_mean(gaussian_flow().stochastic(), temperature)
    assert float((mean.detach() - exact).norm()) < 0.15 * float(exact.norm())


def test_ddpo_raises_scores() -> None:
    found = zmax.finetune(gaussian_flow(), quadratic_score(b=VECTOR), DDPO(), 1000, looks=2, rate=1e-2)
    looks = found.rounds.looks
    assert looks[-1].score > looks[0].score + 0.3
