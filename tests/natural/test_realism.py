"""Realism: closed forms of the denoising error, uniform p-values, what it sees, and what is kept on disk."""

from __future__ import annotations

import pytest
import torch

import zmax
from zmax.core.errors import CapabilityError, InputError
from zmax.core.rng import stream
from zmax.natural import companion, known, realism, shelf
from zmax.natural.calibration import calibrated, two_sided, yeo_johnson
from zmax.natural.denoising import RATIOS, errors, own, time_of

MEANS = [[-1.0, 0.0, 0.0], [1.0, 0.5, 0.0]]
LAW = zmax.testing.gaussian_mixture(MEANS, (torch.eye(3) * 0.1).expand(2, 3, 3), [0.5, 0.5])
G = LAW.generator(steps=50)
WHITE = zmax.testing.gaussian_mixture([[0.0] * 8], torch.eye(8)[None], [1.0]).generator(steps=20)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZMAX_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def natural():
    return realism(G)


def drawn(n, seed=5):
    with torch.no_grad():
        return G.decode(G.space.latents(G.space.sample(n, stream(seed, "fresh"))))


def test_the_shared_error_of_white_data_is_the_score_exactly():
    """For N(0, I), D(x_t) = alpha x_t / (alpha^2 + sigma^2), so what noises of both signs share has no noise in it."""
    x = torch.randn(6, 8, generator=stream(0, "x"))
    denoiser = own(WHITE, x)
    noises = torch.randn(2, 3, 8, generator=stream(1, "eps"))
    shared, differ = errors(denoiser, x, noises)
    for level, (alpha, sigma) in enumerate(denoiser.levels):
        size = alpha**2 + sigma**2
        torch.testing.assert_close(shared[level], -(sigma**2) / size * x, atol=1e-4, rtol=1e-3)
        spread = (alpha * sigma / size) ** 2 * noises[level].square().mean()
        torch.testing.assert_close(differ[:, level].exp(), spread.expand(6), atol=1e-6, rtol=1e-2)


@pytest.mark.parametrize("schedule", ["vp-linear", "ve", "rectified-flow"])
def test_levels_are_ratios_of_noise_to_signal(schedule):
    model = zmax.diffusion(lambda x, t: x, shape=(2,), schedule=schedule, steps=10, modality="vector")
    t = torch.tensor([time_of(model, r) for r in RATIOS])
    ratio = model.schedule.sigma(t) / model.schedule.alpha(t)
    torch.testing.assert_close(ratio.float(), torch.tensor(RATIOS), rtol=0.02, atol=1e-4)


def test_realism_of_fresh_draws_is_uniform(natural):
    p = natural.of(drawn(2000)).sort().values
    distance = (p - (torch.arange(2000) + 0.5) / 2000).abs().max()
    assert float(distance) < 1.63 * (1 / 2000 + 1 / 200) ** 0.5  # of a law known by 200 draws, at one in a hundred
    assert 0.02 < float((p < 0.05).double().mean()) < 0.09


def test_what_lies_off_the_law_is_unusual_and_has_a_smooth_tail(natural):
    far = torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 3.0], [0.0, 0.0, 4.0]])
    p = natural.of(far)
    assert bool((p < 0.01).all())
    assert float(p[0]) > float(p[1]) > float(p[2]) > 0


def test_each_sample_is_judged_alone(natural):
    x = drawn(7)
    alone = torch.cat([natural.of(x[i : i + 1]) for i in range(7)])
    torch.testing.assert_close(natural.of(x), alone, rtol=1e-4, atol=1e-5)


def test_the_slope_of_z_is_its_derivative(natural):
    x = torch.tensor([[0.3, 0.2, 1.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(natural.z(x).sum(), x)
    step = 1e-2 * torch.eye(3)
    with torch.no_grad():
        around = [(natural.z(x + s) - natural.z(x - s)).float() / 2e-2 for s in step]
    torch.testing.assert_close(slope[0], torch.cat(around), rtol=0.05, atol=0.02)


def test_p_values_spend_four_fifths_above():
    z = torch.linspace(-5, 5, 200_001, dtype=torch.float64)
    p = two_sided(z)
    weight = torch.exp(-z.square() / 2)
    for level in (0.01, 0.05, 0.5):
        share = weight[p < level].sum() / weight.sum()
        above = weight[(p < level) & (z > 0)].sum() / weight.sum()
        assert float(share) == pytest.approx(level, abs=1e-3)
        assert float(above) == pytest.approx(0.8 * level, abs=1e-3)


def test_the_power_transform_makes_a_skewed_law_normal():
    x = torch.randn(4000, generator=stream(3, "x"), dtype=torch.float64)
    skewed = x.exp() - 1
    fit = calibrated([skewed.exp().sqrt()[:, None]], torch.zeros(4000, 1), slopes=False).law
    again = (yeo_johnson(x, float(fit[0])) - fit[1]) / fit[2]
    assert bool(torch.isfinite(again).all())
    assert 0 <= float(fit[0]) <= 2


def test_a_busy_sample_is_allowed_larger_errors_where_slopes_are():
    rng = stream(2, "busy")
    busy = torch.randn(500, 1, generator=rng)
    size = 1 + 0.1 * torch.rand(500, 4, generator=rng)
    shared = [torch.exp(busy / 2) * torch.randn(500, 4, generator=rng).sign() * size]
    with_slopes, without = (calibrated(shared, busy, slopes) for slopes in (True, False))
    rough = [torch.exp(torch.ones(1, 1)) * torch.ones(1, 4)]
    z_busy, z_calm = with_slopes.z(rough, torch.full((1, 1), 2.0)), with_slopes.z(rough, torch.zeros(1, 1))
    assert float(z_calm) > 3 > float(z_busy)
    assert float(without.z(rough, torch.zeros(1, 1))) == float(without.z(rough, torch.full((1, 1), 2.0)))


def test_only_an_affine_ending_can_be_inverted():
    x = drawn(20)
    bent = zmax.diffusion(G.denoise, shape=(3,), schedule=G.schedule, steps=5, finish=torch.tanh, modality="vector")
    straight = zmax.diffusion(
        G.denoise, shape=(3,), schedule=G.schedule, steps=5, finish=lambda x: 2 * x + 1, modality="vector"
    )
    assert own(G, x) is not None
    assert own(bent, x.clamp(-0.9, 0.9)) is None
    torch.testing.assert_close(own(straight, x).clean(2 * x + 1), x.float())


def test_texts_have_no_realism():
    texts = zmax.generator(lambda z: [str(row) for row in z.tolist()], shape=(3,), modality="text")
    with pytest.raises(CapabilityError, match="valid and distinct"):
        realism(texts)


def test_samples_of_another_shape_are_refused(natural):
    with pytest.raises(InputError, match="shape of a sample"):
        natural.of(torch.zeros(2, 5))


class TestCompanion:
    @pytest.fixture(autouse=True)
    def short(self, monkeypatch):
        monkeypatch.setattr(companion, "UPDATES", 300)

    @staticmethod
    def plane(seed=0):
        layer = torch.nn.Linear(2, 6)
        with torch.no_grad():
            layer.weight.normal_(generator=stream(seed, "weight"))
            layer.bias.zero_()
        return zmax.generator(layer, shape=(2,), modality="vector", name="plane")

    def test_it_learns_what_a_decoder_makes(self):
        flat = self.plane()
        natural = realism(flat)
        with torch.no_grad():
            x = flat.decode(flat.space.latents(flat.space.sample(300, stream(8, "fresh"))))
        assert float((natural.of(x) < 0.05).double().mean()) < 0.1
        off = x + 0.5 * x.std() * torch.randn(x.shape, generator=stream(9, "off"))
        assert float((natural.of(off) < 0.05).double().mean()) > 0.8

    def test_it_is_made_once_and_found_by_its_weights(self):
        flat = self.plane()
        made = realism(flat)
        x = torch.randn(5, 6, generator=stream(1, "x"))
        again = known(self.plane())
        assert again is not None
        assert torch.equal(again.of(x), made.of(x))
        assert known(self.plane(seed=1)) is None

    def test_a_generator_that_makes_other_samples_is_not_mistaken(self, monkeypatch):
        flat = self.plane()
        realism(flat)
        monkeypatch.setattr(type(flat), "decode", lambda self, z: torch.zeros(len(z), 6))
        assert known(flat) is None

    def test_images_of_any_size_are_brought_to_one_the_network_takes(self):
        small = companion.sized(torch.rand(2, 3, 130, 18))
        assert small.shape == (2, 3, 64, 16)
        assert companion.built(small.shape[1:])(small, torch.ones(2)).shape == small.shape


def test_a_generator_without_weights_is_not_kept():
    nameless = zmax.generator(lambda z: z, shape=(2,), modality="vector")
    assert shelf.file_of(nameless) is None
    assert known(nameless) is None
