"""Scores that ask for the prompt get that of the pipeline."""

from __future__ import annotations

import pytest
import torch

import zmax
from tests.run.toys import identity
from zmax.core.errors import InputError

pytest.importorskip("diffusers")


def asks(x, prompts):
    assert len(prompts) == len(x)
    return x.mean((1, 2, 3)) + torch.tensor([float(len(prompt)) for prompt in prompts])


def test_a_score_that_asks_for_the_prompt_is_told_that_of_the_pipeline(tmp_path):
    pipe = zmax.testing.tiny_pipeline("stable-diffusion")
    G = zmax.generators.from_diffusers(pipe, prompt="a red hat", num_inference_steps=1)
    S = zmax.score(asks, prompted=True, name="asks")
    r = zmax.maximize(G, S, "random", 8, held_out=2 * S, out=tmp_path / "run")
    assert r.best.score == pytest.approx(float(r.best.sample.mean()) + 9, abs=1e-5)
    assert r.best.held_out == pytest.approx(2 * r.best.score, abs=1e-5)
    assert zmax.resume(tmp_path / "run", G, S, 2 * S, budget=10).ledger.score_calls == 10
    several = zmax.generators.from_diffusers(pipe, prompt=["a red hat", "a dog"], num_inference_steps=1)
    with pytest.raises(InputError, match=r"'asks'[\s\S]*got:      2, of which latents choose"):
        zmax.maximize(several, S, "random", 8)


def test_a_generator_without_a_prompt_is_refused():
    for verb in (zmax.maximize, zmax.sample, zmax.finetune, zmax.condition):
        with pytest.raises(InputError, match=r"'asks'[\s\S]*got:      none[\s\S]*from_diffusers"):
            verb(identity(), zmax.score(asks, prompted=True), budget=60)
