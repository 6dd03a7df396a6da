"""What a pipeline as a generator is made of: intercepted draws, schedulers of every family, noise levels."""

import pytest
import torch

from zmax.core.errors import CapabilityError, ShapeError
from zmax.generators.diffusers.adapter import from_diffusers
from zmax.generators.diffusers.draws import Draws, Replay
from zmax.generators.diffusers.levels import EDMLevels, VPTable
from zmax.testing import tiny_pipeline
from zmax.testing.tiny_parts import LATENT

STEPS = 3
OTHERS = {key: value for key, value in LATENT.items() if key != "steps_offset"}
SCHEDULERS = {  # class: (options, arguments of the call, noises that have an effect in 3 steps)
    "DDIMScheduler": (LATENT, {"eta": 1.0}, 3),
    "DDPMScheduler": (LATENT, {}, 4),
    "PNDMScheduler": ({**LATENT, "skip_prk_steps": True}, {}, 1),
    "EulerDiscreteScheduler": ({**LATENT, "use_karras_sigmas": True}, {}, 1),
    "EulerAncestralDiscreteScheduler": (LATENT, {}, 3),
    "HeunDiscreteScheduler": (LATENT, {}, 1),
    "KDPM2DiscreteScheduler": (LATENT, {}, 1),
    "KDPM2AncestralDiscreteScheduler": (LATENT, {}, 3),
    "DPMSolverMultistepScheduler": ({**LATENT, "algorithm_type": "sde-dpmsolver++"}, {}, 3),
    "DPMSolverSinglestepScheduler": (OTHERS, {}, 1),
    "DEISMultistepScheduler": (LATENT, {}, 1),
    "UniPCMultistepScheduler": (LATENT, {}, 1),
    "LCMScheduler": (LATENT, {}, 3),
    "TCDScheduler": (LATENT, {"eta": 0.3}, 3),
}


def with_scheduler(name, **options):
    import diffusers

    pipe = tiny_pipeline("stable-diffusion")
    pipe.scheduler = getattr(diffusers, name)(**options)
    return pipe


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_decode_as_the_pipeline_and_know_their_times(name):
    options, given, noises = SCHEDULERS[name]
    G = from_diffusers(with_scheduler(name, **options), "a red hat", num_inference_steps=STEPS, **given)
    assert sum(matters for _, matters in G._run.draws) == noises
    rng = torch.Generator().manual_seed(7)
    drawn = [torch.randn(1, *shape, generator=rng) for shape, _ in G._run.draws]
    used = [noise for noise, (_, matters) in zip(drawn, G._run.draws, strict=True) if matters]
    z = used[0] if noises == 1 else {"noise": used[0], "injected": torch.stack(used[1:], 1)}
    call = {"num_inference_steps": STEPS, "generator": torch.Generator().manual_seed(7), "output_type": "pt", **given}
    own = with_scheduler(name, **options)("a red hat", **call).images
    with torch.no_grad():
        torch.testing.assert_close(G.decode(z), own, atol=1e-4, rtol=0)
    length = G.stochastic().space.path.steps
    for steps in (STEPS, 5) if length == STEPS else (length,):
        times = G.schedule.times(steps)
        assert len(times) == steps + 1
        assert float(times[-1]) == 0
        assert bool((times.diff() < 0).all())


def test_a_scheduler_of_an_unknown_family_decodes_and_says_why_it_cannot_be_steered():
    import diffusers

    pipe = tiny_pipeline("sd3")
    pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    G = from_diffusers(pipe, "a red hat", num_inference_steps=2)
    with torch.no_grad():
        assert G.decode(torch.zeros(1, 4, 8, 8)).shape == (1, 3, 16, 16)
    for refused in (lambda: G.stochastic(), lambda: G.denoise(torch.zeros(1, 4, 8, 8), torch.ones(1))):
        with pytest.raises(CapabilityError, match="FlowMatchEulerDiscreteScheduler"):
            refused()


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("options", [{"clip_sample": False}, {"clip_sample": True}, {"thresholding": True}])
def test_outputs_of_every_kind_mean_what_the_scheduler_says(kind, options):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(prediction_type=kind, **options)
    levels, rng = VPTable(scheduler, lambda steps: None), torch.Generator().manual_seed(0)
    scheduler.set_timesteps(4)
    output, x_t = torch.randn(2, 2, 3, 4, 4, generator=rng)
    k = int(scheduler.timesteps[1])
    found = levels.clean(output, x_t, (k + 1) / 1000)
    expected = scheduler.step(output, k, x_t).pred_original_sample
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert int(levels.network_time((k + 1) / 1000)) == k


def test_noise_levels_are_those_of_the_table():
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler()
    levels, t = VPTable(scheduler, lambda steps: None), torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    kept = scheduler.alphas_cumprod[[499, 999]].double()
    torch.testing.assert_close(levels.alpha(t)[1:], kept.sqrt())
    torch.testing.assert_close(levels.alpha(t).square() + levels.sigma(t).square(), torch.ones(3).double())
    assert float(levels.alpha(t)[0]) == 1


def test_edm_follows_its_scheduler():
    from diffusers import EDMEulerScheduler

    scheduler, rng = EDMEulerScheduler(), torch.Generator().manual_seed(0)

    def grid(steps):
        scheduler.set_timesteps(steps)
        return scheduler

    levels = EDMLevels(scheduler, grid)
    times = levels.times(4)
    output, x_t = torch.randn(2, 2, 3, 4, 4, generator=rng)
    t = float(times[0])
    torch.testing.assert_close(levels.network_input(x_t, t), scheduler.scale_model_input(x_t, scheduler.timesteps[0]))
    torch.testing.assert_close(levels.network_time(t), scheduler.timesteps[0], check_dtype=False)
    expected = scheduler.step(output, scheduler.timesteps[0], x_t).pred_original_sample
    torch.testing.assert_close(levels.clean(output, x_t, t), expected)


def test_draws_take_given_noises_with_their_graph():
    noise, like = torch.ones(2, 3, requires_grad=True), torch.full((2, 3), 2.0)
    before = torch.get_rng_state()
    with Draws(Replay([noise, like])):
        first = torch.randn((2, 3), dtype=torch.float64)
        second = torch.randn_like(first)  # noqa: TID251 - intercepted
        other = torch.zeros(2)
    (2 * first).sum().backward()
    assert noise.grad is not None
    assert float(noise.grad[0, 0]) == 2
    assert second.dtype == torch.float64
    assert float(second.sum()) == 12
    assert other.shape == (2,)
    assert torch.equal(before, torch.get_rng_state())


def test_draws_of_another_shape_or_too_many_say_so():
    with pytest.raises(ShapeError, match="one row a sample"), Draws(Replay([torch.zeros(2, 3)])):
        torch.randn(1, 3)
    with pytest.raises(ShapeError, match="no noise is left"), Draws(Replay([])):
        torch.randn(1, 3)
