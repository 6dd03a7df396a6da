"""Pipelines that set out from more than a text, or make no pictures: own samples, own latents, own path."""

import functools

import pytest
import torch

import zmax
from tests.support.pipelines import given, level
from zmax.core.errors import CapabilityError
from zmax.generators.diffusers.adapter import DiffusersGenerator, from_diffusers
from zmax.generators.diffusers.draws import Draws, Replay
from zmax.testing import tiny_pipeline

LATENTS = {
    "controlnet": [(4, 8, 8)],
    "img2img": [(4, 8, 8)],
    "refiner": [(4, 8, 8)],
    "inpaint": [(4, 8, 8)],
    "masked": [(4, 8, 8)],
    "dit": [(4, 8, 8)],
    "kandinsky": [(4, 8, 8)] * 2,
    "audio": [(4, 16)],
    "video": [(4, 2, 2, 2)],
}
NETWORKS = {"controlnet": ["ControlNetModel", "UNet2DConditionModel"], "audio": ["StableAudioDiTModel"]}
each = pytest.mark.parametrize("kind", LATENTS)
steered = pytest.mark.parametrize("kind", [kind for kind in LATENTS if kind != "masked"])


@functools.cache
def made(kind: str) -> DiffusersGenerator:
    return from_diffusers(tiny_pipeline(kind), **given(kind))


def latents(generator, n: int):
    return generator.space.latents(generator.space.sample(n, torch.Generator().manual_seed(0)))


def noises(z) -> list[torch.Tensor]:
    return [z] if isinstance(z, torch.Tensor) else [z["noise"], *z["injected"].unbind(1)]


@each
def test_latents_are_what_each_sample_has_of_its_own(kind):
    G = made(kind)
    assert [shape for shape, latent in G._run.draws if latent] == LATENTS[kind]
    assert [type(network).__name__ for network in G.networks] == NETWORKS.get(kind, [type(G.networks[0]).__name__])
    assert G.modality == ("other" if kind in {"audio", "video"} else "image")
    assert G.differentiable


@each
def test_a_sample_is_the_pipelines_own_alone_and_in_a_batch(kind):
    G, pipe = made(kind), tiny_pipeline(kind)
    z = latents(G, 3)
    with torch.no_grad():
        batch = G.decode(z)
    for i in range(3):
        used = iter([noise[i : i + 1] for noise in noises(z)])
        every = [next(used) if latent else G._run.found.held(j, 1) for j, (_, latent) in enumerate(G._run.draws)]
        options = given(kind) | ({"class_labels": [3]} if kind == "dit" else {})
        with Draws(Replay(every)):
            own = torch.as_tensor(pipe(**options, output_type="np")[0])
        own = own.movedim(-1, -3) if kind != "audio" else own
        torch.testing.assert_close(batch[i : i + 1], own, atol=1e-3, rtol=1e-3)
    assert float((batch[0] - batch[1]).abs().max()) > 0.05


@each
def test_search_and_noise_optimisation_beat_the_prior(kind):
    G, S = made(kind), zmax.score(level, differentiable=True, name="level")
    with torch.no_grad():
        prior = level(G.decode(latents(G, 12)))
    method = "gradient" if kind == "masked" else "dno"
    climbed = zmax.maximize(G, S, method, budget=24, seed=0, params={"batch": 4})
    evolved = zmax.maximize(G, S, "snes", budget=64, batch_size=32, seed=0)
    assert climbed.best.score > float(prior.mean() + prior.std())
    assert evolved.best.score > float(prior.mean() + prior.std())
    assert climbed.ledger.failures == 0
    assert evolved.ledger.failures == 0
    assert evolved.ledger.decodes < 1.2 * evolved.ledger.score_calls


@steered
def test_particles_steer_it(kind):
    G, S = made(kind), zmax.score(level, differentiable=True, name="level")
    r = zmax.maximize(G, S, "fk", budget=32, seed=0)
    path = G.stochastic()
    z = {name: value[None] for name, value in r.best.z.items()}
    with torch.no_grad():
        torch.testing.assert_close(path.decode(z)[0], r.best.sample, atol=1e-3, rtol=1e-3)
        prior = level(path.decode(latents(path, 16)))
    assert r.best.score > float(prior.mean() + prior.std())
    assert r.ledger.failures == 0


def test_a_pipeline_that_masks_its_latents_at_each_step_says_that_it_has_no_path():
    with pytest.raises(CapabilityError, match=r"StableDiffusionInpaintPipeline'[\s\S]*changes latents between steps"):
        made("masked").stochastic()


def test_where_a_picture_is_masked_it_stays_as_it_was():
    G = made("masked")
    with torch.no_grad():
        a, b = G.decode(latents(G, 2))
    assert float((a - b)[:, 12:].abs().max()) < 0.1 * float((a - b)[:, :8].abs().max())


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_the_path_from_a_picture_without_fresh_noise_is_the_flows_own_sampler(kind):
    import diffusers

    name = {"sd3": "StableDiffusion3Img2ImgPipeline", "flux": "FluxImg2ImgPipeline"}[kind]
    parts = {key: part for key, part in tiny_pipeline(kind).components.items() if part is not None or "_3" in key}
    options = {**given("img2img"), "num_inference_steps": 4, "height": 16, "width": 16, "max_sequence_length": 8}
    G = from_diffusers(getattr(diffusers, name)(**parts), **options)
    path, z = G.stochastic(0.0), latents(G, 3)
    assert path.space.path.steps == 2
    with torch.no_grad():
        torch.testing.assert_close(path.decode(z), G.decode(z), atol=1e-4, rtol=0)


def test_a_drawing_that_guides_only_some_steps_is_no_path():
    G = from_diffusers(tiny_pipeline("controlnet"), **given("controlnet"), control_guidance_end=0.5)
    assert G.decode(latents(G, 1)).shape == (1, 3, 16, 16)
    with pytest.raises(CapabilityError, match="control_guidance_end"):
        G.stochastic()


def test_pictures_are_in_the_range_that_the_pipeline_shows_them_in():
    G = made("kandinsky")
    with torch.no_grad():
        images = G.decode(latents(G, 4))
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1
    raw = tiny_pipeline("kandinsky")(**given("kandinsky"), output_type="pt").images
    assert float(raw.min()) < 0
