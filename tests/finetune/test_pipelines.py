"""Pipelines of diffusers are finetuned by low rank, and diffusers alone loads what moved."""

from __future__ import annotations

import pytest
import torch

import zmax

diffusers = pytest.importorskip("diffusers")
PROMPT = {"prompt": "a red hat", "num_inference_steps": 2}


def redness(x: torch.Tensor) -> torch.Tensor:
    return (x[:, 0] - x[:, 1]).mean((1, 2))


def tuned(pipe: object, tuner: str, **params: object) -> zmax.TuneResult:
    G = zmax.generators.from_diffusers(pipe, **PROMPT)
    settings = {"weights": "lora:2", "looks": 1, "fresh": 8, "rate": 1e-2, "keep": "last", "progress": False}
    return zmax.finetune(
        G, zmax.score(redness, differentiable=True), tuner, budget=100, params={"batch": 8, **params}, **settings
    )


@pytest.mark.parametrize(("tuner", "params"), [("direct", {"keep": 0.0}), ("ranked", {"rows": 16})])
def test_a_pipeline_is_tuned_by_low_rank_that_diffusers_loads_alone(tuner, params, tmp_path):
    pipe = zmax.testing.tiny_pipeline("sd3")
    before = {name: value.clone() for name, value in pipe.transformer.state_dict().items()}
    t = tuned(pipe, tuner, **params)
    assert t.after.look.score > t.before.look.score
    assert all(torch.equal(value, before[name]) for name, value in pipe.transformer.state_dict().items())
    t.save_lora(tmp_path)
    fresh = zmax.testing.tiny_pipeline("sd3")
    fresh.load_lora_weights(tmp_path)
    alone = zmax.generators.from_diffusers(fresh, **PROMPT)
    z = alone.space.latents(alone.space.sample(2, torch.Generator().manual_seed(0)))
    with torch.no_grad():
        assert torch.allclose(alone.decode(z), t.generator.decode(z), atol=1e-5)
