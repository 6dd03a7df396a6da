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

pytestmark = pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning")  # of AudioLDM2's own

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
    "dance": [(2, 64)],
    "music": [(4, 20, 4)],
    "svd": [(3, 16, 16), (2, 4, 8, 8)],
    "cascade": [(4, 4, 4)] * 2,
}
SOUND, VIDEO = {"audio", "dance", "music"}, {"video", "svd"}
NO_PATH = {
    "masked": "changes latents between steps",
    "dance": "IPNDMScheduler",
    "svd": "several noises",
    "cascade": "not those of its scheduler",
}
NETWORKS = {"controlnet": ["ControlNetModel", "UNet2DConditionModel"], "audio": ["StableAudioDiTModel"]}
each = pytest.mark.parametrize("kind", LATENTS)
steered = pytest.mark.parametrize("kind", [kind for kind in LATENTS if kind not in NO_PATH])


@functools.cache
def made(kind: str) -> DiffusersGenerator:
    return from_diffusers(tiny_pipeline(kind), **given(kind))


def latents(generator, n: int):
    return generator.space.latents(generator.space.sample(n, torch.Generator().manual_seed(0)))


def noises(z) -> list[torch.Tensor]:
    if isinstance(z, torch.Tensor):
        return [z]
    return [z["noise"], *(z["injected"].unbind(1) if "injected" in z else list(z.values())[1:])]


@each
def test_latents_are_what_each_sample_has_of_its_own(kind):
    G = made(kind)
    assert [shape for shape, latent in G._run.draws if latent] == LATENTS[kind]
    assert [type(network).__name__ for network in G.networks] == NETWORKS.get(kind, [type(G.networks[0]).__name__])
    assert G.modality == ("audio" if kind in SOUND else "video" if kind in VIDEO else "image")
    assert G.differentiable == (kind != "dance")  # which gives arrays
    assert not G.remarks


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
            shown = pipe(**options, **({} if kind == "dance" else {"output_type": "np"}))
        own = torch.as_tensor(shown[0]).movedim(-1, -3) if kind not in SOUND else torch.as_tensor(shown[0])
        torch.testing.assert_close(batch[i : i + 1], own, atol=1e-3, rtol=1e-3)
    assert float((batch[0] - batch[1]).abs().max()) > 0.05


@each
def test_search_and_noise_optimisation_beat_the_prior(kind):
    G, S = made(kind), zmax.score(level, differentiable=True, name="level")
    with torch.no_grad():
        prior = level(G.decode(latents(G, 12)))
    method = "gradient" if kind in NO_PATH else "dno"
    if G.differentiable:
        climbed = zmax.maximize(G, S, method, budget=24, seed=0, params={"batch": 4})
        assert climbed.best.score > float(prior.mean() + prior.std())
        assert climbed.ledger.failures == 0
    evolved = zmax.maximize(G, S, "snes", budget=64, batch_size=32, seed=0)
    assert evolved.best.score > float(prior.mean() + prior.std())
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


@pytest.mark.parametrize("kind", NO_PATH)
def test_a_pipeline_without_a_path_names_itself_or_its_part(kind):
    name = "" if kind == "dance" else f"{type(tiny_pipeline(kind)).__name__}'"
    with pytest.raises(CapabilityError, match=rf"{name}[\s\S]*{NO_PATH[kind]}"):
        made(kind).stochastic()


def test_two_pictures_are_a_choice_as_two_prompts_are():
    picture = given("svd")["image"]
    G = from_diffusers(tiny_pipeline("svd"), **given("svd") | {"image": [picture, picture.rotate(90)]})
    assert [block.name for block in G.space.blocks][-1] == "prompt"
    z = {name: value.expand(2, *value.shape[1:]) for name, value in latents(G, 1).items()}
    with torch.no_grad():
        one, other = G.decode(z | {"prompt": torch.eye(2)})
    assert not torch.allclose(one, other, atol=1e-3)


def test_rows_that_go_one_by_one_are_told_of_in_the_terminal_and_in_every_result(tmp_path):
    pipe = tiny_pipeline("ddpm")
    call = type(pipe).__call__

    class One(type(pipe)):
        def __call__(self, batch_size=1, num_inference_steps=1, output_type="pt", return_dict=True):
            if batch_size > 1:
                raise ValueError("one at a time")
            options = {"output_type": output_type, "return_dict": return_dict}
            return call(self, batch_size, num_inference_steps=num_inference_steps, **options)

    pipe.__class__ = One
    said = r"batches of the pipeline 'One' fail \(ValueError: one at a time\); rows go one by one"
    with pytest.warns(zmax.core.errors.ZmaxWarning, match=said):
        G = from_diffusers(pipe, num_inference_steps=1)
    r = zmax.maximize(G, level, "random", budget=12, out=tmp_path / "run")
    assert [line.startswith("batches of the pipeline 'One' fail") for line in r.warnings] == [True]
    assert zmax.load_result(tmp_path / "run").warnings == r.warnings
    assert "batches of the pipeline" in r.report().read_text()


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
