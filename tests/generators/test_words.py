"""Texts with alternatives: what they spell, and the same words in a pipeline's prompt."""

from __future__ import annotations

import pytest
import torch

import zmax
from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.generators import from_diffusers, words
from zmax.generators.words import Template
from zmax.testing import GeneratorConformance, tiny_pipeline

HATS = "a {red|blue|green} hat{| with dots}, {big|small}"


class TestWords(GeneratorConformance):
    def make(self):
        return words(HATS)


def test_every_text_is_spelled_in_its_place():
    template = Template.read(HATS)
    texts = template.every()
    assert len(texts) == len(set(texts)) == 12
    assert texts[:3] == ["a red hat, big", "a red hat, small", "a red hat with dots, big"]
    assert template.texts(torch.tensor([[2, 0, 1], [1, 1, 0]])) == ["a green hat, small", "a blue hat with dots, big"]
    assert Template.read("a {single} {hat").slots == ()


def test_a_generator_of_words_has_one_category_a_slot_and_is_named_as_text():
    G = zmax.load_generator(f"words:{HATS}")
    assert [(block.name, block.size) for block in G.space.blocks] == [("word_1", 1), ("word_2", 1), ("word_3", 1)]
    assert G.space.levels == (3, 2, 2)
    assert G.source == f"words:{HATS}"
    one = words("{a|b}c{d}")
    assert one.decode(torch.tensor([1, 0])) == ["bc{d}", "ac{d}"]
    drawn = G.decode(G.space.latents(G.space.sample(200, stream(0))))
    assert set(drawn) == set(Template.read(HATS).every())


def test_a_template_without_alternatives_is_refused():
    for text in ("", "a red hat", "{red}"):
        with pytest.raises(InputError, match="between braces"):
            words(text)
    with pytest.raises(InputError, match="at most 100,000"):
        Template.read("{a|b|c|d|e|f|g|h}" * 6).every()


def test_slots_of_a_prompt_are_categories_beside_the_noise_of_a_pipeline():
    pipe, steps = tiny_pipeline("stable-diffusion"), {"num_inference_steps": 1}
    G = from_diffusers(pipe, "a {red|blue} {hat|face}", **steps)
    assert [block.name for block in G.space.blocks] == ["noise", "prompt_1", "prompt_2"]
    assert G.space.levels == (2, 2)
    assert G.prompts == ("a red hat", "a red face", "a blue hat", "a blue face")
    codes, free = torch.tensor([[0, 1], [1, 0]]), G.space.parted(G.space.sample(1, stream(0)))[1].repeat(2, 1)
    with torch.no_grad():
        images = G.decode(G.space.latents(G.space.joined(codes, free)))
        for i, text in enumerate(("a red face", "a blue hat")):
            alone = from_diffusers(pipe, text, **steps)
            torch.testing.assert_close(images[i : i + 1], alone.decode(alone.space.latents(free[:1])))
