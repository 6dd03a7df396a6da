"""Path models from outside, with public names only: every method that steers a path runs on them, the suite passes."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

import zmax
from zmax.testing import PathConformance

MEAN = torch.tensor([1.0, -1.0])


class Gaussian(zmax.DiffusionGenerator):
    """Data that are N(MEAN, I), on a rectified flow."""

    name, modality, differentiable = "gaussian", "vector", True
    schedule = zmax.generators.SCHEDULES["rectified-flow"]()

    def __init__(self, steps=8, eta=1.0):
        self.network = nn.Identity()  # where a trained one would be
        self.networks = (self.network,)
        self.space = zmax.PathSpace.along(zmax.Path(self.schedule, steps, eta, (2,)))

    def denoise(self, x_t, t):
        alpha, sigma = self.schedule.alpha(t)[:, None], self.schedule.sigma(t)[:, None]
        return MEAN + alpha / (alpha**2 + sigma**2) * (self.network(x_t) - alpha * MEAN)

    def finish(self, x_0):
        return x_0

    def decode(self, z):
        return self.finish(self.space.path.follow(self.denoise, z))

    def stochastic(self, eta=1.0):
        return Gaussian(self.space.path.steps, eta)


def wrapped():
    """The same law in one call: the velocity of its flow is E[eps - x_0 | x_t]."""

    def velocity(x_t, t):
        t = t[:, None]
        x_0 = MEAN + (1 - t) / ((1 - t) ** 2 + t**2) * (x_t - (1 - t) * MEAN)
        return (x_t - x_0) / t.clamp_min(1e-6)

    levels, law = "rectified-flow", "velocity"
    return zmax.diffusion(velocity, shape=(2,), schedule=levels, steps=8, parametrisation=law, modality="vector")


def steering() -> list[str]:
    """Return the methods that need a path: those that a decoder without one is refused for."""
    flat = zmax.generator(nn.Linear(2, 2), shape=(2,))
    return [m.name for m in zmax.methods() if m.road != "finetune" and refuses(m.name, flat)]


def refuses(method: str, generator: zmax.Generator) -> bool:
    try:
        zmax.maximize(generator, first, method, budget=1, max_failures=1.0)
    except zmax.ZmaxError as error:
        return "steers the path" in str(error)
    return False


def first(x):
    """The score: the first coordinate."""
    return x[:, 0]


MODELS = {"subclass": Gaussian, "wrapped": wrapped}
STEERING = steering()


def test_the_methods_of_the_guide_steer():
    named = {m.name for m in zmax.methods() if m.road in ("search", "guide") and "diffusion or flow model" in m.needs}
    assert named <= set(STEERING)
    assert {"dps", "fk", "paths", "relay", "dno"} <= set(STEERING)


@pytest.mark.parametrize("method", STEERING)
@pytest.mark.parametrize("model", MODELS)
def test_every_steering_method_runs(model, method):
    result = zmax.maximize(MODELS[model](), first, method, budget=160, seed=0)
    assert result.ledger.score_calls > 0
    assert not result.history.failures
    latents = {name: part[None] for name, part in result.best.z.items()}
    again = MODELS[model]().stochastic().decode(latents)
    torch.testing.assert_close(again[0], result.best.sample, rtol=1e-4, atol=1e-4)
    assert result.best.score == pytest.approx(float(again[0, 0]), abs=1e-4)


def test_steering_from_outside_tilts_the_law():
    """Of N(MEAN, I) tilted by exp(x_1), the mean of the first coordinate is higher by one."""
    drawn = zmax.sample(Gaussian(steps=30), first, temperature=1.0, method="fk", budget=4000, seed=0)
    weights = drawn.population.log_weight.exp()
    assert float(weights @ drawn.population.score.to(weights)) == pytest.approx(2.0, abs=0.25)


def test_both_are_one_model():
    one, other = Gaussian(), wrapped().stochastic()
    z = one.space.latents(one.space.sample(6, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(one.decode(z), other.decode(z))


def test_a_path_model_is_short():
    lines = [line for line in inspect.getsource(Gaussian).splitlines() if line.strip()]
    assert len(lines) <= 25


def test_a_function_is_one_evaluation_a_sample_and_step():
    result = zmax.maximize(wrapped(), first, "random", budget=40, seed=0)
    assert result.ledger.nfe == 8 * result.ledger.decodes


class TestSubclass(PathConformance):
    def make(self):
        return Gaussian()


class TestWrapped(PathConformance):
    def make(self):
        return wrapped()
