"""Weighted retraining: weights by rank, the bound of an autoencoder, search and training chained."""

from __future__ import annotations

import math

import pytest
import torch
from parents import filled
from torch import Tensor, nn

import zmax
from zmax.core.errors import CapabilityError, InputError, ShapeError
from zmax.core.proposal import Evaluation
from zmax.core.rng import Rng, stream
from zmax.core.state import dump
from zmax.core.tuner import Models, Rollout
from zmax.finetune import Distil, Ranked
from zmax.finetune.regression.retraining import Retrained, by_rank
from zmax.finetune.weights import child_of
from zmax.kit.elbo import negative_elbo
from zmax.search import SNES
from zmax.testing.driver import evaluate
from zmax.testing.trained import PointNetwork

SPREAD = 0.6


class Line(nn.Module):
    """An autoencoder of points of a plane: one latent, a linear decoder, a posterior of the same width everywhere."""

    def __init__(self, a: Tensor, log_variance: float, w: Tensor, b: Tensor) -> None:
        super().__init__()
        self.a, self.w, self.b = nn.Parameter(a), nn.Parameter(w), nn.Parameter(b)
        self.log_variance = nn.Parameter(torch.tensor(log_variance))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = ((x - self.b) @ self.a)[:, None]
        return mean, self.log_variance.expand_as(mean)

    def forward(self, z: Tensor) -> Tensor:
        return z * self.w + self.b


W, B = torch.tensor([1.5, -0.5]), torch.tensor([0.3, 0.1])


def exact(**changed: Tensor) -> Line:
    """Return the line whose encoder is the posterior of its decoder with unit noise: N(w.(x - b) / (1 + w.w), ...)."""
    precision = 1 + float(W.square().sum())
    parts = {"a": W / precision, "w": W.clone(), "b": B.clone()} | changed
    return Line(parts["a"], -math.log(precision), parts["w"], parts["b"])


def autoencoder(line: nn.Module) -> zmax.Generator:
    return zmax.generator(line, shape=(1,), encoder=line.encode, modality="vector", differentiable=True)


def halves(loss: Tensor) -> Tensor:
    """Return the mean over the noises 1 and -1, which have mean and variance of N(0, 1): exact for squares."""
    return (loss[: len(loss) // 2] + loss[len(loss) // 2 :]) / 2


def both(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat([x, x]), torch.cat([torch.ones(len(x), 1), -torch.ones(len(x), 1)])


def test_weights_by_rank_are_those_of_the_paper_whatever_the_order() -> None:
    score = torch.randn(50, generator=stream(0), dtype=torch.float64)
    rank = (score[:, None] < score).sum(1)
    torch.testing.assert_close(by_rank(score, 1e-3), 1 / (1e-3 * 50 + rank.double()))
    order = torch.randperm(50, generator=stream(1))
    assert torch.equal(by_rank(score[order], 0.1), by_rank(score, 0.1)[order])


def test_equal_scores_weigh_the_same_and_no_more_in_all() -> None:
    score = torch.tensor([1.0, 2.0, 1.0, 3.0, 1.0])
    weight = by_rank(score, 0.2)
    assert weight[0] == weight[2] == weight[4]
    assert float(weight.sum()) == pytest.approx(sum(1 / (1 + rank) for rank in range(5)))


def test_the_bound_is_the_log_likelihood_at_the_exact_posterior_and_below_it_elsewhere() -> None:
    x = torch.randn(7, 2, generator=stream(0))
    law = torch.distributions.MultivariateNormal(B, torch.outer(W, W) + torch.eye(2))
    for shift, equal in ((0.0, True), (0.2, False)):
        made = autoencoder(exact(a=W / (1 + W.square().sum()) + shift))
        bound = -2 * halves(negative_elbo(made, *both(x))) - math.log(2 * math.pi)
        gap = law.log_prob(x) - bound
        assert gap.abs().max() < 1e-5 if equal else gap.min() > 0


def test_the_gradient_of_the_bound_is_that_of_the_closed_form() -> None:
    line, beta = exact(a=torch.tensor([0.2, 0.7])), 0.3
    x = torch.randn(5, 2, generator=stream(0))
    loss = halves(negative_elbo(autoencoder(line), *both(x), beta=beta)).sum() * 2
    slopes = torch.autograd.grad(loss, [line.w, line.log_variance])
    mean, variance = ((x - B) @ line.a)[:, None].detach(), line.log_variance.exp().detach()
    wanted_w = (-(x - B - mean * W) * mean + variance * W).sum(0)
    wanted_v = 5 * (variance * W.square().sum() + beta * (variance - 1)) / 2
    torch.testing.assert_close(slopes[0], wanted_w)
    torch.testing.assert_close(slopes[1], wanted_v)


def test_the_bernoulli_likelihood_is_that_of_rounded_samples() -> None:
    line = exact(w=torch.zeros(2), b=torch.tensor([0.25, 0.75]))
    x = torch.tensor([[0.9, 0.2]])
    with torch.no_grad():
        found = negative_elbo(autoencoder(line), x, torch.zeros(1, 1), "bernoulli", beta=1e-12)
    assert float(found[0]) * 2 == pytest.approx(-2 * math.log(0.25), rel=1e-5)


def flow() -> zmax.Generator:
    network = PointNetwork(2, 8, stream(0, "test"))
    return zmax.diffusion(
        network, shape=(2,), schedule="rectified-flow", steps=3, parametrisation="velocity", modality="vector"
    )


def evaluated(x: Tensor, score: Tensor, ok: Tensor | None = None) -> Evaluation:
    return Evaluation(score, torch.ones(len(x)).bool() if ok is None else ok, None, range(len(x)), samples=x)


@pytest.mark.parametrize("model", [flow, lambda: autoencoder(exact())])
def test_distil_trains_on_what_ranked_would(model) -> None:
    G, rng = model(), Rng.of(stream(3))
    models = Models(G, G)
    x, score = torch.randn(16, 2, generator=stream(1)), torch.randn(16, generator=stream(2))
    ranked, distil = Ranked(sharpness=0.1, rows=32), Distil(search="snes", every=1, sharpness=0.1, rows=32)
    fresh = x if model is flow else None
    one = ranked.rollout(Retrained(rng, fresh=fresh), models, evaluated(x, score))[1]
    begun = distil.init(G, stream(0))
    state, other = distil.rollout(type(begun)(rng, fresh=fresh, search=begun.search), models, evaluated(x, score))
    assert one is not None
    assert other is not None
    assert {tuple(row) for row in other["x_0"].tolist()} <= {tuple(row) for row in x.tolist()}
    again = distil.drawn(Retrained(rng, state.best), models)[1]
    assert again is not None
    assert all(torch.equal(one[name], again[name]) for name in one.rows)
    torch.testing.assert_close(ranked.loss(models, one), distil.loss(models, one))


def test_between_trainings_the_search_is_that_of_the_method_alone() -> None:
    G, S = autoencoder(exact()), zmax.score(lambda x: -(x - 1).square().sum(1), differentiable=False)
    tuner = Distil(search="snes:population=8", every=4)
    state, models, proposals = tuner.init(G, stream(0)), Models(G, G), []
    own, _ = Rng.of(stream(0)).split()
    strategy = SNES(population=8)
    for _ in range(3):
        state, proposal = tuner.collect(state, models)
        x = G.decode(G.space.latents(proposal.u)).detach()
        state, rollout = tuner.rollout(state, models, evaluated(x, S(x).double()))
        proposals.append(proposal.u)
        assert rollout is None
    inner = strategy.init(G.space, own.generator())
    for u in proposals:
        asked = strategy.ask(inner).u
        assert torch.equal(asked, u)
        x = G.decode(G.space.latents(asked)).detach()
        inner = strategy.tell(inner, evaluated(x, S(x).double()))
    before = state.search
    state, proposal = tuner.collect(state, models)
    x = G.decode(G.space.latents(proposal.u)).detach()
    state, rollout = tuner.rollout(state, models, evaluated(x, S(x).double()))
    assert rollout is not None
    assert state.done == 0
    assert not torch.equal(tuner.collect(state, models)[1].u, strategy.ask(before).u)


def test_failures_are_forgotten_and_the_best_are_remembered() -> None:
    G = autoencoder(exact())
    x, score, ok = torch.arange(12.0).reshape(6, 2), torch.tensor([1.0, 9, 3, 2, 5, 4]), torch.arange(6) != 1
    state, rollout = Ranked(most=3, rows=8).rollout(Retrained(Rng.of(stream(0))), Models(G, G), evaluated(x, score, ok))
    assert state.best is not None
    assert state.best[1].tolist() == [5, 4, 3]
    none = evaluated(x, score, torch.zeros(6, dtype=torch.bool))
    nothing, rollout = Ranked(rows=8).rollout(Retrained(Rng.of(stream(0))), Models(G, G), none)
    assert nothing.best is None
    assert rollout is None


def test_data_are_trained_on_by_rank_beside_what_was_found_and_are_not_saved() -> None:
    G = autoencoder(exact())
    data = (torch.arange(4000.0).reshape(2000, 2), torch.arange(2000.0))
    tuner = Ranked(rows=4000, sharpness=1e-3, data=data)
    x, score = torch.tensor([[-1.0, -1.0]]), torch.tensor([5000.0])
    state, rollout = tuner.rollout(Retrained(Rng.of(stream(0))), Models(G, G), evaluated(x, score))
    assert rollout is not None
    share = float((rollout["x_0"][:, 0] == -1).double().mean())
    expected = 1 / 2.001 / sum(1 / (2.001 + rank) for rank in range(2001))
    assert share == pytest.approx(expected, abs=4 * (expected / 4000) ** 0.5)
    assert len(dump(state)) < 20_000


def test_a_rows_loss_does_not_depend_on_other_rows() -> None:
    G, rng = autoencoder(exact()), stream(0)
    rollout = Rollout({"x_0": torch.randn(6, 2, generator=rng), "noise": torch.randn(6, 1, generator=rng)})
    part, models, tuner = torch.tensor([4, 1]), Models(G, G), Ranked()
    torch.testing.assert_close(tuner.loss(models, rollout.at(part)), tuner.loss(models, rollout)[part])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tuner", [Ranked(batch=16, rows=64), Distil(search="snes", every=2, rows=64)])
def test_an_autoencoder_learns_to_make_what_scores(tuner, seed) -> None:
    line, aim = exact(), torch.tensor([3.0, -1.0])
    G, optimiser = autoencoder(line), torch.optim.Adam(line.parameters(), lr=0.03)
    S = zmax.score(lambda x: -(x - aim).square().sum(1), differentiable=False)
    fresh = G.space.sample(256, stream(1))
    before = float(S(G.decode(fresh).detach()).mean())
    state, models = tuner.init(G, stream(seed)), Models(G, G)
    for _ in range(60):
        with torch.no_grad():
            state, proposal = tuner.collect(state, models)
            state, rollout = tuner.rollout(state, models, evaluate(proposal, G, S))
        if rollout is not None:
            optimiser.zero_grad()
            tuner.loss(models, rollout).mean().backward()
            optimiser.step()
    assert float(S(G.decode(fresh).detach()).mean()) > before + 2


def test_a_childs_encoder_moves_too_and_the_parents_stays() -> None:
    decoder, encoder = filled(nn.Linear(2, 5)), filled(Halves(5, 2), 1)
    G = zmax.generator(decoder, shape=(2,), encoder=encoder)
    child, x = child_of(G), torch.ones(1, 5)
    assert {name.partition(".")[0] for name in child.weights} == {"0", "1"}
    before = G.encoder(x)[0]
    with torch.no_grad():
        for weight in child.weights.values():
            weight += 1
    assert torch.equal(G.encoder(x)[0], before)
    assert not torch.equal(child.generator.encoder(x)[0], before)
    avatars = child_of(zmax.load_generator("avatars-vae"), layers="encoder").generator
    assert avatars.encoder(torch.rand(2, 3, 16, 16, generator=stream(0)))[0].shape == (2, 48)


class Halves(nn.Linear):
    def __init__(self, values: int, latent: int) -> None:
        super().__init__(values, 2 * latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = super().forward(x).chunk(2, 1)
        return mean, log_variance


def test_what_cannot_be_meant_is_refused() -> None:
    S = zmax.score(lambda x: x[:, 0], differentiable=False)
    with pytest.raises(CapabilityError, match="encoder"):
        zmax.finetune(zmax.generator(filled(nn.Linear(2, 5)), shape=(2,)), S, "ranked", budget=100)
    with pytest.raises(CapabilityError, match="scores alone"):
        Distil(search="gradient")
    with pytest.raises(InputError, match="no parameter '10'"):
        Distil(search="turbo:10")
    with pytest.raises(InputError, match="likelihood"):
        Ranked(likelihood="poisson")
    with pytest.raises(InputError, match="data to train on"):
        Ranked(data=(torch.zeros(3, 2), torch.tensor([1.0, 2.0, torch.nan])))
    state, data = Retrained(Rng.of(stream(0)), (torch.zeros(1, 2), torch.zeros(1))), (torch.zeros(3, 5), torch.zeros(3))
    with pytest.raises(ShapeError, match="data to train on"):
        Ranked(data=data).drawn(state, Models(flow(), flow()))
    with pytest.raises(InputError, match="a method of one"):
        zmax.generator(filled(nn.Linear(2, 5)), shape=(2,), encoder=lambda x: (x, x))
    with pytest.raises(ShapeError, match="what an encoder tells"):
        zmax.generator(filled(nn.Linear(2, 5)), shape=(2,), encoder=filled(nn.Linear(5, 4))).encoder(torch.ones(1, 5))
