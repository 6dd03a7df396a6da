"""Every method, score and pipeline with the generator on a GPU; skipped where there is none."""

import math

import pytest
import torch

import zmax
from tests.support.pipelines import CALLS, decoded, given, level, redness
from zmax.core.methods import registry
from zmax.core.strategy import Need
from zmax.generators import from_diffusers
from zmax.testing import tiny_pipeline
from zmax.testing.tiny_conditioned import CONDITIONED

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

QUALITY_DIVERSITY = {"cma-mae", "cma-mega"}


def on_gpu(spec: str) -> zmax.Generator:
    return zmax.load_generator(spec).to("cuda")


@pytest.mark.parametrize("name", sorted(registry))
@pytest.mark.parametrize("spec", ["avatars-gan", "avatars-flow:4"])
def test_every_method(spec, name):
    kind = registry.load(name)
    if Need.PATH in kind.needs and spec == "avatars-gan":
        pytest.skip("needs a path")
    if name in QUALITY_DIVERSITY:
        pytest.importorskip("ribs")
    G = on_gpu(spec)
    r = zmax.maximize(G, "attribute:glasses", name, 150, seed=0, held_out="attribute-judge:glasses")
    assert r.spec.device == "cuda:0"
    assert math.isfinite(r.best.score)
    assert math.isfinite(r.best.held_out)
    again = decoded(G.stochastic() if Need.PATH in kind.needs else G, r)
    assert again.device.type == "cuda"
    torch.testing.assert_close(again[0].cpu(), r.best.sample.cpu(), atol=2e-3, rtol=0)


@pytest.mark.parametrize("memory", ["none", "checkpoint", "sqrt", "truncated:2", "detached"])
def test_memory_policies(memory):
    r = zmax.maximize(on_gpu(f"avatars-flow:4,{memory}"), "attribute:glasses", "gradient", 100, seed=0)
    assert math.isfinite(r.best.score)
    assert not r.ledger.bad_gradients


@pytest.mark.parametrize("score", ["attribute:hat", "compressibility", "colour:blue", "brightness"])
def test_scores_take_pictures_from_the_gpu(score):
    r = zmax.maximize(on_gpu("avatars-gan"), score, "snes", 100, seed=0)
    assert math.isfinite(r.best.score)


def test_draws_and_the_same_seed_on_both_devices():
    G = zmax.load_generator("avatars-gan")
    cpu = zmax.maximize(G, "attribute:glasses", "random", 100, seed=0)
    gpu = zmax.maximize(G.to("cuda"), "attribute:glasses", "random", 100, seed=0)
    assert cpu.best.score == pytest.approx(gpu.best.score, abs=0.02)
    drawn = zmax.sample(G, "attribute:glasses", 1.0, "elliptical", budget=200, seed=0)
    assert bool(torch.isfinite(drawn.population.log_weight).all())


def test_a_run_goes_on_where_its_generator_was(tmp_path):
    zmax.maximize(on_gpu("avatars-gan"), "attribute:glasses", "snes", 100, seed=0, out=tmp_path / "run")
    r = zmax.resume(tmp_path / "run", budget=200)
    assert r.ledger.score_calls >= 200


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("name", ["random", "gradient", "fk", "dps"])
def test_pipelines(kind, dtype, name):
    if dtype == torch.float16 and name in {"gradient", "dps"} and kind in {"sdxl", "turbo"}:
        pytest.skip("its autoencoder moves to float32 and back, which gradients cannot follow")
    G = from_diffusers(tiny_pipeline(kind, dtype=dtype).to("cuda"), **CALLS[kind])
    S = zmax.score(redness, differentiable=True)
    r = zmax.maximize(G, S, name, budget=64, seed=0)
    assert math.isfinite(r.best.score)
    assert r.ledger.failures == 0


@pytest.mark.parametrize("kind", ["stable-diffusion", "sdxl", "flux"])
@pytest.mark.parametrize("name", ["random", "fk", "snes"])
def test_offloaded_pipelines(kind, name):
    pytest.importorskip("accelerate")
    pipe = tiny_pipeline(kind, dtype=torch.bfloat16)
    pipe.enable_model_cpu_offload()
    r = zmax.maximize(from_diffusers(pipe, **CALLS[kind]), zmax.score(redness, differentiable=False), name, 48)
    assert math.isfinite(r.best.score)
    assert r.ledger.failures == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("kind", CONDITIONED)
def test_pipelines_that_set_out_from_more_than_a_text(kind, dtype):
    G = from_diffusers(tiny_pipeline(kind, dtype=dtype).to("cuda"), **given(kind))
    S = zmax.score(level, differentiable=True)
    for name in ("random", "gradient") if kind == "masked" else ("random", "dno", "fk"):
        r = zmax.maximize(G, S, name, budget=32, seed=0)
        assert math.isfinite(r.best.score)
        assert r.ledger.failures == 0


def test_pipelines_move():
    G = from_diffusers(tiny_pipeline("stable-diffusion"), **CALLS["stable-diffusion"]).to("cuda")
    assert G.device == "cuda:0"
    with torch.no_grad():
        assert G.decode(G.space.latents(G.space.sample(2, torch.Generator().manual_seed(0)))).device.type == "cuda"
