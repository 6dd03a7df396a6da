"""Every named schedule goes from noise to data; tables agree with their papers."""

import itertools
import math

import pytest
import torch

from zmax.generators.diffusion.schedules import (
    EDM,
    SCHEDULES,
    VE,
    RectifiedFlow,
    VPCosine,
    VPLinear,
    VPScaledLinear,
    schedule,
)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 17])
def test_times_lead_to_data_with_falling_noise(name, steps):
    levels = schedule(name)
    times = levels.times(steps)
    alpha, sigma = levels.alpha(times), levels.sigma(times)
    assert len(times) == steps + 1
    assert bool((times.diff() < 0).all() and (sigma.diff() < 0).all() and (alpha.diff() >= 0).all())
    assert float(sigma[-1]) == 0.0
    assert float(alpha[-1]) == 1.0
    assert float(alpha[0] / sigma[0]) < 0.1
    single = levels.sigma(times.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), sigma, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("levels", [VPLinear(), VPScaledLinear(), VPCosine()])
def test_discrete_schedules_are_their_tables_and_keep_variance(levels):
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    torch.testing.assert_close(levels.alpha(t) ** 2, (1 - levels.betas()).cumprod(0), rtol=1e-9, atol=0)
    u = torch.linspace(0, 1, 777, dtype=torch.float64)
    torch.testing.assert_close(levels.alpha(u) ** 2 + levels.sigma(u) ** 2, torch.ones_like(u))


def test_betas_are_those_of_the_papers():
    root = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64)
    torch.testing.assert_close(VPScaledLinear().betas(), root**2)
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    f = lambda u: math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2  # noqa: E731
    expected = torch.tensor([f(float(u)) / f(0) for u in t], dtype=torch.float64)
    torch.testing.assert_close(VPCosine().alpha(t) ** 2, expected)
    assert float(VPCosine().betas().max()) == 0.999


def test_ve_is_the_kernel_of_its_sde():
    """sigma(t)^2 is the integral of g(s)^2 = d/ds sigma_min^2 (sigma_max / sigma_min)^(2s) from 0 to t."""
    s = torch.linspace(0, 0.6, 200_001, dtype=torch.float64)
    log_ratio = math.log(5000.0)
    variance = torch.trapezoid(0.01**2 * 2 * log_ratio * (2 * log_ratio * s).exp(), s)
    torch.testing.assert_close(VE().sigma(s[-1:])[0] ** 2, variance, rtol=1e-6, atol=0)


def test_edm_times_are_evenly_spaced_in_the_seventh_root():
    times = EDM(sigma_max=80.0, sigma_min=0.002).times(18)
    roots = times[:-1] ** (1 / 7)
    torch.testing.assert_close(roots.diff(), roots.diff()[:1].expand(17))
    assert times[0] == pytest.approx(80.0)
    assert times[-2] == pytest.approx(0.002)


def test_shifts_compose_by_their_product_and_invert():
    """Shifting by s multiplies the odds sigma / alpha by s, as a resolution s^2 times as high does."""
    for a, b in itertools.product((0.5, 1.0, 3.0), repeat=2):
        t = RectifiedFlow(shift=a).times(20)[1:-1]
        both = RectifiedFlow(shift=a * b).times(20)[1:-1]
        torch.testing.assert_close(both / (1 - both), b * t / (1 - t))


@pytest.mark.parametrize(
    ("levels", "betas"),
    [
        (VPLinear(0.1, 0.5, 3), [0.1, 0.3, 0.5]),
        (VPScaledLinear(0.01, 0.25, 3), [0.01, 0.09, 0.25]),
        (VPCosine(offset=0.5, discretisation=1), [0.999]),
        (VPCosine(offset=0.5, discretisation=1, beta_max=0.5), [0.5]),
    ],
)
def test_tables_follow_their_arguments(levels, betas):
    """With an offset of a half, f(0) = cos^2(pi / 6) = 3/4 and f(1) = 0; betas are clipped at beta_max."""
    torch.testing.assert_close(levels.betas(), torch.tensor(betas, dtype=torch.float64))


def test_schedules_of_the_same_numbers_are_the_same():
    assert schedule("vp-linear") == VPLinear(1e-4, 0.02, 1000) != VPLinear(1e-4, 0.03, 1000)
    assert schedule("rectified-flow-shifted") == RectifiedFlow(3.0)
    assert schedule("ve") == VE(0.01, 50.0)
    assert schedule("edm") == EDM(0.002, 80.0, 7.0)
