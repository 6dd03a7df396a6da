"""Runs over categories and fitted priors: what `auto` chooses, and that they go on where they were broken off."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import zmax
from zmax.core.errors import CapabilityError
from zmax.generators.mixture import Mixture

WANTED = torch.tensor([0, 2, 1, 1, 0, 2])
MEANS = torch.tensor([[-4.0, 0.0], [4.0, 0.0]])


def mixed():
    law = Mixture(torch.ones(2), MEANS, torch.eye(2).repeat(2, 1, 1))
    code = zmax.Block("code", (6,), zmax.Categorical(3, one_hot=False))
    space = zmax.Space((code, zmax.Block("law", (2,), law), zmax.Block("z", (2,))))
    return zmax.generator(lambda z: torch.cat([z["code"], z["law"], z["z"]], 1), space=space, modality="vector")


def score():
    def value(x):
        return -(x[:, :6] != WANTED).sum(1) - (x[:, 6:] - torch.tensor([4.0, 0.0, 0.0, 0.0])).square().sum(1)

    return zmax.score(value, name="S", differentiable=False)


@pytest.mark.parametrize("method", ["auto", "cma"])
def test_a_run_over_categories_goes_on_bit_for_bit(method, tmp_path):
    whole = zmax.maximize(mixed(), score(), method, budget=40, progress=False)
    zmax.maximize(mixed(), score(), method, budget=30, out=tmp_path, progress=False)
    resumed = zmax.resume(tmp_path, mixed(), score(), budget=40, progress=False)
    straight, again = whole.history.score, resumed.history.score
    assert 35 < len(straight) <= len(again)
    assert np.array_equal(again[: len(straight)], straight)
    assert resumed.best.z["code"].dtype == torch.int64
    if method == "auto":
        assert whole.spec.method == "casmopolitan"
        assert whole.best.score > -6


def test_auto_follows_gradients_where_categories_are_one_hot_and_counts_continuous_latents():
    def chosen(**kind):
        G = zmax.generator(torch.nn.Identity(), modality="vector", **kind)
        return zmax.maximize(G, lambda x: x.flatten(1)[:, 0].float(), budget=30, progress=False).spec.method

    assert chosen(shape=(4,), prior=zmax.Categorical(3)) == "gradient"
    assert chosen(shape=(4,), prior=zmax.Categorical(3, one_hot=False)) == "casmopolitan"


def test_a_start_of_codes_is_where_the_search_begins():
    G, S = mixed(), score()
    known = {"code": WANTED[None], "law": MEANS[1:], "z": torch.zeros(1, 2)}
    result = zmax.maximize(G, S, "casmopolitan", budget=25, start={"z": known}, progress=False)
    assert result.best.score == pytest.approx(0.0, abs=1e-6)


def test_a_method_for_categories_refuses_latents_without():
    G = zmax.generator(torch.nn.Identity(), shape=(3,), modality="vector")
    with pytest.raises(CapabilityError, match="they have none"):
        zmax.maximize(G, lambda x: x[:, 0], "casmopolitan", budget=20, progress=False)


def test_the_list_says_how_methods_move_categories():
    moved = {info.name: info.categories for info in zmax.methods()}
    assert moved["casmopolitan"] == "one after the other"
    assert moved["gradient"] == "one-hot, by the gradient of their softmax"
    assert moved["cma"] == "as their u"
    assert moved["fk"] == moved["grpo"] == ""
