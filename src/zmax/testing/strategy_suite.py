"""Conformance suite of the Strategy contract."""

from __future__ import annotations

import copy
import io
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.rng import stream
from zmax.core.samples import spread
from zmax.core.score import Score
from zmax.core.start import Start, Starts
from zmax.core.state import dump, restore
from zmax.core.strategy import Population, Strategy
from zmax.kit.started import Started
from zmax.testing.claims import (
    HARD,
    RARE,
    Claim,
    beats_best_of_n,
    comes_near,
    fits_the_law,
    is_best_of_n,
    prior_scores,
    scored,
)
from zmax.testing.compare import same, skip
from zmax.testing.driver import Spoil, Trace, drive, evaluate, proceed
from zmax.testing.linear import LinearGaussian, linear_gaussian
from zmax.testing.quadratic import QuadraticScore, quadratic_score


class StrategyConformance:
    """Inherit, implement :meth:`make`, and let pytest collect the class.

    Attributes:
        dim: dimension of the problem.
        rounds: rounds that suffice to bear out the claim.
        seeds: number of seeds of the learning tests; twice as many where the law is the claim.
        claim: what the method says of itself: "best-of-n", that it beats the best of as many prior draws; "maximum",
            that it comes near the known maximum; "law", that its draws follow the tilted law; or "prior", that it is
            best-of-N.
        share: of what best-of-N leaves of the way to the maximum, the most that "maximum" may leave.
        temperature: of the tilted law.
        rank_based: True if the strategy claims to depend on the order of scores alone; then that is tested.

    Example:
        >>> class TestMine(StrategyConformance):
        ...     def make(self):
        ...         return zmax.search.SNES(population=8)
    """

    dim: ClassVar[int] = 6
    rounds: ClassVar[int] = 20
    seeds: ClassVar[int] = 5
    claim: ClassVar[Claim] = "best-of-n"
    share: ClassVar[float] = 0.1
    temperature: ClassVar[float] = 1.0
    rank_based: ClassVar[bool] = False

    def make(self) -> Strategy[Any]:
        """Return a strategy under test, with small batches; a fresh one at every call."""
        raise NotImplementedError("a conformance suite needs make()")

    def problem(self) -> tuple[Generator, Score]:
        """Return the generator and score that most tests use: linear-Gaussian with a concave quadratic."""
        return exact_problem(self.dim)[0].generator(), exact_problem(self.dim)[1]

    def maximum(self) -> float:
        """Return the maximum of the score over all that the generator makes."""
        return self.problem()[1].bounds[1]

    def law(self) -> tuple[Tensor, Tensor]:
        """Return mean and covariance of the tilted law of :meth:`place`."""
        law, score = exact_problem(self.dim)
        tilted = law.tilt(score, self.temperature)
        return tilted.mean, tilted.cov

    def place(self, u: Tensor) -> Tensor:
        """Return the vectors (n, d) whose law is known, of whitened coordinates (n, dim): these themselves."""
        return u

    def draws(self, trace: Trace) -> int:
        """Return how many prior draws cost what a trace has cost: as many as its score calls that did not fail."""
        return scored(trace)

    def test_tell_and_ask_leave_the_state_alone(self) -> None:
        """States are values: neither call changes the one it is given."""
        strategy, generator, score, state = self._started(2)
        kept = copy.deepcopy(_data(state))
        evaluation = evaluate(strategy.ask(state), generator, score)
        assert same(kept, _data(state)), "ask changes the state"
        told = copy.deepcopy(_evaluation(evaluation))
        strategy.tell(state, evaluation)
        assert same(kept, _data(state)), "tell changes the state it is given"
        assert same(told, _evaluation(evaluation)), "tell writes into the evaluation"

    def test_asking_twice_gives_the_same(self) -> None:
        """`ask` is a projection of the state."""
        strategy, _, _, state = self._started(2)
        assert same(_points(strategy.ask(state)), _points(strategy.ask(state))), "two asks differ"

    def test_a_seed_fixes_the_run(self) -> None:
        """The same seed gives the same run, whatever the global random state; that state is left alone."""
        before = torch.get_rng_state()
        first = self._drive(seed=3)
        untouched = torch.equal(before, torch.get_rng_state())
        torch.set_rng_state(stream(1, "elsewhere").get_state())
        second = self._drive(seed=3)
        torch.set_rng_state(before)
        assert untouched, "the strategy draws from the global random state"
        assert same(_run(first), _run(second)), "two runs of one seed differ"

    def test_seeds_differ(self) -> None:
        """Different seeds propose different points."""
        first, second = self._drive(seed=0, rounds=2), self._drive(seed=1, rounds=2)
        assert not same(_run(first), _run(second)), "two seeds give the same run"

    def test_a_saved_state_goes_on_bit_for_bit(self) -> None:
        """Saving and restoring after any `tell` changes nothing that follows."""
        strategy, generator, score, state = self._started(3)
        again = self.make()  # another process: a new instance, initialised from another stream
        back = restore(again.init(generator.space, stream(99, "other")), dump(state))
        straight = proceed(strategy, generator, score, state, 4)
        resumed = proceed(again, generator, score, back, 4)
        assert same(_run(straight), _run(resumed)), "the run resumed from a saved state differs"

    def test_begins_at_a_start_and_goes_on_bit_for_bit(self) -> None:
        """A method that takes a start goes on from a saved state after it was told of its points."""
        if self.make().begins in (None, Starts.PATH):
            skip("takes no start, or one with a path")
        generator, score = self.problem()
        start = Start(generator.space.sample(2, stream(5, "start")), strength=0.5)
        strategy, again = (Started(strategy=self.make(), start=start) for _ in range(2))
        state = drive(strategy, generator, score, 2).state
        back = restore(again.init(generator.space, stream(99, "other")), dump(state))
        straight = proceed(strategy, generator, score, state, 3)
        _assert_finite(straight, "it begins at a start")
        resumed = proceed(again, generator, score, back, 3)
        assert same(_run(straight), _run(resumed)), "the run that began at a start differs when resumed"

    def test_failed_samples_do_not_break_it(self) -> None:
        """With a third of the samples failing, proposals stay finite, and it beats best-of-N, or keeps to its law."""
        traces = self._traces(_fail_some)
        for trace in traces:
            _assert_finite(trace, "some samples failed")
        self._assert_holds("best-of-n" if self.claim == "maximum" else self.claim, traces, HARD)

    def test_what_is_said_of_failed_samples_does_not_matter(self) -> None:
        """The plausibility and the reason given for a failed row play no part."""

        def told(plausibility: float, reason: str) -> Trace:
            def spoil(evaluation: Evaluation) -> Evaluation:
                failed = _fail_some(evaluation)
                if not len(failed.score):
                    return failed
                said = None if failed.plausibility is None else failed.plausibility.where(failed.ok, plausibility)
                return replace(failed, plausibility=said, failures=dict.fromkeys(failed.failures, reason))

            return self._drive(rounds=4, spoil=spoil)

        first, second = told(0.0, "NaN"), told(1.0, "ValueError: no")
        assert same(_asked(first), _asked(second)), "what is said of a failed sample changes the proposals"

    def test_a_round_of_failures_does_not_break_it(self) -> None:
        """After rounds in which every sample failed, at the start or later, proposals stay finite."""
        for rounds in (0, 2):
            strategy, generator, score, state = self._started(rounds)
            failed = proceed(strategy, generator, score, state, 2, spoil=lambda e: _fail(e, torch.ones_like(e.ok)))
            after = proceed(strategy, generator, score, failed.state, 3)
            _assert_finite(failed, "all samples failed")
            _assert_finite(after, "all samples had failed before")

    def test_extreme_scores_do_not_break_it(self) -> None:
        """Scores and gradients of +-1e30, alone or mixed, leave proposals finite."""
        for low, high in ((1e30, 1e30), (-1e30, -1e30), (-1e30, 1e30)):
            trace = self._drive(rounds=5, spoil=_extreme(low, high))
            _assert_finite(trace, f"scores were {low:g} and {high:g}")

    def test_only_the_order_of_scores_counts(self) -> None:
        """For a rank-based strategy, adding a constant or scaling the score changes nothing."""
        if not self.rank_based:
            skip("does not claim to be rank-based")
        plain = self._drive(spoil=_rescaled(1.0, 0.0))
        for factor, shift in ((1.0, 64.0), (4.0, 0.0), (4.0, -64.0)):
            moved = self._drive(spoil=_rescaled(factor, shift))
            assert same(_asked(plain), _asked(moved)), f"{factor:g} S + {shift:g} gives other proposals than S"

    def test_learns(self) -> None:
        """What the method claims holds over the seeds; prior draws fail every claim but their own."""
        self._assert_holds(self.claim, self._traces())

    def _traces(self, spoil: Spoil | None = None) -> list[Trace]:
        seeds = self.seeds * (2 if self.claim == "law" else 1)
        return [self._drive(seed=seed, spoil=spoil) for seed in range(seeds)]

    def _assert_holds(self, claim: Claim, traces: list[Trace], rare: float = RARE) -> None:
        if claim == "law":
            return fits_the_law([self._population(trace) for trace in traces], *self.law())
        bests, draws = [trace.best for trace in traces], [self.draws(trace) for trace in traces]
        prior = prior_scores(*self.problem())
        if claim == "maximum":
            return comes_near(bests, draws, prior, self.maximum(), self.share)
        if claim == "prior":
            return is_best_of_n(bests, draws, prior)
        return beats_best_of_n(bests, draws, prior, rare)

    def _population(self, trace: Trace) -> Population:
        population = self.make().draws(trace.state)
        assert population is not None, "claims a law, and gives no draws"
        return replace(population, u=self.place(population.u))

    def _drive(self, *, seed: int = 0, rounds: int | None = None, spoil: Spoil | None = None) -> Trace:
        generator, score = self.problem()
        return drive(self.make(), generator, score, rounds or self.rounds, seed, spoil=spoil)

    def _started(self, rounds: int) -> tuple[Strategy[Any], Generator, Score, Any]:
        strategy = self.make()
        generator, score = self.problem()
        return strategy, generator, score, drive(strategy, generator, score, rounds).state


def exact_problem(dim: int, seed: int = 0) -> tuple[LinearGaussian, QuadraticScore]:
    """Return a well-conditioned random linear-Gaussian law and a concave quadratic score on it."""
    rng = stream(seed, "exact-problem", dim)
    mixing = torch.eye(dim, dtype=torch.float64) + 0.3 * torch.randn(dim, dim, generator=rng).double() / dim**0.5
    target = torch.randn(dim, generator=rng).double()
    return linear_gaussian(mixing), quadratic_score(torch.eye(dim), target)


def _data(state: Any) -> Any:
    """Return the saved part of a state as plain data."""
    return torch.load(io.BytesIO(dump(state)), weights_only=True)


def _evaluation(evaluation: Evaluation) -> tuple[Any, ...]:
    return evaluation.score, evaluation.ok, evaluation.plausibility, evaluation.grad, dict(evaluation.failures)


def _points(proposal: Proposal) -> tuple[Any, ...]:
    return (*vars(proposal.at).values(), *vars(proposal.want).values())


def _asked(trace: Trace) -> list[Any]:
    return [_points(proposal) for proposal in trace.proposals]


def _run(trace: Trace) -> tuple[Any, ...]:
    return _asked(trace), [_evaluation(e)[:4] for e in trace.evaluations], _data(trace.state)


def _fail(evaluation: Evaluation, failed: Tensor) -> Evaluation:
    """Fail those rows; of a Jacobian product, which scores nothing, they come back as zeros."""
    grad = evaluation.grad
    if grad is not None:
        grad = torch.where(spread(failed, grad), 0.0, grad)
    evaluation = replace(evaluation, ok=evaluation.ok & ~failed, grad=grad)
    if not len(evaluation.score):
        return evaluation
    reasons = dict.fromkeys(failed.nonzero().flatten().tolist(), "made to fail")
    return replace(evaluation, score=evaluation.score.masked_fill(failed, float("-inf")), failures=reasons)


def _fail_some(evaluation: Evaluation) -> Evaluation:
    return _fail(evaluation, torch.arange(len(evaluation.ok)) % 3 == 1)


def _extreme(low: float, high: float) -> Spoil:
    def spoil(evaluation: Evaluation) -> Evaluation:
        odd = torch.arange(len(evaluation.score)) % 2 == 1  # products bring extreme gradients only
        grad = None if evaluation.grad is None else evaluation.grad.sign() * 1e30
        return replace(evaluation, score=torch.where(odd, high, low), grad=grad)

    return spoil


def _rescaled(factor: float, shift: float) -> Spoil:
    """Round scores to multiples of 1/1024, then scale by a power of two and shift: exact in float32."""

    def spoil(evaluation: Evaluation) -> Evaluation:
        return replace(evaluation, score=(evaluation.score * 1024).round() / 1024 * factor + shift)

    return spoil


def _assert_finite(trace: Trace, when: str) -> None:
    for proposal in trace.proposals:
        assert len(proposal) > 0, f"nothing is proposed when {when}"
        assert bool(torch.isfinite(torch.as_tensor(proposal.at.points)).all()), f"proposals are not finite when {when}"
