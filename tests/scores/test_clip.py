from __future__ import annotations

import builtins
from pathlib import Path

import pytest
import torch

from zmax.core.errors import InputError, MissingExtraError
from zmax.core.rng import stream
from zmax.scores import load_score
from zmax.scores.clip import FOLDER, Clip
from zmax.testing import ScoreConformance, tiny_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


def pictures(n=4, size=48):
    return 0.1 + 0.8 * torch.rand(n, 3, size, size, generator=stream(0, "pictures"))


class TestClip(ScoreConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, folder):
        self.folder = folder

    def make(self):
        return Clip("a red hat", folder=self.folder, cutouts=3)

    def samples(self):
        return pictures()


def test_one_cutout_is_the_cosine_that_transformers_gives(folder):
    """At the model's own size nothing is resized, and the score is CLIP's logit divided by its scale."""
    from transformers import AutoTokenizer, CLIPModel

    model, tokenizer = CLIPModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    images = pictures(size=32)
    mean, std = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    pixels = (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    with torch.no_grad():
        out = model(**tokenizer(["a red hat"], return_tensors="pt"), pixel_values=pixels)
        expected = out.logits_per_image[:, 0] / model.logit_scale.exp()
        torch.testing.assert_close(Clip("a red hat", folder=folder, cutouts=1)(images), expected, atol=1e-5, rtol=1e-4)


def test_prompts_and_pictures_matter_and_cutouts_are_fixed_by_the_seed(folder):
    red, blue = (Clip(f"a {colour} hat", folder=folder) for colour in ("red", "blue"))
    images = pictures()
    assert not torch.allclose(red(images), blue(images), atol=1e-4)
    assert float(red(images).std()) > 1e-4
    assert torch.equal(red(images), Clip("a red hat", folder=folder)(images))
    assert not torch.allclose(red(images), Clip("a red hat", folder=folder, seed=1)(images), atol=1e-6)


def test_ascent_on_the_picture_raises_the_score(folder):
    judge, x = Clip("a face", folder=folder, cutouts=4), pictures(2)
    start = judge(x)
    for _ in range(20):
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(judge(x).sum(), x)
        x = (x + 0.05 * slope / slope.flatten(1).norm(dim=1)[:, None, None, None] * 48).clamp(0, 1)
    assert bool((judge(x.detach()) > start + 0.01).all())


def test_by_name_it_reads_the_folder_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv(FOLDER, str(folder))
    assert load_score("'clip:a blue face'").name == "clip:a blue face"
    monkeypatch.delenv(FOLDER)
    with pytest.raises(InputError, match="ZMAX_CLIP"):
        load_score("'clip:a blue hat'")


def test_a_folder_without_a_model_and_a_missing_package_are_named(tmp_path, folder, monkeypatch):
    with pytest.raises(InputError, match="no CLIP model"):
        Clip("a hat", folder=tmp_path)
    real = builtins.__import__
    monkeypatch.setattr(
        builtins,
        "__import__",
        lambda name, *rest: (_ for _ in ()).throw(ImportError(name)) if name == "transformers" else real(name, *rest),
    )
    with pytest.raises(MissingExtraError, match=r"zmax\[clip\]"):
        Clip("a hat", folder=folder)
