"""Conformance suite of the DiffusionGenerator contract."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.budget import Ledger
from zmax.core.generator import DiffusionGenerator
from zmax.core.rng import stream
from zmax.core.samples import Samples
from zmax.generators.diffusion.path import Path, has_path, path_of
from zmax.generators.diffusion.steps import spread_over
from zmax.run.meter import Meter
from zmax.testing.compare import close, rows, same, skip, slope_error, slopes
from zmax.testing.generator_suite import condition


class PathConformance:
    """Inherit, implement :meth:`make`, and let pytest collect the class: what methods that steer a path rely on.

    Attributes:
        n: batch size of the tests.
        tolerance: how far answers may move with the batch around them, relative to their scale.
        end_tolerance: how far the denoiser may be from the data themselves at the end of the path, relative.
        fd_step: step of the finite differences in x_t.
        fd_tolerance: how far finite differences and autograd may be apart, relative.
        draws: samples whose mean is compared with and without fresh noise.
        bias: by how much the means may differ beyond chance, in standard deviations of a sample: what few steps cost.

    Example:
        >>> class TestMine(PathConformance):
        ...     def make(self):
        ...         return zmax.diffusion(network, shape=(3, 32, 32), schedule="vp-linear", parametrisation="epsilon")
    """

    n: ClassVar[int] = 5
    tolerance: ClassVar[float] = 1e-4
    end_tolerance: ClassVar[float] = 0.05
    fd_step: ClassVar[float] = 1e-2
    fd_tolerance: ClassVar[float] = 2e-2
    draws: ClassVar[int] = 200
    bias: ClassVar[float] = 0.25

    def make(self) -> DiffusionGenerator:
        """Return a path model under test; called once a test."""
        raise NotImplementedError("a conformance suite needs make()")

    def points(self, generator: DiffusionGenerator) -> tuple[Float[Tensor, "n ..."], Float[Tensor, " n"]]:
        """Return points x_t of the path and their times, one a row, from noise to near the data."""
        path, rng = _path(generator), stream(0, "path-conformance")
        first, second = (torch.randn(self.n, *path.shape, generator=rng) for _ in range(2))
        with torch.no_grad():
            x_0 = generator.denoise(path.begin(first), path.times[:1].expand(self.n).to(first)).cpu()
        t = path.times[torch.linspace(0, path.steps - 1, self.n).long()].to(x_0)
        return spread_over(path.schedule.alpha(t), x_0) * x_0 + spread_over(path.schedule.sigma(t), x_0) * second, t

    def test_denoising_is_deterministic(self) -> None:
        """The same points give the same answers, of their shape, and the global random state is left alone."""
        generator = self.make()
        x, t = self.points(generator)
        before = torch.get_rng_state()
        first, second = _denoised(generator, x, t), _denoised(generator, x, t)
        assert torch.equal(before, torch.get_rng_state()), "denoise draws from the global random state"
        assert first.shape == x.shape, f"points {tuple(x.shape)} give answers {tuple(first.shape)}"
        assert bool(torch.isfinite(first).all()), "answers are not finite"
        assert same(first, second), "two answers about the same points differ"

    def test_denoising_does_not_depend_on_the_batch(self) -> None:
        """A point gets the same answer alone, in any order, and beside points of other times."""
        generator = self.make()
        x, t = self.points(generator)
        whole = rows(_denoised(generator, x, t))
        reverse = rows(_denoised(generator, x.flip(0), t.flip(0)))[::-1]
        assert close(whole, reverse, self.tolerance), "answers change with their order in the batch"
        alone = [rows(_denoised(generator, x[i : i + 1], t[i : i + 1]))[0] for i in range(len(x))]
        assert close(whole, alone, self.tolerance), "answers change with the points around them"

    def test_denoising_leaves_no_trace(self) -> None:
        """Denoising changes no point, time, weight, flag, mode or stored gradient, and obeys `torch.no_grad`."""
        generator = self.make()
        x, t = self.points(generator)
        before, kept = condition(generator), (x.clone(), t.clone())
        answer = _denoised(generator, x, t)
        assert not answer.requires_grad, "denoise builds a graph under torch.no_grad()"
        assert torch.is_grad_enabled(), "denoise leaves autograd switched off"
        assert same(kept, (x, t)), "denoise writes into the points or times it is given"
        assert same(before, condition(generator)), "denoise changes weights, buffers, gradients, flags or modes"

    def test_denoising_is_counted(self) -> None:
        """Each row costs as many calls of the declared networks as any other, and at least one."""
        generator = self.make()
        x, t = self.points(generator)
        t = t[:1].expand(len(x))
        one, all_rows = (_calls(generator, x[:n], t[:n]) for n in (1, len(x)))
        assert one >= 1, "denoise runs none of the declared networks through their __call__"
        assert all_rows == len(x) * one, f"{len(x)} rows count {all_rows} evaluations, one row {one}"

    def test_the_schedule_leads_from_noise_to_data(self) -> None:
        """Times fall; the signal's scale never falls on the way and the noise's always does, to almost nothing."""
        generator = self.make()
        path = _path(generator)
        times = generator.schedule.times(path.steps)
        assert tuple(times.shape) == (path.steps + 1,), f"{path.steps} steps have times {tuple(times.shape)}"
        assert bool((times.diff() < 0).all()), "times do not fall from noise to data"
        alpha, sigma = generator.schedule.alpha(times), generator.schedule.sigma(times)
        assert bool(torch.isfinite(torch.stack([alpha, sigma])).all()), "levels are not finite"
        assert bool((alpha.diff() >= 0).all()), "alpha falls on the way to the data"
        assert bool((sigma.diff() < 0).all()), "sigma does not fall on the way to the data"
        assert float(alpha[-1]) > 0 <= float(sigma[-1]) <= 0.01 * float(sigma[0]), "noise is left at the end"

    def test_the_end_of_the_path_is_the_data(self) -> None:
        """At the last time the denoiser returns what it is given."""
        generator = self.make()
        x, t = self.points(generator)
        data, last = _denoised(generator, x, t).cpu(), _path(generator).times[-1:].expand(len(x)).to(t)
        again = _denoised(generator, data, last).cpu()
        apart = float((again - data).norm() / (1e-12 + data.norm()))
        assert apart <= self.end_tolerance, f"at the end of the path data and their denoised ones are {apart:.2g} apart"

    def test_finishing_is_row_by_row(self) -> None:
        """The same ends give the same samples, alone or in any order; the global random state is left alone."""
        generator = self.make()
        x_0 = _denoised(generator, *self.points(generator))
        before = torch.get_rng_state()
        whole, again = rows(_finished(generator, x_0)), rows(_finished(generator, x_0))
        assert torch.equal(before, torch.get_rng_state()), "finish draws from the global random state"
        assert same(whole, again), "finishing twice gives other samples"
        reverse = rows(_finished(generator, x_0.flip(0)))[::-1]
        alone = [rows(_finished(generator, x_0[i : i + 1]))[0] for i in range(len(x_0))]
        assert close(whole, reverse, self.tolerance), "samples change with their order in the batch"
        assert close(whole, alone, self.tolerance), "samples change with the ends around them"

    def test_the_path_has_a_space_of_its_noises(self) -> None:
        """`stochastic()` lives in a PathSpace of one noise a step, on the levels of the generator's own schedule."""
        generator = self.make()
        space = generator.stochastic().space
        assert has_path(space), "stochastic() has no path: make its space by zmax.PathSpace.along(zmax.Path(...))"
        path = path_of(space)
        size = path.columns(0).stop
        assert space.dim == path.steps * size, f"{path.steps} noises of {size} values, {space.dim} dimensions"
        here, there = (
            torch.stack([s.alpha(path.times), s.sigma(path.times)]) for s in (path.schedule, generator.schedule)
        )
        assert bool(torch.allclose(here, there)), "the path has other levels than the generator's schedule"

    def test_noises_decide_the_sample(self) -> None:
        """With fresh noise too, a latent decodes to the same sample, also in a second `stochastic()`."""
        generator = self.make()
        path_model = generator.stochastic()
        u = path_model.space.sample(self.n, stream(1, "path-conformance"))
        before = torch.get_rng_state()
        first, second = _decoded(path_model, u), _decoded(path_model, u)
        assert torch.equal(before, torch.get_rng_state()), "the path's decode draws from the global random state"
        assert same(rows(first), rows(second)), "two decodes of the same noises differ"
        assert same(rows(first), rows(_decoded(generator.stochastic(), u))), "a second stochastic() decodes otherwise"

    def test_decoding_takes_the_steps_of_the_path(self) -> None:
        """Decoding is `Path.begin`, `Path.step` with the latent's noises, and `finish`."""
        path_model = self.make().stochastic()
        path, u = path_of(path_model.space), path_model.space.sample(self.n, stream(2, "path-conformance"))
        noises = [u[:, path.columns(k)].reshape(-1, *path.shape) for k in range(path.steps)]
        x, before = path.begin(noises[0]), None
        for step in range(path.steps):
            x_0 = _denoised(path_model, x, path.times[step].expand(len(x)).to(x))
            x = path.step(step, x.to(x_0), x_0, noises[step + 1].to(x_0) if step + 1 < path.steps else None, before)
            before = x_0
        walked = rows(_finished(path_model, x))
        assert close(rows(_decoded(path_model, u)), walked, self.tolerance), "decode leaves the steps of its path"

    def test_fresh_noise_keeps_the_mean(self) -> None:
        """Samples with and without fresh noise have the same mean, up to chance and the error of the steps."""
        generator = self.make()
        noisy, calm = generator.stochastic(), generator.stochastic(0.0) if has_path(generator.space) else generator
        left, right = (_decoded(g, g.space.sample(self.draws, stream(3, "path-conformance"))) for g in (noisy, calm))
        if not (isinstance(left, Tensor) and isinstance(right, Tensor)):
            skip("samples are not tensors")
        a, b = left.flatten(1).double().cpu(), right.flatten(1).double().cpu()
        spread = (a.var(0) + b.var(0)).sqrt()
        allowed = (5 / self.draws**0.5 + self.bias) * spread + 1e-6
        assert bool(((a.mean(0) - b.mean(0)).abs() <= allowed).all()), "fresh noise moves the mean of the samples"

    def test_gradients_are_those_of_the_denoiser(self) -> None:
        """Where declared differentiable, autograd through denoise agrees with finite differences."""
        generator = self.make()
        if not generator.differentiable:
            skip("not declared differentiable")
        x, t = self.points(generator)
        weights = torch.randn(x.shape[1:], generator=stream(4, "path-conformance"))

        def functional(point: Tensor) -> Tensor:
            answer = generator.denoise(point, t)
            return (answer * weights.to(answer)).flatten(1).sum(1)

        error = slope_error(slopes(functional, x, 4, self.fd_step))
        assert error <= self.fd_tolerance, f"autograd and finite differences are {error:.2g} apart"


def _path(generator: DiffusionGenerator) -> Path:
    return path_of(generator.stochastic().space)


def _denoised(generator: DiffusionGenerator, x: Tensor, t: Tensor) -> Tensor:
    with torch.no_grad():
        return generator.denoise(x, t)


def _finished(generator: DiffusionGenerator, x_0: Tensor) -> Samples:
    with torch.no_grad():
        return generator.finish(x_0)


def _decoded(generator: DiffusionGenerator, u: Tensor) -> Samples:
    with torch.no_grad():
        return generator.decode(generator.space.latents(u))


def _calls(generator: DiffusionGenerator, x: Tensor, t: Tensor) -> int:
    ledger = Ledger()
    with Meter(generator.networks, ledger):
        _denoised(generator, x, t)
    return ledger.nfe
