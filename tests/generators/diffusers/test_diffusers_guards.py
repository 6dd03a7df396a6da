"""What pipelines do that cannot be wrapped, or that changes after they were, is said; nothing goes wrong in silence."""

import types

import pytest
import torch

import zmax
from tests.support.pipelines import RED, given, redness
from zmax.core.errors import CapabilityError, InputError
from zmax.generators.diffusers.adapter import from_diffusers
from zmax.generators.diffusers.draws import Draws
from zmax.generators.diffusers.schedulers import Brownian
from zmax.generators.diffusers.standins import StandIn
from zmax.testing import tiny_pipeline

STEPS = {"num_inference_steps": 2}


def latents(generator, n: int = 3):
    return generator.space.latents(generator.space.sample(n, torch.Generator().manual_seed(0)))


def decoded(generator, n: int = 3):
    with torch.no_grad():
        return generator.decode(latents(generator, n))


def encoded(pipe, text):
    with torch.no_grad():
        return pipe.encode_prompt(text, "cpu", 1, True)


def test_lists_of_negative_prompts_belong_to_the_prompts():
    texts, against = [RED, "a blue face"], ["blue", "red"]
    both = from_diffusers(tiny_pipeline("stable-diffusion"), texts, negative_prompt=against, **STEPS)
    z = latents(both, 6)
    chosen = z["prompt"].argmax(1)
    with torch.no_grad():
        images = both.decode(z)
        for i in range(2):
            one = from_diffusers(tiny_pipeline("stable-diffusion"), texts[i], negative_prompt=[against[i]], **STEPS)
            torch.testing.assert_close(images[chosen == i], one.decode(z["noise"][chosen == i]), atol=1e-4, rtol=0)
    with pytest.raises(InputError, match="one for each prompt"):
        from_diffusers(tiny_pipeline("stable-diffusion"), texts, negative_prompt=["a", "red", "hat"], **STEPS)


def test_embeddings_of_two_prompts_are_a_choice_between_them():
    pipe = tiny_pipeline("stable-diffusion")
    known = [encoded(pipe, text) for text in (RED, "a blue face")]
    options = {"prompt_embeds": torch.cat([a for a, _ in known]), "negative_prompt_embeds": known[0][1], **STEPS}
    G, texts = from_diffusers(pipe, **options), from_diffusers(pipe, [RED, "a blue face"], **STEPS)
    assert [block.name for block in G.space.blocks] == ["noise", "prompt"]
    torch.testing.assert_close(decoded(G, 6), decoded(texts, 6), atol=1e-4, rtol=0)


def test_labels_are_a_choice_among_them():
    G = from_diffusers(tiny_pipeline("dit"), class_labels=[3, 5], **STEPS)
    z = latents(G, 6)
    chosen = z["prompt"].argmax(1)
    assert set(chosen.tolist()) == {0, 1}
    with torch.no_grad():
        images = G.decode(z)
        for i, label in enumerate((3, 5)):
            alone = from_diffusers(tiny_pipeline("dit"), class_labels=label, **STEPS)
            torch.testing.assert_close(images[chosen == i], alone.decode(z["noise"][chosen == i]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("key", ["num_images_per_prompt", "num_videos_per_prompt", "num_waveforms_per_prompt"])
def test_several_samples_a_prompt_are_left_to_zmax(key):
    with pytest.raises(InputError, match="left to zmax"):
        from_diffusers(tiny_pipeline("stable-diffusion"), RED, **{key: 2})


@pytest.fixture
def torchsde(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchsde", types.ModuleType("torchsde"))


@pytest.mark.parametrize(
    ("module", "name", "kind", "options", "draws"),
    [
        ("scheduling_dpmsolver_sde", "DPMSolverSDEScheduler", "stable-diffusion", {"prompt": RED}, 5),
        ("scheduling_cosine_dpmsolver_multistep", "CosineDPMSolverMultistepScheduler", "audio", given("audio"), 3),
    ],
)
def test_noise_of_a_brownian_tree_is_latent(torchsde, module, name, kind, options, draws):
    scheduler = getattr(__import__(f"diffusers.schedulers.{module}", fromlist=[name]), name)
    pipe = tiny_pipeline(kind)
    pipe.scheduler = scheduler() if kind == "audio" else scheduler.from_config(pipe.scheduler.config)
    G = from_diffusers(pipe, **{**options, "num_inference_steps": 3})
    z = latents(G)
    assert sum(latent for _, latent in G._run.draws) == draws
    with torch.no_grad():
        batch = G.decode(z)
        rows = torch.cat([G.decode({k: v[i : i + 1] for k, v in z.items()}) for i in range(3)])
        other = G.decode({**z, "injected": -z["injected"]})
    torch.testing.assert_close(batch, rows, atol=1e-3, rtol=1e-3)
    assert float((batch - other).abs().max()) > 0.01
    assert [block.name for block in G.stochastic().space.blocks] == ["noise", "injected"]


def test_increments_of_a_brownian_motion_have_its_law():
    rng = torch.Generator().manual_seed(0)
    with Draws(lambda shape: torch.randn(shape, generator=rng)):
        path = Brownian(torch.zeros(100_000, dtype=torch.float64))
        whole, half, rest, beyond = path(4.0, 1.0), path(4.0, 2.0), path(2.0, 1.0), path(1.0, 0.5)
    found = torch.corrcoef(torch.stack([whole, half, rest, beyond]))
    two, one = (2 / 3) ** 0.5, (1 / 3) ** 0.5
    expected = torch.tensor([[1, two, one, 0], [two, 1, 0, 0], [one, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=0.015, rtol=0)
    torch.testing.assert_close(torch.stack([whole, half, rest]).std(1), torch.ones(3).double(), atol=0.015, rtol=0)


def test_stand_ins_are_of_the_class_of_what_they_stand_for():
    real = torch.nn.Linear(2, 2)
    stand_in = StandIn(real, lambda function, x: function(x) + 1)
    assert isinstance(stand_in, torch.nn.Linear)
    x = torch.ones(1, 2)
    assert torch.equal(stand_in(x), real(x) + 1)
    assert torch.equal(stand_in.forward(x), real(x) + 1)
    assert stand_in.weight is real.weight


@pytest.mark.parametrize(("part", "where"), [("unet", "inside its unet"), ("vae", "inside its vae")])
def test_dropout_is_no_latent_and_is_said(part, where):
    pipe = tiny_pipeline("stable-diffusion")
    for module in getattr(pipe, part).modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    getattr(pipe, part).train()
    before = torch.get_rng_state()
    with pytest.raises(CapabilityError, match=rf"StableDiffusionPipeline'[\s\S]*{where}[\s\S]*evaluation mode"):
        from_diffusers(pipe, RED, **STEPS)
    assert torch.equal(before, torch.get_rng_state())


def test_labels_that_a_pipeline_draws_are_said():
    from diffusers import CMStochasticIterativeScheduler, ConsistencyModelPipeline

    unet = tiny_pipeline("ddpm").unet
    settings = {key: value for key, value in unet.config.items() if not key.startswith("_")}
    labelled = type(unet)(**{**settings, "num_class_embeds": 4}).eval().requires_grad_(False)
    pipe = ConsistencyModelPipeline(labelled, CMStochasticIterativeScheduler())
    with pytest.raises(CapabilityError, match=r"in its own code[\s\S]*argument of the call"):
        from_diffusers(pipe, num_inference_steps=1)
    assert decoded(from_diffusers(pipe, num_inference_steps=1, class_labels=2)).shape == (3, 3, 8, 8)


def test_changed_text_encoders_take_effect():
    pipe = tiny_pipeline("stable-diffusion")
    G = from_diffusers(pipe, RED, **STEPS)
    before = decoded(G)
    with torch.no_grad():
        for weight in pipe.text_encoder.parameters():
            weight.mul_(0.5)
    inplace = decoded(G)
    assert float((inplace - before).abs().max()) > 0.01
    torch.testing.assert_close(inplace, decoded(from_diffusers(pipe, RED, **STEPS)))
    pipe.text_encoder = tiny_pipeline("stable-diffusion").text_encoder
    torch.testing.assert_close(decoded(G), before)


@pytest.mark.parametrize("part", ["scheduler", "unet"])
def test_swapped_parts_are_said(part):
    pipe, other = tiny_pipeline("stable-diffusion"), tiny_pipeline("stable-diffusion")
    G = from_diffusers(pipe, RED, **STEPS)
    path = G.stochastic()
    setattr(pipe, part, getattr(other, part))
    for use in (G, path):
        with pytest.raises(InputError, match=rf"whose {part} changed[\s\S]*wrap it again"):
            decoded(use, 1)


def test_changed_settings_of_the_scheduler_are_said():
    pipe = tiny_pipeline("stable-diffusion")
    G = from_diffusers(pipe, RED, **STEPS)
    pipe.scheduler.register_to_config(prediction_type="v_prediction")
    with pytest.raises(InputError, match="whose scheduler changed"):
        decoded(G, 1)


def doubled(pipe, step, t, tensors):
    return {"latents": 2 * tensors["latents"]}


def in_place(pipe, step, t, tensors):
    tensors["latents"].add_(1.0)
    return tensors


def unguided(pipe, step, t, tensors):
    pipe._guidance_scale = 0.0
    return {}


def shown(pipe, step, t, tensors):
    return {"latents": tensors["latents"]}


@pytest.mark.parametrize("callback", [doubled, in_place, unguided])
def test_callbacks_that_change_what_a_pipeline_does_are_no_path(callback):
    pipe = tiny_pipeline("stable-diffusion")
    G = from_diffusers(pipe, RED, **STEPS, callback_on_step_end=callback)
    if callback is not unguided:
        assert float((decoded(G) - decoded(from_diffusers(pipe, RED, **STEPS))).abs().max()) > 0.01
    with pytest.raises(CapabilityError, match="callback_on_step_end changes"):
        G.stochastic()
    with pytest.raises(CapabilityError, match="callback_on_step_end changes"):
        zmax.maximize(G, zmax.score(redness, differentiable=False), "fk", budget=16)


def test_callbacks_that_only_look_leave_the_path():
    assert from_diffusers(tiny_pipeline("stable-diffusion"), RED, **STEPS, callback_on_step_end=shown).stochastic()


def test_a_callback_of_diffusers_that_ends_guidance_is_no_path():
    from diffusers.callbacks import SDCFGCutoffCallback

    ends = SDCFGCutoffCallback(cutoff_step_ratio=0.5, cutoff_step_index=None)
    G = from_diffusers(tiny_pipeline("stable-diffusion"), RED, **STEPS, callback_on_step_end=ends)
    assert decoded(G).shape == (3, 3, 16, 16)
    with pytest.raises(CapabilityError, match="callback_on_step_end changes"):
        G.stochastic()


def test_rows_go_one_by_one_where_batches_fail_and_that_is_said():
    def alone(module, args):
        if len(args[0]) > 1:
            raise RuntimeError("one picture at a time")

    plain, pipe = tiny_pipeline("stable-diffusion"), tiny_pipeline("stable-diffusion")
    pipe.vae.decoder.register_forward_pre_hook(alone)
    with pytest.warns(UserWarning, match=r"StableDiffusionPipeline' fail \(.*one picture.*; rows go one by one"):
        G = from_diffusers(pipe, RED, **STEPS)
    torch.testing.assert_close(decoded(G), decoded(from_diffusers(plain, RED, **STEPS)), atol=1e-4, rtol=0)
    r = zmax.maximize(G, zmax.score(redness, differentiable=False), "random", budget=16, seed=0)
    assert (r.ledger.decodes, r.ledger.failures) == (r.ledger.score_calls + 1, 0)  # one of the first again, alone
    path = G.stochastic()
    assert decoded(path).shape == (3, 3, 16, 16)


def test_errors_of_the_pipeline_are_errors_of_input():
    with pytest.raises(InputError, match=r"StableDiffusionPipeline' raises[\s\S]*divisible by 8[\s\S]*same arguments"):
        from_diffusers(tiny_pipeline("stable-diffusion"), RED, height=17, width=16)


def test_a_saved_pipeline_is_recognised_by_its_folder(tmp_path):
    tiny_pipeline("stable-diffusion").save_pretrained(tmp_path / "mine")
    spec = f"{tmp_path / 'mine'}?prompt={RED}&num_inference_steps=2"
    G = zmax.load_generator(spec)
    assert G.source == f"diffusers:{spec}"
    torch.testing.assert_close(decoded(G), decoded(from_diffusers(tiny_pipeline("stable-diffusion"), RED, **STEPS)))


def test_a_bare_pipeline_points_to_its_wrapper():
    with pytest.raises(InputError, match="from_diffusers"):
        zmax.maximize(tiny_pipeline("ddpm"), lambda x: x.mean((1, 2, 3)), budget=4)


def test_nothing_is_intercepted_inside_the_networks_and_the_device_is_looked_up_once(monkeypatch):
    pipe, answered = tiny_pipeline("stable-diffusion"), Draws.__torch_function__
    calls = {"all": 0, "inside": 0, "looked up": 0}
    inside = []

    def counted(self, *args, **kwargs):
        calls["all"] += 1
        calls["inside"] += bool(inside)
        return answered(self, *args, **kwargs)

    def looked(self):
        calls["looked up"] += 1
        return torch.device("cpu")

    monkeypatch.setattr(type(pipe), "_execution_device", property(looked))
    G = from_diffusers(pipe, RED, num_inference_steps=4)
    assert G.stochastic()
    monkeypatch.setattr(Draws, "__torch_function__", counted)
    for part in (pipe.unet, pipe.vae.decoder):
        part.register_forward_pre_hook(lambda *_: inside.append(1))
        part.register_forward_hook(lambda *_: inside.clear())
    z = latents(G)
    for _ in range(2):
        decoded(G)
        G.denoise(z, torch.ones(3))
    assert calls["inside"] == 0
    assert 0 < calls["all"] < 1200
    assert calls["looked up"] == 1
