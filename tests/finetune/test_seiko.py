"""A surrogate between rounds: the tilted law is its fixed point, it ventures what it foresees, and few calls do."""

from __future__ import annotations

import pytest
import torch

import zmax
from zmax.core.errors import CapabilityError, InputError
from zmax.core.proposal import Evaluation
from zmax.core.rng import stream
from zmax.core.tuner import Models, Rollout
from zmax.finetune import SEIKO
from zmax.finetune.latents.seiko import Belief, missed
from zmax.finetune.weights import child_of
from zmax.kit.process import Process

LAW = zmax.testing.linear_gaussian(torch.eye(2))
SCORE = zmax.testing.quadratic_score(b=[1.0, -2.0])
BLACK = zmax.score(lambda x: SCORE(x.detach()).detach(), differentiable=False, name="black box")


def told(samples: torch.Tensor, score: torch.Tensor) -> Evaluation:
    return Evaluation(score.double(), torch.isfinite(score), None, range(len(score)), samples=samples)


def models() -> Models:
    G = LAW.generator()
    return Models(child_of(G, "latents").generator, G)


def rolled(tuner: SEIKO, pair: Models, state=None, score=SCORE):
    with torch.no_grad():
        state, proposal = tuner.collect(state or tuner.init(pair.child, stream(0)), pair)
        x = pair.child.decode(pair.child.space.latents(proposal.u))
        return tuner.rollout(state, pair, told(x, score(x)))


def slope(tuner: SEIKO, pair: Models, rollout: Rollout) -> float:
    """Return the norm of the loss's gradient."""
    weights = list(pair.child.flow.parameters())
    found = torch.autograd.grad(tuner.loss(pair, rollout).mean(), weights, allow_unused=True)
    return float(sum(g.square().sum() for g in found if g is not None) ** 0.5)


def test_the_loss_is_flat_at_the_law_that_the_surrogate_tilts_to_and_steep_at_the_parents():
    pair, tuner, temperature = models(), SEIKO(beta=0.0), 2.0
    x = 2 * torch.randn(60, 2, generator=stream(1))
    score = SCORE(x).double()
    belief = Belief(Process.blank().told(x, score), 0.0, float(score.std(correction=0)) / temperature)
    rollout = Rollout({"u": torch.randn(64, 2, generator=stream(2))}, belief)
    steep = slope(tuner, pair, rollout)
    with torch.no_grad():
        pair.child.flow.shift.copy_(LAW.tilt(SCORE, temperature).mean)
    assert slope(tuner, pair, rollout) < 0.02 * steep


def test_optimism_is_worth_beta_standard_deviations():
    x, far = torch.randn(20, 2, generator=stream(0)), torch.tensor([[0.0, 0.0], [30.0, 0.0]])
    process = Process.blank().told(x, torch.sin(3 * x[:, 0]))
    plain, bold = Belief(process, 0.0, 1.5).of(far), Belief(process, 2.0, 1.5).of(far)
    assert torch.allclose(bold - plain, 3.0 * process.predict(process.features(far))[1])
    assert bold[1] - plain[1] > bold[0] - plain[0]


def test_little_is_ventured_until_scores_are_foreseen():
    pair, tuner = models(), SEIKO(batch=30, temperature=1.0, rows=8)
    state, first = rolled(tuner, pair)
    spread = float(state.score.std(correction=0))
    assert first.shared.unit == pytest.approx(spread / (1 + spread**2) ** 0.5)
    x = torch.randn(50, 2, generator=stream(3))
    assert missed(state, x, SCORE(x).double()) < 0.05 * spread  # a linear score is known from thirty values
    state, second = rolled(tuner, pair, state)
    assert second.shared.unit == pytest.approx(float(state.score.std(correction=0)), rel=0.01)


def test_failed_rows_teach_nothing_and_rows_of_the_loss_do_not_depend_on_each_other():
    pair, tuner = models(), SEIKO(batch=10, rows=12)

    def sometimes(x):
        return torch.where(torch.arange(len(x)) % 2 == 0, SCORE(x), torch.inf)

    state, rollout = rolled(tuner, pair, score=sometimes)
    assert len(state.score) == 5
    whole = tuner.loss(pair, rollout)
    assert torch.allclose(whole[3:5], tuner.loss(pair, rollout.at(torch.tensor([3, 4]))), atol=1e-5)
    assert rolled(tuner, pair, score=lambda x: torch.full((len(x),), torch.nan))[1] is None
    assert all(check.ok for check in tuner.checks(pair, rollout))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_hundred_calls_of_a_black_box_lead_to_the_tilted_law(seed):
    tuner = SEIKO(temperature=2.0, rows=256)
    t = zmax.finetune(
        LAW.generator(), BLACK, tuner, 120, seed=seed, rate=1e-2, looks=1, fresh=16, keep="last", progress=False
    )
    with torch.no_grad():
        x = t.generator.decode(t.generator.space.sample(4000, stream(9)))
    exact = LAW.tilt(SCORE, 2.0)
    assert torch.allclose(x.double().mean(0), exact.mean, atol=0.12)
    assert torch.allclose(x.double().T.cov(), exact.cov, atol=0.15)
    kl = float(exact.mean.square().sum() / 2)
    assert t.after.look.kl == pytest.approx(kl, abs=0.15)
    assert t.ledger.score_calls <= 120


def test_it_needs_gradients_of_the_generator_alone():
    G = zmax.generator(lambda z: z.detach().round(), shape=(2,), modality="vector", differentiable=False)
    with pytest.raises(CapabilityError, match="pulls gradients back through the generator"):
        zmax.finetune(G, BLACK, "seiko", 100)
    with pytest.raises(InputError, match="beta"):
        SEIKO(beta=-1.0)
