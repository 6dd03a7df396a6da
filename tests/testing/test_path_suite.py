"""The suite of path models passes for good ones and catches one broken model for each of its laws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import zmax
from zmax.testing import PathConformance, gaussian_mixture

FLOW = zmax.generators.SCHEDULES["rectified-flow"]()


class Denoiser(nn.Module):
    """E[x_0 | x_t] of data that are N((1, -1), I / 4), on a rectified flow."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([1.0, -1.0]))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (1 - t)[:, None], t[:, None]
        return self.mean + alpha / 4 / (alpha**2 / 4 + sigma**2) * (x_t - alpha * self.mean)


class Good(zmax.DiffusionGenerator):
    """A path model as an outsider writes it."""

    modality, differentiable, schedule = "vector", True, FLOW

    def __init__(self, steps: int = 20, eta: float = 1.0) -> None:
        self.network = Denoiser()
        self.networks = (self.network,)
        self.space = zmax.PathSpace.along(zmax.Path(self.schedule, steps, eta, (2,)))

    def denoise(self, x_t, t):
        return self.network(x_t, t)

    def finish(self, x_0):
        return x_0 / 2

    def decode(self, z):
        return self.finish(self.space.path.follow(self.denoise, z))

    def stochastic(self, eta=1.0):
        return type(self)(self.space.path.steps, eta)


class Restless(Good):
    def denoise(self, x_t, t):
        return super().denoise(x_t, t) + 1e-3 * torch.randn(x_t.shape)


class Centred(Good):
    def denoise(self, x_t, t):
        answer = super().denoise(x_t, t)
        return answer - 0.01 * answer.mean(0)


class Writing(Good):
    def denoise(self, x_t, t):
        answer = super().denoise(x_t, t)
        with torch.no_grad():
            self.network.seen += len(x_t)
        return answer


class Overwriting(Good):
    def denoise(self, x_t, t):
        answer = super().denoise(x_t, t)
        with torch.no_grad():
            x_t += 1
        return answer


class Uncounted(Good):
    def denoise(self, x_t, t):
        return self.network.forward(x_t, t)


class Doubled(Good):
    """Calls its network once more for larger batches."""

    def denoise(self, x_t, t):
        for _ in range(len(x_t) > 1):
            self.network(x_t, t)
        return self.network(x_t, t)


class Backward:
    """Times from data to noise."""

    alpha, sigma = staticmethod(FLOW.alpha), staticmethod(FLOW.sigma)

    def times(self, steps):
        return FLOW.times(steps).flip(0)


class Noisy:
    """A tenth of the noise is left at the end."""

    def alpha(self, t):
        return 0.9 - 0.9 * t + 0.05

    def sigma(self, t):
        return 0.1 + 0.9 * t

    def times(self, steps):
        return FLOW.times(steps)


class Bumpy(Noisy):
    """The noise grows again half way."""

    def sigma(self, t):
        return t + 0.2 * (6.28318 * t).sin() * (t > 0)


class FromData(Good):
    schedule = Backward()


class LeavesNoise(Good):
    schedule = Noisy()


class Wavering(Good):
    schedule = Bumpy()


class Shrinking(Good):
    def denoise(self, x_t, t):
        return 0.8 * super().denoise(x_t, t)


class Stretched(Good):
    def finish(self, x_0):
        return (x_0 - x_0.amin(0)) / (x_0.amax(0) - x_0.amin(0) + 1e-6)


class Dithered(Good):
    def finish(self, x_0):
        return x_0 + 1e-3 * torch.rand(x_0.shape)


class Pathless(Good):
    def stochastic(self, eta=1.0):
        made = Good(self.space.path.steps, eta)
        made.space = zmax.Space(made.space.blocks)
        return made


class OtherLevels(Good):
    def stochastic(self, eta=1.0):
        made = Good(self.space.path.steps, eta)
        levels = zmax.generators.SCHEDULES["vp-linear"]()
        made.space = zmax.PathSpace.along(zmax.Path(levels, self.space.path.steps, eta, (2,)))
        return made


class DrawsAgain(Good):
    """Takes its fresh noise from elsewhere than the latent."""

    def decode(self, z):
        parts = z if isinstance(z, dict) else {"noise": z}
        fresh = {name: torch.randn(part.shape) if name == "injected" else part for name, part in parts.items()}
        return super().decode(fresh)


class SkipsNoise(Good):
    """Ignores the injected noises."""

    def decode(self, z):
        parts = z if isinstance(z, dict) else {"noise": z}
        return super().decode({name: part * (name == "noise") for name, part in parts.items()})


class Moved(Good):
    """Is another model once it injects noise."""

    def stochastic(self, eta=1.0):
        made = Good(self.space.path.steps, eta)
        if eta > 0:
            made.network.mean += 1
        return made


class Detached(Good):
    def denoise(self, x_t, t):
        return super().denoise(x_t.detach(), t) + 0 * x_t


BROKEN = [
    (Restless, "test_denoising_is_deterministic", "random state"),
    (Centred, "test_denoising_does_not_depend_on_the_batch", "points around"),
    (Writing, "test_denoising_leaves_no_trace", "weights, buffers"),
    (Overwriting, "test_denoising_leaves_no_trace", "writes into the points"),
    (Uncounted, "test_denoising_is_counted", "none of the declared networks"),
    (Doubled, "test_denoising_is_counted", "evaluations"),
    (FromData, "test_the_schedule_leads_from_noise_to_data", "times do not fall"),
    (LeavesNoise, "test_the_schedule_leads_from_noise_to_data", "noise is left"),
    (Wavering, "test_the_schedule_leads_from_noise_to_data", "sigma does not fall"),
    (Shrinking, "test_the_end_of_the_path_is_the_data", "apart"),
    (Stretched, "test_finishing_is_row_by_row", "ends around them"),
    (Dithered, "test_finishing_is_row_by_row", "random state"),
    (Pathless, "test_the_path_has_a_space_of_its_noises", "no path"),
    (OtherLevels, "test_the_path_has_a_space_of_its_noises", "other levels"),
    (DrawsAgain, "test_noises_decide_the_sample", "random state"),
    (SkipsNoise, "test_decoding_takes_the_steps_of_the_path", "leaves the steps"),
    (Moved, "test_fresh_noise_keeps_the_mean", "moves the mean"),
    (Detached, "test_gradients_are_those_of_the_denoiser", "apart"),
]


def suite_of(kind):
    class Suite(PathConformance):
        def make(self):
            return kind()

    return Suite()


@pytest.mark.parametrize(("kind", "law", "reason"), BROKEN, ids=[kind.__name__ for kind, _, _ in BROKEN])
def test_a_broken_model_is_caught(kind, law, reason):
    with pytest.raises(AssertionError, match=reason):
        getattr(suite_of(kind), law)()


def test_every_law_has_a_model_that_breaks_it():
    assert {law for _, law, _ in BROKEN} == {name for name in dir(PathConformance) if name.startswith("test_")}


class TestOutside(PathConformance):
    tolerance = 1e-5
    bias = 0.05

    def make(self):
        return Good()


class TestMixture(PathConformance):
    def make(self):
        covs = torch.stack([torch.eye(2) / 4, torch.eye(2)])
        return gaussian_mixture([[-1.0, 0.0], [2.0, 1.0]], covs, [0.4, 0.6]).generator(steps=40, eta=0.0)


class TestFlowOfAvatars(PathConformance):
    bias = 0.4  # four steps

    def make(self):
        return zmax.load_generator("avatars-flow:4")


class TestPipeline(PathConformance):
    draws = 24

    def make(self):
        pipe = zmax.testing.tiny_pipeline("stable-diffusion")
        return zmax.generators.from_diffusers(pipe, prompt="a red hat", num_inference_steps=3)
