"""Networks of every parametrisation, made from the exact denoiser of a mixture, give that denoiser back."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from zmax.core.errors import InputError
from zmax.generators.diffusion.denoisers import (
    EDMDenoiser,
    NetworkDenoiser,
    denoised,
    discrete_index,
    preconditioning,
    predicted,
)
from zmax.generators.diffusion.schedules import EDM, VE, RectifiedFlow, VPCosine, VPLinear, schedule
from zmax.testing import gaussian_mixture

LAW = gaussian_mixture([[-1.0, 0.5], [1.5, -0.5]], [[[0.3, 0.1], [0.1, 0.2]], [[0.5, -0.2], [-0.2, 0.4]]], [0.4, 0.6])
PREDICTIONS = ["epsilon", "v", "x0", "velocity"]
SCHEDULES = ["vp-linear", "vp-scaled-linear", "vp-cosine", "ve", "edm", "rectified-flow"]


class Wraps(nn.Module):
    """A network made of a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, t):
        return self.function(x, t)


def noisy(levels):
    rng = torch.Generator().manual_seed(0)
    t = levels.times(11)[1:-1]
    x = LAW.sample(10, rng) * levels.alpha(t)[:, None]
    return x + levels.sigma(t)[:, None] * torch.randn(10, 2, generator=rng, dtype=torch.float64), t


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_network_of_the_exact_prediction_is_the_exact_denoiser(name, prediction):
    levels = schedule(name)
    exact = LAW.generator(schedule=levels).denoise
    network = Wraps(lambda x, t: predicted(exact(x, t), x, levels, t, prediction))
    x, t = noisy(levels)
    torch.testing.assert_close(
        NetworkDenoiser(network, levels, prediction=prediction)(x, t), exact(x, t), rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_conversions_are_mutual_inverses(name, prediction):
    levels = schedule(name)
    x, t = noisy(levels)
    output = torch.randn(10, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x_0 = denoised(output, x, levels, t, prediction)
    torch.testing.assert_close(predicted(x_0, x, levels, t, prediction), output, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ["edm", "ve", "vp-linear"])
def test_edm_preconditioning_of_the_exact_network_is_the_exact_denoiser(name):
    levels = schedule(name)
    exact = LAW.generator(schedule=levels).denoise
    x, t = noisy(levels)
    alpha, sigma = levels.alpha(t)[:, None], levels.sigma(t)[:, None]

    def network(scaled, level):
        torch.testing.assert_close(level, (sigma / alpha).flatten().log() / 4)
        skip, out, scale, _ = preconditioning(sigma / alpha, 1.3)
        torch.testing.assert_close(scaled, scale * x / alpha)
        return (exact(x, t) - skip * x / alpha) / out

    torch.testing.assert_close(EDMDenoiser(Wraps(network), levels, sigma_data=1.3)(x, t), exact(x, t))


def test_edm_preconditioning_has_unit_variances():
    """Karras et al., app. B.6: inputs and targets of F have variance one at every level."""
    sigma, rng = torch.tensor([0.01, 0.5, 20.0], dtype=torch.float64)[:, None], torch.Generator().manual_seed(0)
    skip, out, scale, _ = preconditioning(sigma, 0.5)
    x_0, noise = torch.randn(2, 3, 100_000, generator=rng, dtype=torch.float64)
    x = 0.5 * x_0 + sigma * noise
    for unit in (scale * x, (0.5 * x_0 - skip * x) / out):
        torch.testing.assert_close(unit.var(1), torch.ones(3).double(), rtol=0.02, atol=0)


def test_an_edm_denoiser_at_no_noise_is_the_identity():
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    answer = EDMDenoiser(Wraps(lambda x, t: x + t[:, None]), EDM())(x, torch.zeros(3))
    torch.testing.assert_close(answer, x)


def test_velocity_is_the_slope_of_the_flow_and_v_that_of_the_angle():
    x_0, eps = torch.tensor([[0.7]]).double(), torch.tensor([[-1.2]]).double()
    t = torch.tensor([0.3]).double()
    flow, vp = RectifiedFlow(), VPCosine()
    path = lambda levels: levels.alpha(t)[:, None] * x_0 + levels.sigma(t)[:, None] * eps  # noqa: E731
    torch.testing.assert_close(predicted(x_0, path(flow), flow, t, "velocity"), eps - x_0)
    slope = vp.alpha(t)[:, None] * eps - vp.sigma(t)[:, None] * x_0
    torch.testing.assert_close(predicted(x_0, path(vp), vp, t, "v"), slope)


def test_the_time_map_hits_every_discrete_step_once():
    t = torch.arange(1, 1001).double() / 1000
    assert discrete_index(1000)(t).tolist() == list(range(1000))
    assert discrete_index(1000)(t.float()).tolist() == list(range(1000))
    seen = []
    network = Wraps(lambda x, t: seen.append(t) or x)
    NetworkDenoiser(network, VPLinear(), time=discrete_index(1000))(torch.zeros(2, 1), torch.tensor([1.0, 0.25]))
    assert seen[0].tolist() == [999, 249]


def test_gradients_pass_to_the_input_and_to_the_weights():
    denoise = NetworkDenoiser(Wraps(lambda x, t: torch.tanh(x) * t[:, None]), VE(), prediction="v").double()
    x, t = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).double(), torch.full((3,), 0.4).double()
    assert torch.autograd.gradcheck(lambda y: denoise(y, t), (x.requires_grad_(),))


def test_bad_settings_are_named():
    """An unknown prediction is tried where no checker of annotations comes first."""
    code = """
from torch import nn
import zmax
try:
    zmax.diffusion(nn.Identity(), shape=(2,), schedule="ve", steps=2, parametrisation="score")
except zmax.ZmaxError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "velocity" in done.stdout
    with pytest.raises(InputError, match="sigma_data"):
        EDMDenoiser(nn.Identity(), VE(), sigma_data=0.0)
