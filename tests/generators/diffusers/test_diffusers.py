"""Pipelines of diffusers as generators: the pipeline's own images, gradients through all of it, counted evaluations."""

import functools

import pytest
import torch

import zmax
from tests.support.pipelines import redness
from zmax.core.budget import Ledger
from zmax.generators.diffusers.adapter import DiffusersGenerator, from_diffusers
from zmax.run.meter import Meter
from zmax.testing import GeneratorConformance, tiny_pipeline

RED = "a red hat"
CASES = {
    "ddpm": {"num_inference_steps": 3},
    "stable-diffusion": {"prompt": RED, "num_inference_steps": 3, "negative_prompt": "blue"},
    "sdxl": {"prompt": RED, "num_inference_steps": 2},
    "turbo": {"prompt": RED, "num_inference_steps": 1, "guidance_scale": 0.0},
    "lcm": {"prompt": RED, "num_inference_steps": 2},
    "pixart": {"prompt": RED, "num_inference_steps": 2, "use_resolution_binning": False, "clean_caption": False},
    "sd3": {"prompt": RED, "num_inference_steps": 2},
    "flux": {"prompt": RED, "num_inference_steps": 2, "height": 16, "width": 16, "max_sequence_length": 8},
}
GUIDED = {"stable-diffusion", "sdxl", "pixart", "sd3"}
each = pytest.mark.parametrize("kind", CASES)


@functools.cache
def made(kind: str, dtype: torch.dtype = torch.float32) -> DiffusersGenerator:
    return from_diffusers(tiny_pipeline(kind, dtype=dtype), **CASES[kind])


def points(generator, n: int = 3, seed: int = 0) -> torch.Tensor:
    return generator.space.sample(n, torch.Generator().manual_seed(seed))


class TestPixels(GeneratorConformance):
    n = 3
    tolerance = 1e-4

    def make(self):
        return made("ddpm")


class TestPacked(GeneratorConformance):
    n = 3
    tolerance = 1e-4

    def make(self):
        return made("flux")


class TestPath(GeneratorConformance):
    n = 3
    tolerance = 1e-4

    def make(self):
        return made("sd3").stochastic(0.7)


@each
def test_decoding_is_deterministic_and_does_not_depend_on_the_batch(kind):
    G = made(kind)
    u, before = points(G), torch.get_rng_state()
    with torch.no_grad():
        whole, again = (G.decode(G.space.latents(u)) for _ in range(2))
        parts = torch.cat([G.decode(G.space.latents(u[i : i + 1])) for i in range(3)])
        turned = G.decode(G.space.latents(u.flip(0))).flip(0)
    assert torch.equal(whole, again)
    assert torch.equal(before, torch.get_rng_state())
    assert float((whole - parts).abs().max()) < 1e-4
    assert float((whole - turned).abs().max()) < 1e-4
    assert float((whole[0] - whole[1]).abs().max()) > 0.01


@each
def test_images_are_those_of_the_pipelines_own_call(kind):
    G = made(kind)
    options = {"num_images_per_prompt": 2} if kind != "ddpm" else {"batch_size": 2}
    rng = torch.Generator().manual_seed(5)
    own = tiny_pipeline(kind)(**CASES[kind], **options, generator=rng, output_type="pt").images
    rng = torch.Generator().manual_seed(5)
    noises = [torch.randn(2, *shape, generator=rng) for shape, matters in G._run.draws if matters]
    z = noises[0] if len(noises) == 1 else {"noise": noises[0], "injected": torch.stack(noises[1:], 1)}
    torch.testing.assert_close(G.decode(z).float(), torch.as_tensor(own), atol=1e-4, rtol=0)


@each
def test_gradients_agree_with_finite_differences(kind):
    """In double precision throughout, where the pipeline does not go through single precision itself."""
    G = made(kind, torch.float64)
    single = kind in {"sdxl", "turbo", "pixart", "sd3", "flux"}
    step, tolerance = (1e-3, 1e-3) if single else (1e-4, 1e-6)
    u, d = points(G, 2).double(), points(G, 2, seed=1).double()

    def S(u):
        return torch.tanh(4 * redness(G.decode(G.space.latents(u)))).sum()

    (grad,) = torch.autograd.grad(S(u.requires_grad_()), u)
    with torch.no_grad():
        slope = (S(u + step * d) - S(u - step * d)) / (2 * step)
    assert float((slope - (grad * d).sum()).abs() / grad.norm()) < tolerance


@each
def test_every_evaluation_of_the_network_is_counted(kind):
    G, ledger = made(kind), Ledger()
    steps, rows = CASES[kind]["num_inference_steps"], 3 * (2 if kind in GUIDED else 1)
    u = points(G).requires_grad_()
    with Meter(G.networks, ledger):
        G.decode(G.space.latents(u)).sum().backward()
        assert (ledger.nfe, ledger.nfe_backward) == (steps * rows, steps * rows)
        x_0 = G.denoise(torch.zeros(3, *G.space.blocks[0].shape), torch.full((3,), 0.5))
        assert ledger.nfe == steps * rows + rows
        G.finish(x_0)
        assert ledger.nfe == steps * rows + rows
        path = G.stochastic()
        with torch.no_grad():
            path.decode(path.space.latents(points(path)))
        assert ledger.nfe == (2 * steps + 1) * rows


@each
def test_maximizing_beats_the_prior(kind):
    G = made(kind)
    with torch.no_grad():
        prior = redness(G.decode(G.space.latents(points(G, 32))))
    S = zmax.score(redness, differentiable=True, name="redness")
    climbed = zmax.maximize(G, S, method="gradient", budget=32, batch_size=8, seed=0)
    evolved = zmax.maximize(G, S, method="snes", budget=96, batch_size=32, seed=0)
    assert climbed.best.score > float(prior.max() + prior.std() / 2)
    assert evolved.best.score > float(prior.mean() + 2 * prior.std())


def first_step(pipe, **options):
    """Run the pipeline and return what its scheduler was given and gave in the first step."""
    seen, step = [], pipe.scheduler.step

    @functools.wraps(step)
    def spy(output, t, sample, *args, **kwargs):
        out = step(output, t, sample, *args, **kwargs)
        seen.append((output, sample, out if isinstance(out, tuple) else (out.prev_sample, out.pred_original_sample)))
        return out

    pipe.scheduler.step = spy
    pipe(**options, generator=torch.Generator().manual_seed(3), output_type="pt")
    return seen[0]


@each
def test_denoise_predicts_what_the_pipeline_predicts_in_its_first_step(kind):
    pipe, G = tiny_pipeline(kind), made(kind)
    output, sample, out = first_step(pipe, **CASES[kind])
    t = G.stochastic().space.path.times[:1]
    if kind in {"sd3", "flux"}:
        expected = sample - pipe.scheduler.sigmas[0] * output
    elif kind == "pixart":
        pipe.scheduler._step_index = 0
        expected = pipe.scheduler.convert_model_output(output, sample=sample)
    else:
        expected = out[1]
    if kind in {"sdxl", "turbo"}:  # Euler's samples are x_t / alpha_t
        sample = sample * G.schedule.alpha(t).float()
    if kind == "flux":
        sample, expected = (pipe._unpack_latents(x, 16, 16, pipe.vae_scale_factor) for x in (sample, expected))
    x_0 = G.denoise(sample, t)
    torch.testing.assert_close(x_0, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_the_path_without_fresh_noise_is_the_flows_own_sampler(kind):
    G = made(kind)
    path, u = G.stochastic(0.0), points(G)
    with torch.no_grad():
        own, ours = G.decode(G.space.latents(u)), path.decode(path.space.latents(u))
    torch.testing.assert_close(ours, own, atol=1e-4, rtol=0)


def test_rows_may_be_at_different_times():
    G = made("stable-diffusion")
    x, t = points(G).reshape(-1, 4, 8, 8), G.schedule.times(3)[[2, 0, 2]]
    with torch.no_grad():
        alone = torch.cat([G.denoise(x[i : i + 1], t[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(G.denoise(x, t), alone, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(G.denoise(x.roll(-1, 0), t.roll(-1)), alone.roll(-1, 0), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["stable-diffusion", "flux"])
def test_half_precision(kind):
    G, full = made(kind, torch.bfloat16), made(kind)
    u = points(G).requires_grad_()
    images = G.decode(G.space.latents(u))
    assert images.dtype == torch.float32
    assert float((images - full.decode(full.space.latents(u))).detach().abs().mean()) < 0.02
    (grad,) = torch.autograd.grad(redness(images).sum(), u)
    assert bool(torch.isfinite(grad).all() and (grad != 0).any())
    path = G.stochastic()
    with torch.no_grad():
        assert path.decode(path.space.latents(points(path))).dtype == torch.float32
