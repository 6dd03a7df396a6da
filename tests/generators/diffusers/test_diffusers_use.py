"""Pipelines of diffusers in use: prompts, previews, loading, and what cannot be had."""

import sys

import pytest
import torch

import zmax
from zmax.core.errors import CapabilityError, InputError, MissingExtraError
from zmax.generators.diffusers.adapter import from_diffusers
from zmax.testing import tiny_pipeline

RED = "a red hat"
SDXL = {"prompt": RED, "num_inference_steps": 2}


def points(generator, n: int = 3) -> torch.Tensor:
    return generator.space.sample(n, torch.Generator().manual_seed(0))


def test_a_batch_may_hold_several_prompts_and_each_is_encoded_once():
    pipe, prompts = tiny_pipeline("stable-diffusion"), [RED, "a blue face"]
    options = {"num_inference_steps": 2, "negative_prompt": "hat"}
    calls = []
    pipe.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    G = from_diffusers(pipe, prompts, **options)
    z = G.space.latents(points(G, 6))
    chosen = z["prompt"].argmax(1)
    assert set(chosen.tolist()) == {0, 1}
    with torch.no_grad():
        images = G.decode(z)
        assert len(calls) == 4  # each with the negative prompt
        for i, prompt in enumerate(prompts):
            alone = from_diffusers(tiny_pipeline("stable-diffusion"), prompt, **options)
            torch.testing.assert_close(images[chosen == i], alone.decode(z["noise"][chosen == i]), atol=1e-4, rtol=0)
        G.decode(z)
    assert len(calls) == 4
    with pytest.raises(CapabilityError, match="one generator a prompt"):
        G.stochastic()


def test_prompts_are_equally_likely():
    G = from_diffusers(tiny_pipeline("lcm"), ["a", "red", "hat"], num_inference_steps=1)
    chosen = G.space.latents(points(G, 3000))["prompt"].argmax(1).bincount()
    assert float((chosen / 3000 - 1 / 3).abs().max()) < 0.04


def test_previews_by_the_pipelines_callback_and_finish():
    seen = []

    def show(pipe, step, t, tensors):
        seen.append(G.finish(tensors["latents"]))
        return {}

    G = from_diffusers(tiny_pipeline("stable-diffusion"), RED, num_inference_steps=3, callback_on_step_end=show)
    assert not seen
    with torch.no_grad():
        images = G.decode(points(G).reshape(-1, 4, 8, 8))
    assert len(seen) == 3
    torch.testing.assert_close(seen[-1], images, atol=1e-4, rtol=0)


def test_the_pipeline_stays_as_it_is():
    pipe = tiny_pipeline("sdxl")
    before, scheduler = dict(vars(pipe)), dict(vars(pipe.scheduler))
    G = from_diffusers(pipe, **SDXL)
    G.stochastic().finish(G.denoise(torch.zeros(1, 4, 8, 8), torch.ones(1)))
    assert before.keys() == vars(pipe).keys()
    assert all(vars(pipe)[key] is before[key] for key in before)
    assert all(vars(pipe.scheduler)[key] is scheduler[key] for key in scheduler)


def test_a_safety_checker_means_no_gradients():
    pipe = tiny_pipeline("stable-diffusion")
    pipe.run_safety_checker = lambda image, device, dtype: (image.detach(), [False] * len(image))
    pipe.register_modules(safety_checker=pipe.text_encoder)
    G = from_diffusers(pipe, RED, num_inference_steps=1)
    assert not G.differentiable
    assert G.decode(torch.zeros(2, 4, 8, 8)).shape == (2, 3, 16, 16)


@pytest.mark.parametrize(("kind", "error"), [("np", 1e-6), ("pil", 1 / 255)])
def test_pictures_that_are_no_tensors_are_those_of_the_tensors(kind, error):
    pipe, plain = tiny_pipeline("stable-diffusion"), tiny_pipeline("stable-diffusion")
    made = pipe.image_processor.postprocess
    pipe.image_processor.postprocess = lambda image, output_type, **rest: made(image.detach(), kind, **rest)
    z = points(G := from_diffusers(pipe, RED, num_inference_steps=1)).reshape(-1, 4, 8, 8)
    images = from_diffusers(plain, RED, num_inference_steps=1).decode(z)
    assert not G.differentiable
    torch.testing.assert_close(G.decode(z), images.detach(), atol=error, rtol=0)


def test_load_by_folder_with_arguments(tmp_path):
    tiny_pipeline("sdxl").save_pretrained(tmp_path)
    spec = f"diffusers:{tmp_path}?prompt={RED}&num_inference_steps=2"
    G, expected = zmax.load_generator(spec), from_diffusers(tiny_pipeline("sdxl"), **SDXL)
    assert (G.source, G.name) == (spec, tmp_path.name)
    z = G.space.latents(points(G))
    with torch.no_grad():
        torch.testing.assert_close(G.decode(z), expected.decode(z), atol=1e-5, rtol=0)


@pytest.mark.parametrize("spec", ["diffusers", "diffusers:", "diffusers:no/such/folder/at/all"])
def test_nothing_to_load(spec, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="pipeline"):
        zmax.load_generator(spec)


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"zmax\[diffusers\]"):
        zmax.load_generator("diffusers:somewhere")
    with pytest.raises(MissingExtraError, match=r"zmax\[diffusers\]"):
        tiny_pipeline("ddpm")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"latents": 1}, "left to zmax"), ({"num_inference_step": 1}, "num_inference_steps"), ({"prompt": "x"}, "prompt")],
)
def test_arguments_that_the_pipeline_does_not_take(options, message):
    with pytest.raises(InputError, match=message):
        from_diffusers(tiny_pipeline("ddpm"), **options)


def test_no_such_tiny_pipeline():
    with pytest.raises(InputError, match="stable-diffusion"):
        tiny_pipeline("sd")
