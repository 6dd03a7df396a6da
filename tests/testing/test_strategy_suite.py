"""The strategy suite passes for a sound strategy and catches each way of breaking the contract."""

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from zmax.core.proposal import Latents, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.state import STATIC
from zmax.core.strategy import Need, Population, Strategy
from zmax.testing import StrategyConformance, drive, linear_gaussian, quadratic_score
from zmax.testing.claims import chance, comes_near
from zmax.testing.strategy_suite import exact_problem


@dataclass(frozen=True)
class State:
    space: Space = field(metadata=STATIC)
    rng: Rng
    u: Tensor
    best: Tensor
    top: float


class Climber(Strategy[State]):
    """Random local search around the best point so far."""

    def __init__(self, *, n=8, step=0.5):
        self.n, self.step = n, step

    def init(self, space, rng):
        u, after = Rng.of(rng).normal(self.n, space.dim)
        return State(space, after, u, torch.zeros(space.dim), float("-inf"))

    def ask(self, state):
        return Proposal(Latents(state.u))

    def tell(self, state, evaluation):
        i = int(evaluation.score.argmax())
        best, top = (state.u[i], float(evaluation.score[i])) if evaluation.score[i] > state.top else state_best(state)
        noise, after = state.rng.normal(*state.u.shape)
        return replace(state, rng=after, u=best + self.step * noise, best=best, top=top)


def state_best(state):
    return state.best, state.top


class Ascent(Climber):
    """Gradient ascent, clipped."""

    needs = frozenset({Need.GRADIENT})

    def ask(self, state):
        return Proposal(Latents(state.u), Value(grad="point"))

    def tell(self, state, evaluation):
        norm = evaluation.grad.double().norm(dim=1, keepdim=True).clamp_min(1.0)
        return replace(state, u=state.u + 0.3 * (evaluation.grad / norm).float())


class TestClimber(StrategyConformance):
    rank_based = True

    def make(self):
        return Climber()


class TestAscent(StrategyConformance):
    def make(self):
        return Ascent()


class WritesState(Climber):
    def tell(self, state, evaluation):
        state.u.add_(0.1)
        return super().tell(state, evaluation)


class AskCounts(Climber):
    calls = 0

    def ask(self, state):
        self.calls += 1
        return Proposal(Latents(state.u + self.calls))


class GlobalNoise(Climber):
    def tell(self, state, evaluation):
        after = super().tell(state, evaluation)
        return replace(after, u=after.u + torch.rand(after.u.shape))


class ForgetsItsStream(Climber):
    """Keeps its random stream in itself rather than in the state."""

    def init(self, space, rng):
        self.stream = rng
        return super().init(space, rng)

    def tell(self, state, evaluation):
        after = super().tell(state, evaluation)
        return replace(after, u=after.best + torch.randn(after.u.shape, generator=self.stream))


class IgnoresSeed(Climber):
    def init(self, space, rng):
        return super().init(space, torch.Generator().manual_seed(0))


class Averages(Climber):
    """A softmax in the linear domain, blind to failures."""

    def tell(self, state, evaluation):
        weights = (evaluation.score.exp() / evaluation.score.exp().sum()).float()
        noise, after = state.rng.normal(*state.u.shape)
        return replace(state, rng=after, u=weights @ state.u + self.step * noise)


class LooksAtFailures(Climber):
    def tell(self, state, evaluation):
        after = super().tell(state, evaluation)
        return replace(after, u=after.u + evaluation.plausibility.mean())


class UsesValues(Climber):
    def tell(self, state, evaluation):
        after = super().tell(state, evaluation)
        finite = evaluation.score.where(evaluation.ok, 0.0).clamp(-10, 10)
        return replace(after, u=after.u * (1 + 0.01 * finite.mean()))


class StandsStill(Climber):
    def tell(self, state, evaluation):
        return state


class Prior(Climber):
    """Best-of-N: fresh prior draws each round, which it also gives as draws of the tilted law."""

    def tell(self, state, evaluation):
        u, after = state.rng.normal(*state.u.shape)
        return replace(state, rng=after, u=u)

    def draws(self, state):
        return Population.equal(state.u, torch.zeros(len(state.u)).double())


class Exact(Prior):
    """Draws of the tilted law itself."""

    def draws(self, state):
        u = exact_problem(6)[0].tilt(exact_problem(6)[1]).sample(self.n, state.rng.generator())
        return Population.equal(u.float(), torch.zeros(self.n).double())


class Shifted(Exact):
    """Draws of the tilted law, moved by a quarter of the prior's standard deviation along one axis."""

    def draws(self, state):
        right = super().draws(state)
        return replace(right, u=right.u + 0.25 * torch.eye(6)[0])


class Narrow(Exact):
    """Draws of a law with the right mean and three quarters of the right deviations."""

    def draws(self, state):
        right = super().draws(state)
        mean = exact_problem(6)[0].tilt(exact_problem(6)[1]).mean.float()
        return replace(right, u=mean + 0.75 * (right.u - mean))


MUTANTS = {
    "tell_and_ask_leave_the_state_alone": WritesState,
    "asking_twice_gives_the_same": AskCounts,
    "a_seed_fixes_the_run": GlobalNoise,
    "seeds_differ": IgnoresSeed,
    "a_saved_state_goes_on_bit_for_bit": ForgetsItsStream,
    "a_round_of_failures_does_not_break_it": Averages,
    "extreme_scores_do_not_break_it": Averages,
    "what_is_said_of_failed_samples_does_not_matter": LooksAtFailures,
    "only_the_order_of_scores_counts": UsesValues,
    "learns": StandsStill,
    "failed_samples_do_not_break_it": StandsStill,
}


@pytest.mark.parametrize("test", MUTANTS)
def test_each_law_catches_its_mutant(test):
    class Suite(StrategyConformance):
        rank_based = True

        def make(self):
            return MUTANTS[test]()

    with pytest.raises(AssertionError):
        getattr(Suite(), f"test_{test}")()


def suite(strategy, claim, **attributes):
    """Return the suite of a strategy that makes that claim."""

    def make(self):
        return strategy(n=attributes.get("n", 8))

    return type("Suite", (StrategyConformance,), {"make": make, "claim": claim, **attributes})()


@pytest.mark.parametrize("claim", ["best-of-n", "maximum", "law"])
@pytest.mark.parametrize("test", ["learns", "failed_samples_do_not_break_it"])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_prior_draws_fail_every_claim_but_their_own(claim, test, first):
    """Whatever the problem's seed: they are best-of-N, and neither better, nor near the maximum, nor tilted."""

    def problem(self):
        return exact_problem(6, first)[0].generator(), exact_problem(6, first)[1]

    with pytest.raises(AssertionError):
        getattr(suite(Prior, claim, problem=problem), f"test_{test}")()
    getattr(suite(Prior, "prior", problem=problem), f"test_{test}")()


def test_a_climber_is_not_best_of_n_and_keeps_its_claims():
    suite(Climber, "best-of-n").test_learns()
    suite(Climber, "maximum", share=0.3).test_learns()
    with pytest.raises(AssertionError, match="as good with probability 0"):
        suite(Climber, "prior").test_learns()
    with pytest.raises(AssertionError, match="is left of what best-of-N leaves"):
        suite(Climber, "maximum", share=1e-4).test_learns()


def test_a_law_is_told_from_one_that_is_a_little_off():
    suite(Exact, "law", n=400, rounds=1).test_learns()
    for wrong in (Shifted, Narrow, Prior):
        with pytest.raises(AssertionError, match="standard errors away"):
            suite(wrong, "law", n=400, rounds=1).test_learns()
    with pytest.raises(AssertionError, match="gives no draws"):
        suite(Climber, "law").test_learns()


def test_a_score_above_the_known_maximum_is_refused():
    """A maximum that is exceeded is none: the suite says so rather than pass."""
    with pytest.raises(AssertionError, match="exceeds the known maximum"):
        comes_near([1.0, 2.0], [10, 10], torch.linspace(-1, 1, 100).double(), 1.5, 0.1)


def test_the_chance_of_best_of_n_is_that_of_the_maximum_of_n_draws():
    """Of the scores 1 to 100, the best of 3 draws is above 90 with probability 1 - 0.9^3."""
    prior = torch.arange(1.0, 101.0).double()
    assert chance(90.5, 3, prior) == pytest.approx(1 - 0.9**3)
    assert chance(1000.0, 3, prior) == 0.0
    assert chance(-1.0, 3, prior) == 1.0


def test_drive_numbers_evaluations_and_marks_failures():
    G, S = linear_gaussian(torch.eye(2)).generator(), quadratic_score(b=[float("inf"), 0.0])
    trace = drive(Climber(n=3), G, S, rounds=2)
    assert [e.ids for e in trace.evaluations] == [range(0, 3), range(3, 6)]
    assert not trace.evaluations[0].ok.any()
    assert trace.best == float("-inf")
    assert set(trace.evaluations[0].failures) == {0, 1, 2}


def test_drive_returns_the_gradient_in_u():
    law, S = exact_problem(4)
    trace = drive(Ascent(), law.generator(), S, rounds=1)
    u = trace.proposals[0].u.double()
    x = u @ law.matrix.T + law.bias
    expected = (S.vector - x @ S.matrix) @ law.matrix
    torch.testing.assert_close(trace.evaluations[0].grad, expected.float(), rtol=1e-5, atol=1e-5)


def test_gradient_ascent_reaches_the_known_maximum():
    law, S = exact_problem(4)
    best = law.generator().decode(law.tilt(S).argmax_in_ball(100.0)[None])
    trace = drive(Ascent(), law.generator(), S, rounds=300)
    assert trace.best == pytest.approx(float(S(best.detach())), abs=1e-4)
