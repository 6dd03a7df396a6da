"""A generator that is told a score: at first its parent, whatever is asked; its rows know nothing of each other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import zmax
from tests.support.parents import filled
from zmax.core.errors import CapabilityError, InputError
from zmax.core.quantiles import Quantiles
from zmax.core.rng import stream
from zmax.finetune.weights import Child, child_told
from zmax.generators.conditioned import SCORE, Conditioned
from zmax.generators.requests import asked_in, query_of
from zmax.testing.trained import PointNetwork

LAW = Quantiles.fit(torch.linspace(-1, 1, 200)[:, None] * torch.tensor([1.0, 10.0]))
NAMES = ("small", "large")


def flow() -> zmax.Generator:
    network = PointNetwork(2, 8, stream(0, "test"))
    return zmax.diffusion(
        network, shape=(2,), schedule="rectified-flow", steps=3, parametrisation="velocity", modality="vector"
    )


def images() -> zmax.Generator:
    body = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Unflatten(1, (2, 4, 4)), nn.ConvTranspose2d(2, 3, 2, 2))
    return zmax.generator(filled(body), shape=(4,), modality="image", differentiable=True)


def shaken(child: Child) -> Conditioned:
    """Give every weight a value, so that requests matter."""
    rng = stream(0, "shake")
    with torch.no_grad():
        for weight in child.weights.values():
            weight.add_(0.3 * torch.randn(weight.shape, generator=rng))
    assert isinstance(child.generator, Conditioned)
    return child.generator


@pytest.mark.parametrize("parent", [flow(), images()], ids=["flow", "images"])
def test_at_first_it_is_the_parent_whatever_is_asked(parent):
    G = child_told(parent, LAW, NAMES).generator
    u = parent.space.sample(3, stream(0, "u"))
    expected = parent.decode(parent.space.latents(u))
    for request in (None, [0.5, -3.0], {"large": 4.0}, [100.0, None]):
        assert torch.equal(G.at(request).decode(parent.space.latents(u)), expected)


@pytest.mark.parametrize("parent", [flow(), images()], ids=["flow", "images"])
def test_rows_know_nothing_of_each_other_and_the_block_says_what_is_asked(parent):
    G = shaken(child_told(parent, LAW, NAMES))
    u = G.space.sample(6, stream(0, "u"))
    z = G.space.latents(u)
    whole = G.decode(z)
    for i in range(6):
        alone = G.decode({name: part[i : i + 1] for name, part in z.items()})
        torch.testing.assert_close(alone[0], whole[i], atol=1e-5, rtol=1e-5)
        held = G.at(z[SCORE][i].tolist()).decode(z[parent.space.blocks[0].name][i : i + 1])
        torch.testing.assert_close(held[0], whole[i], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(G.decode({**z, SCORE: z[SCORE] + 0.5}), whole)


def test_prior_draws_of_the_block_have_the_law_of_the_scores():
    G = child_told(flow(), LAW, NAMES).generator
    z = G.space.latents(G.space.sample(4000, stream(0, "u")))[SCORE]
    torch.testing.assert_close(z.mean(0) / torch.tensor([1.0, 10.0]), torch.zeros(2), atol=0.05, rtol=0)
    assert float((z[:, 0].abs() > 1.0).float().mean()) < 0.01
    assert float(z[:, 1].max()) > 9


def test_requests_of_one_score_leave_the_other_alone_and_a_missing_one_differs_from_zero():
    G = shaken(child_told(flow(), LAW, NAMES))
    e = G.ask.embed(torch.tensor([[0.0, math.nan], [0.0, 0.0], [math.nan, math.nan]]))
    assert not torch.allclose(e[0], e[1])
    assert not torch.allclose(e[0], e[2])


def test_guidance_goes_on_along_the_difference_to_what_is_kept_away_from():
    G = shaken(child_told(flow(), LAW, NAMES))
    x, t = torch.randn(5, 2, generator=stream(0, "x")), torch.full((5,), 0.4)
    wanted, away, none = ([0.5, 3.0], [-0.5, None], None)
    D = {str(r): G.at(r).denoise(x, t) for r in (wanted, away, none)}
    torch.testing.assert_close(
        G.at(wanted, guidance=1.5).denoise(x, t), D[str(wanted)] + 1.5 * (D[str(wanted)] - D[str(none)])
    )
    torch.testing.assert_close(
        G.at(wanted, away, 1.5).denoise(x, t), D[str(wanted)] + 1.5 * (D[str(wanted)] - D[str(away)])
    )


def test_what_cannot_be_asked_is_refused():
    G = child_told(images(), LAW, NAMES).generator
    with pytest.raises(InputError, match="2: small, large"):
        G.at(0.5)
    with pytest.raises(InputError, match="medium"):
        G.at({"medium": 0.5})
    with pytest.raises(CapabilityError, match="a diffusion or flow model"):
        G.at([0.5, 0.5], guidance=1.0)
    with pytest.raises(CapabilityError, match="none"):
        child_told(zmax.generator(nn.BatchNorm1d(4), shape=(4,)), LAW, NAMES)


@pytest.mark.parametrize(
    ("score", "away", "guidance"),
    [
        (-0.19, None, 0.0),
        ({"attribute:a&b=c": 2.0}, {"x": None}, 1.5),
        ([0.5, None], [1.0, 2.0], 2.0),
        (None, 3.0, 1.0),
    ],
)
def test_a_request_survives_being_part_of_a_name(score, away, guidance):
    assert asked_in(query_of(score, away, guidance)) == {"score": score, "away_from": away, "guidance": guidance}


def test_the_name_of_a_held_generator_says_what_it_is_held_at():
    G = child_told(flow(), LAW, NAMES).generator
    assert G.at([0.5, None]).source == ""
    G.source = "conditioned:runs/x"
    assert G.at([0.5, None], guidance=2.0).source == "conditioned:runs/x?score=0.5&score=none&guidance=2.0"
