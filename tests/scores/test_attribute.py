from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from zmax.core.errors import InputError, ShapeError, UnknownNameError
from zmax.core.shelf import Shelf
from zmax.run.views import settle_score
from zmax.scores import load_score
from zmax.scores.attribute import Attribute, network_of
from zmax.scores.zoo import NETWORKS

HELD_OUT = Path(__file__).parents[1] / "data" / "avatars-heldout.npz"
JUDGES = ["attribute:glasses", "attribute-judge:glasses", "critic:avatars"]


@pytest.mark.parametrize("spec", JUDGES)
def test_a_sample_is_judged_alone_and_at_any_multiple_of_the_size(spec: str, interior: Tensor) -> None:
    judge = load_score(spec)
    x = interior.float()
    values = judge(x)
    assert values.shape == (3,)
    assert torch.allclose(values, torch.cat([judge(each[None]) for each in x]), atol=1e-4)
    doubled = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(values, judge(doubled), atol=1e-4)
    assert judge.unit == "log-odds"
    assert judge.name == spec


@pytest.mark.parametrize("spec", JUDGES)
def test_a_step_along_the_gradient_raises_the_score_as_predicted(spec: str, interior: Tensor) -> None:
    judge = load_score(spec)
    assert settle_score(judge, interior.float())
    x = interior.float().requires_grad_()
    before = judge(x)
    (gradient,) = torch.autograd.grad(before.sum(), x)
    step = 1e-2 * gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
    predicted = (gradient * step).flatten(1).sum(1)
    gained = (judge(x + step) - judge(x - step)) / 2
    assert torch.allclose(gained, predicted, rtol=0.1)
    assert bool((gained > 0).all())


@pytest.mark.parametrize("spec", JUDGES)
def test_other_sizes_are_refused(spec: str) -> None:
    with pytest.raises(ShapeError, match="16x16"):
        load_score(spec)(torch.zeros(1, 3, 20, 20))


@pytest.mark.parametrize("spec", JUDGES)
def test_an_unknown_argument_offers_the_nearest(spec: str) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'glasses'|expected: avatars"):
        load_score(spec.partition(":")[0] + ":glases")


@pytest.mark.parametrize("spec", JUDGES[:1])
def test_a_choice_has_odds_that_sum_to_one(spec: str, interior: Tensor) -> None:
    """Within a group of exclusive labels the probabilities sum to 1."""
    groups = [group for group in network_of("attribute").heads.groups if len(group) > 1]
    for group in groups:
        total = sum(load_score(f"attribute:{label}")(interior).sigmoid() for label in group)
        assert torch.allclose(total, torch.ones(3), atol=1e-5)


@pytest.mark.parametrize("spec", JUDGES[:1])
def test_the_network_is_loaded_once(spec: str) -> None:
    a, b = Attribute("glasses"), Attribute("beard")
    assert a.networks[0] is b.networks[0]
    assert len(Attribute.choices()) == len(set(Attribute.choices())) > 10


def test_missing_weights_are_said_to_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("zmax.scores.attribute.load", Shelf(tmp_path, dict.fromkeys(NETWORKS, torch.nn.Module)).load)
    network_of.cache_clear()
    for name in NETWORKS:
        with pytest.raises(InputError, match="not installed"):
            network_of(name)
    assert Attribute.choices() == ()
    network_of.cache_clear()


@pytest.mark.parametrize("network", ["attribute", "attribute-judge"])
def test_the_sign_of_the_log_odds_is_the_label_on_held_out_pictures(network: str) -> None:
    """Each label reads its own logit; how accurate the networks are is for the zoo's tests to say."""
    with np.load(HELD_OUT) as data:
        x = torch.tensor(data["images"]).permute(0, 3, 1, 2) / 255
        heads, labels = json.loads(str(data["heads"])), torch.tensor(data["labels"])
    for (label, *others), truth in zip(heads, labels.T, strict=True):
        wanted = truth == (0 if others else 1)
        found = load_score(f"{network}:{label}")(x) > 0
        assert float((found == wanted).float().mean()) >= 0.95, label
