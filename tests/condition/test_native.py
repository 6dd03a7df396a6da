"""A pipeline that takes a score: asked as its own call is, one call a request, and calibrated as every other."""

import copy

import numpy as np
import pytest
import torch

import zmax
from tests.support.pipelines import given
from zmax.core.errors import CapabilityError
from zmax.core.rng import stream
from zmax.generators.diffusers.draws import Draws, Replay

pytest.importorskip("diffusers")

CALL = given("refiner")
LIGHT = zmax.score(lambda x: 100 * x.mean((1, 2, 3)), name="light", differentiable=False)


@pytest.fixture(scope="module")
def refiner():
    return zmax.generators.from_diffusers(zmax.testing.tiny_pipeline("refiner"), **CALL)


def latents(G, n, seed=0):
    return G.space.latents(G.space.sample(n, stream(seed)))


def own(G, z, **arguments):
    """The pictures of the pipeline's own call."""
    noises = iter([z])
    every = [next(noises) if latent else G._run.found.held(i, len(z)) for i, (_, latent) in enumerate(G._run.draws)]
    call = {**CALL, "prompt": [CALL["prompt"]] * len(z), "image": [CALL["image"]] * len(z)}
    pipe = zmax.testing.tiny_pipeline("refiner")
    with torch.no_grad(), Draws(Replay(every)):
        return pipe(**call, **arguments, output_type="np").images


@pytest.mark.parametrize(
    ("asked", "arguments"),
    [
        ((8.0,), {"aesthetic_score": 8.0}),
        ((8.0, 1.5), {"aesthetic_score": 8.0, "negative_aesthetic_score": 1.5}),
        ((None, 5.0), {"negative_aesthetic_score": 5.0}),
        ((3.0, None, 2.5), {"aesthetic_score": 3.0, "guidance_scale": 7.5}),
        ((None,), {}),
    ],
)
def test_what_is_asked_is_the_pipelines_own_call_with_that_aesthetic_score(refiner, asked, arguments):
    z = latents(refiner, 1)
    with torch.no_grad():
        made = refiner.at(*asked).decode(z)
    np.testing.assert_allclose(made.permute(0, 2, 3, 1).numpy(), own(refiner, z, **arguments), atol=2e-3)
    if arguments:
        assert float((made - refiner.decode(z)).abs().max()) > 5e-3


def test_the_path_with_fresh_noise_is_asked_too(refiner):
    with torch.no_grad():
        x = refiner.stochastic().space.path.begin(latents(refiner, 1))
        t = refiner.schedule.times(2)[:1]
        one, other = (G.denoise(x, t) for G in (refiner.at(9.0).stochastic(), refiner.stochastic().at(9.0)))
        assert torch.equal(one, other)
        assert not torch.allclose(one, refiner.stochastic().denoise(x, t))


def test_a_pipeline_that_does_not_heed_it_is_refused():
    pipe = zmax.testing.tiny_pipeline("img2img")
    G = zmax.generators.from_diffusers(pipe, **given("img2img"))
    with pytest.raises(CapabilityError, match="requires_aesthetics_score"):
        G.at(6.0)
    for method_of in (G, zmax.generator(lambda z: z, shape=(2,))):
        with pytest.raises(CapabilityError, match="takes none"):
            zmax.condition(method_of, lambda x: x.flatten(1).mean(1), "native", budget=100)


@pytest.fixture(scope="module")
def made(refiner, tmp_path_factory):
    settings = {"budget": 60, "draws": 20, "checked": 16, "fresh": 4, "looks": 1, "guidances": "0,2"}
    return zmax.condition(
        refiner, LIGHT, "native", out=tmp_path_factory.mktemp("run") / "r", progress=False, **settings
    )


def test_it_is_calibrated_as_every_other(made, refiner):
    assert made.stop_reason == "trained"
    assert [(one.guidance, len(one.asked)) for one in made.calibrations] == [(0.0, 8), (2.0, 8)]
    one = made.calibration
    z = latents(refiner, 3, seed=4)
    with torch.no_grad():
        expected = torch.cat([refiner.at(s).decode(z[i : i + 1]) for i, s in enumerate((40.0, 45.0, 40.0))])
        wanted = torch.tensor([[40.0], [45.0], [40.0]])
        torch.testing.assert_close(made.generator.asked(wanted).decode(z), expected, atol=1e-4, rtol=0)
    assert one.lowest <= one.asked.min() <= one.asked.max() <= one.highest
    assert "no weights move" in made.moves
    assert made.ledger.score_calls == sum(len(c.asked) for c in made.calibrations) + 20 + 4 + 4


def test_a_resume_finds_it_done(made, refiner):
    again = zmax.resume(made.folder, refiner, LIGHT, progress=False)
    assert [list(c.achieved) for c in again.calibrations] == [list(c.achieved) for c in made.calibrations]
    assert again.ledger.score_calls == made.ledger.score_calls


def test_its_name_says_what_it_is_asked_for(refiner):
    G = copy.copy(refiner)
    assert G.at(7.5).source == ""
    G.source = "diffusers:pipe?num_inference_steps=4"
    asked = "&aesthetic_score=7.5&negative_aesthetic_score=2.0"
    assert G.at(7.5, 2.0).source == f"{G.source}{asked}"
