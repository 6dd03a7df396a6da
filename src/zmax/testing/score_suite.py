"""Conformance suite of the Score contract."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from zmax.core.samples import Samples, count, take
from zmax.core.score import Score
from zmax.testing.compare import skip, slope_error, slopes


class ScoreConformance:
    """Inherit, implement :meth:`make` and :meth:`samples`, and let pytest collect the class.

    Attributes:
        tolerance: how far values may move with the batch around the sample, relative to their scale.
        fd_step: step of the finite differences, in units of the samples.
        fd_tolerance: how far finite differences and autograd may be apart, relative.

    Example:
        >>> class TestMine(ScoreConformance):
        ...     def make(self):
        ...         return zmax.load_score("brightness")
        ...     def samples(self):
        ...         return torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    """

    tolerance: ClassVar[float] = 1e-5
    fd_step: ClassVar[float] = 1e-2
    fd_tolerance: ClassVar[float] = 2e-2

    def make(self) -> Score:
        """Return a score under test; called once a test."""
        raise NotImplementedError("a conformance suite needs make()")

    def samples(self) -> Samples:
        """Return at least four samples that the score must handle, always the same."""
        raise NotImplementedError("a conformance suite needs samples()")

    def test_describes_itself(self) -> None:
        """It has a name and ordered bounds."""
        score = self.make()
        assert score.name, "a score needs a name"
        assert score.bounds[0] <= score.bounds[1], f"bounds are the wrong way round: {score.bounds}"

    def test_returns_one_finite_value_a_sample(self) -> None:
        """N samples give a tensor (n,) of finite values, within the declared bounds."""
        score, samples = self.make(), self.samples()
        for n in (1, count(samples)):
            values = score(take(samples, range(n)))
            assert isinstance(values, Tensor), f"a score returns a tensor, not {type(values).__name__}"
            assert values.is_floating_point(), f"values are of dtype {values.dtype}, not floating point"
            assert tuple(values.shape) == (n,), f"{n} samples give values of shape {tuple(values.shape)}"
            values = values.detach()
            assert bool(torch.isfinite(values).all()), f"values are not finite: {values.tolist()}"
            slack = self.tolerance * (1 + float(values.abs().max()))
            low, high = score.bounds
            assert low - slack <= float(values.min()) <= float(values.max()) <= high + slack, "values leave the bounds"

    def test_is_deterministic_unless_noisy(self) -> None:
        """The same samples give the same values, and the global random state is left alone."""
        score, samples = self.make(), self.samples()
        before = torch.get_rng_state()
        first, second = _values(score, samples), _values(score, samples)
        assert torch.equal(before, torch.get_rng_state()), "the score draws from the global random state"
        if not score.noisy:
            assert torch.equal(first, second), "two calls differ; declare noisy = True if that is meant"

    def test_values_do_not_depend_on_the_batch(self) -> None:
        """A sample gets the same value alone, in any order and in any chunking."""
        score, samples = self.make(), self.samples()
        if score.noisy:
            skip("declared noisy")
        n = count(samples)
        whole = _values(score, samples)
        slack = self.tolerance * (1 + float(whole.abs().max()))
        reverse = _values(score, take(samples, range(n)[::-1])).flip(0)
        assert float((whole - reverse).abs().max()) <= slack, "values change with the order of the batch"
        for size in (1, 3):
            parts = [_values(score, take(samples, range(n)[i : i + size])) for i in range(0, n, size)]
            assert float((whole - torch.cat(parts)).abs().max()) <= slack, f"values change when scored {size} at a time"

    def test_leaves_the_samples_alone(self) -> None:
        """Scoring does not write into the samples."""
        score, samples = self.make(), self.samples()
        if not isinstance(samples, Tensor):
            skip("samples are not tensors")
        before = samples.clone()
        _values(score, samples)
        assert torch.equal(before, samples), "the score changes its samples in place"

    def test_gradients_are_those_of_the_values(self) -> None:
        """Where declared differentiable, autograd agrees with finite differences."""
        score, samples = self.make(), self.samples()
        if not score.differentiable:
            skip("not declared differentiable")
        assert isinstance(samples, Tensor), "a differentiable score takes tensors"
        error = slope_error(slopes(score, samples, 4, self.fd_step))
        assert error <= self.fd_tolerance, f"autograd and finite differences are {error:.2g} apart"


def _values(score: Score, samples: Samples) -> Tensor:
    with torch.no_grad():
        return score(samples).cpu().double()
