"""Guidance by a regressor: exact where the regressor is, near the law where it learned, the parent where nothing is."""

import pytest
import torch
from torch import nn

import zmax
from tests.run.test_condition import CALLS, DRAWS, PARAMS, condition, model, near, same
from zmax.condition import RegressorGuidance
from zmax.core.errors import CapabilityError
from zmax.core.quantiles import Quantiles, places
from zmax.core.rng import stream
from zmax.finetune.weights import child_pushed, read, restored, written
from zmax.finetune.weights.tuned import load_conditioned
from zmax.generators.asked_path import WIDTH
from zmax.generators.conditioned import SCORE

SLOPE = torch.tensor([1.2, -0.9], dtype=torch.float64)
SIZE = float(SLOPE.norm())
NORMAL = SLOPE / SIZE
ROUND = zmax.testing.gaussian_mixture([[0.0, 0.0]], torch.eye(2)[None], [1.0])
SCORE_S = zmax.score(lambda x: x.double() @ SLOPE, differentiable=False, name="S")


class Exact(nn.Module):
    """What x_t tells of the score of N(0, I) along a line, in deviations."""

    def forward(self, y, angle):
        return (y @ NORMAL.to(y))[:, None], 2 * angle.sin().log()[:, None].to(y)


def exact(schedule):
    law = Quantiles((places(129) * SIZE)[:, None])
    G = child_pushed(ROUND.generator(steps=20, eta=0.0, schedule=schedule), law, ("S",), (2,)).generator
    G.ask.regressor = Exact()
    return G


@pytest.mark.parametrize("schedule", ["vp-linear", "rectified-flow", "edm"])
def test_with_the_exact_regressor_it_is_the_exact_denoiser_of_what_is_asked(schedule):
    G = exact(schedule)
    t = G.inner.schedule.times(6)[:-1].double()
    x_t = torch.randn(len(t), 2, generator=stream(0, "x"), dtype=torch.float64)
    alpha, sigma = G.inner.schedule.alpha(t)[:, None], G.inner.schedule.sigma(t)[:, None]
    total = alpha**2 + sigma**2
    mean, variance = alpha * x_t / total, sigma**2 / total  # of x_0 given x_t, in every direction
    for s in (-2.0, 0.7):
        gain = variance / (variance + WIDTH**2)
        known = mean + gain * (s / SIZE - mean @ NORMAL[:, None]) * NORMAL
        held, nothing = G.at(s).denoise(x_t, t), G.at(None).denoise(x_t, t)
        torch.testing.assert_close(held, known, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(nothing, mean, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(G.at(s, guidance=1.5).denoise(x_t, t), mean + 2.5 * (known - mean))
        away = G.at(-s).denoise(x_t, t) - mean
        torch.testing.assert_close(G.at(s, -s, 1.5).denoise(x_t, t), mean + 2.5 * (known - mean) - 1.5 * away)


def test_slopes_pass_through_it():
    G = exact("vp-linear")
    z = {"noise": torch.ones(1, 2, dtype=torch.float64), SCORE: torch.tensor([[0.5]])}
    noise = z["noise"].clone().requires_grad_()
    (slope,) = torch.autograd.grad(G.decode(z | {"noise": noise})[0, 1], noise)
    assert not G.decode(z).requires_grad
    step = torch.tensor([[1e-4, 0.0]], dtype=torch.float64)
    up, down = (G.decode(z | {"noise": z["noise"] + sign * step})[0, 1] for sign in (1, -1))
    assert float(slope[0, 0]) == pytest.approx(float(up - down) / 2e-4, rel=1e-3)


@pytest.fixture(scope="module")
def learned():
    G = ROUND.generator(steps=20, eta=0.0)
    return zmax.condition(G, SCORE_S, RegressorGuidance(steps=300), budget=600, looks=1, seed=0, progress=False)


def test_it_learns_the_exact_law(learned):
    points = ROUND.generator(steps=20, eta=0.0).space.sample(2000, stream(2))
    across = torch.stack([-NORMAL[1], NORMAL[0]])
    plain = learned.generator.at(None).decode(points).double() @ across
    for s in (-1.5, 0.5, 2.0):
        x = learned.generator.at(s).decode(points).double()
        assert abs(float((x @ SLOPE).mean()) - s) < 0.1
        assert float((x @ SLOPE).std()) < 3 * WIDTH * SIZE
        assert abs(float((x @ across).mean())) < 0.1
        assert abs(float((x @ across).std() / plain.std()) - 1) < 0.05
    assert learned.calibration.label_score < 0.08
    assert learned.calibration.rho > 0.99


class Moments(nn.Module):
    """Mean and variance of the height of a mixture of two given x_t, in closed form."""

    def forward(self, y, angle):
        alpha, sigma = angle.cos()[:, None, None].to(y), angle.sin()[:, None, None].to(y)
        total = alpha**2 * TWO.covs[0, 0, 0] + sigma**2
        apart = (y / alpha[:, 0])[:, None] - alpha * TWO.means.to(y)
        share = (-(apart**2 / total).sum(2) / 2).softmax(1)
        height = (TWO.means.to(y) + alpha * TWO.covs[0, 0, 0] / total * apart)[:, :, 1]
        mean = (share * height).sum(1, keepdim=True)
        within = (sigma**2 * TWO.covs[0, 0, 0] / total)[:, :, 0]
        return mean, ((share * (height**2 + within)).sum(1, keepdim=True) - mean**2).log().to(y)


TWO = zmax.testing.gaussian_mixture([[-1.0, 0.0], [1.0, 1.0]], torch.eye(2).expand(2, 2, 2) / 4, [0.5, 0.5])


def test_of_two_modes_it_finds_about_the_share_that_has_the_score():
    parent = TWO.generator(steps=20, eta=0.0)
    G = child_pushed(parent, Quantiles(places(129)[:, None]), ("height",), (2,)).generator
    G.ask.regressor = Moments()
    points = parent.space.sample(1000, stream(3))
    for s in (0.0, 0.5, 1.0):
        x = G.at(s).decode(points)
        share = float(1 / (1 + torch.tensor(-2 * (s**2 - (s - 1) ** 2)).exp()))  # of the mode on the right
        right = 0.977 * share + 0.023 * (1 - share)
        assert float((x[:, 0] > 0).float().mean()) == pytest.approx(right, abs=0.06)  # p(w | x_t) is no Gaussian
        assert float((x[:, 1] - s).abs().mean()) < 0.02


def test_at_first_it_is_the_parent_and_its_file_makes_it_again():
    parent = ROUND.generator(steps=5, eta=0.0)
    child = child_pushed(parent, Quantiles.fit(torch.linspace(-1, 1, 50)[:, None]), ("S",), (2,))
    u = parent.space.sample(4, stream(0))
    assert torch.equal(child.generator.at(0.7).decode(u), parent.decode(u))
    rng = stream(1)
    with torch.no_grad():
        for weight in child.weights.values():
            weight.add_(0.1 * torch.randn(weight.shape, generator=rng))
    moved = child.generator.at(0.7).decode(u)
    assert not torch.allclose(moved, parent.decode(u))
    assert torch.equal(restored(parent, *read(written(child, {}))).generator.at(0.7).decode(u), moved)


def test_of_several_scores_any_is_asked_for():
    scores = [zmax.score(lambda x, i=i: x[:, i], differentiable=False, name=f"s{i}") for i in range(2)]
    G = ROUND.generator(steps=20, eta=0.0)
    c = zmax.condition(G, scores, RegressorGuidance(steps=200), budget=400, looks=1, seed=0, progress=False)
    points = G.space.sample(500, stream(2))
    both, one = (c.generator.at(wanted).decode(points) for wanted in ({"s0": 1.0, "s1": -0.5}, {"s1": -0.5}))
    assert float((both - torch.tensor([1.0, -0.5])).abs().mean()) < 0.25
    assert float((one[:, 1] + 0.5).abs().mean()) < 0.25
    assert float(one[:, 0].std()) > 3 * float(both[:, 0].std())


@pytest.mark.parametrize("stops", [DRAWS // 2, CALLS - 70], ids=["lesson", "asking"])
def test_an_interrupted_run_goes_on_to_the_same(stops, tmp_path):
    settings = {"method": "regressor-guidance", "params": PARAMS}
    whole = condition(None, zmax.score(near, differentiable=False, name="near"), **settings)
    seen = []

    def interrupted(x):
        seen.append(len(x))
        if sum(seen) > stops and sum(seen[:-1]) <= stops:
            raise KeyboardInterrupt
        return near(x)

    S = zmax.score(interrupted, differentiable=False, name="near")
    cut = condition(tmp_path / "run", S, **settings)
    assert cut.stop_reason == "interrupted"
    again = zmax.resume(tmp_path / "run", model(), S, progress=False)
    assert same(again, whole)


def test_a_decoder_has_no_path():
    G = zmax.generator(nn.Linear(4, 2), shape=(4,), modality="vector")
    with pytest.raises(CapabilityError, match="has none"):
        zmax.condition(G, SCORE_S, "regressor-guidance", budget=100)


def test_a_pipeline_is_guided_on_its_path_and_loads_by_name(tmp_path):
    pytest.importorskip("diffusers")
    pipe = zmax.testing.tiny_pipeline("stable-diffusion")
    pipe.save_pretrained(tmp_path / "pipe")
    G = zmax.load_generator(f"diffusers:{tmp_path / 'pipe'}?prompt=hat&num_inference_steps=2")
    settings = {"budget": 60, "draws": 24, "checked": 8, "fresh": 4, "looks": 1, "guidances": "0"}
    method = RegressorGuidance(steps=4, batch=8)
    c = zmax.condition(G, "brightness", method, out=tmp_path / "run", progress=False, **settings)
    held = c.generator.at(0.6)
    u = held.space.sample(2, stream(0))
    x = held.decode(held.space.latents(u))
    assert x.shape[1:] == (3, 16, 16)
    loaded = load_conditioned(f"{tmp_path / 'run'}?score=0.6")
    torch.testing.assert_close(loaded.decode(loaded.space.latents(u)), x)
