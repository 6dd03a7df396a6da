"""Conformance suite of the Generator contract."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from zmax.core.generator import MODALITIES, Generator
from zmax.core.rng import stream
from zmax.core.samples import Samples, count
from zmax.testing.compare import close, rows, same, skip, slope_error, slopes


class GeneratorConformance:
    """Inherit, implement :meth:`make`, and let pytest collect the class.

    Attributes:
        n: batch size of the tests.
        tolerance: how far samples may move with the batch around them, relative to their scale.
        fd_step: step of the finite differences in u; small enough for the decoder's bends, large enough for its dtype.
        fd_tolerance: how far finite differences and autograd may be apart, relative.

    Example:
        >>> class TestMine(GeneratorConformance):
        ...     def make(self):
        ...         return zmax.generator(torch.nn.Linear(8, 2), shape=(8,))
    """

    n: ClassVar[int] = 5
    tolerance: ClassVar[float] = 1e-5
    fd_step: ClassVar[float] = 1e-2
    fd_tolerance: ClassVar[float] = 2e-2

    def make(self) -> Generator:
        """Return a generator under test; called once a test."""
        raise NotImplementedError("a conformance suite needs make()")

    def points(self, generator: Generator) -> Tensor:
        """Return the whitened points (n, d) that the tests decode; prior draws by default."""
        return generator.space.sample(self.n, stream(0, "conformance"))

    def test_describes_itself(self) -> None:
        """It has a name, a known modality and at least one network."""
        generator = self.make()
        assert generator.name, "a generator needs a name"
        assert generator.modality in MODALITIES, f"modality {generator.modality!r} is none of {MODALITIES}"
        assert len(generator.networks) > 0, "list the networks that decode runs, so that they can be counted"

    def test_returns_one_sample_a_latent(self) -> None:
        """N latents give n samples."""
        generator = self.make()
        u = self.points(generator)
        for n in (1, 2, len(u)):
            assert count(_decode(generator, u[:n])) == n, f"{n} latents must give {n} samples"

    def test_is_deterministic(self) -> None:
        """The same latents give the same samples, and the global random state is left alone."""
        generator = self.make()
        u = self.points(generator)
        before = torch.get_rng_state()
        first, second = rows(_decode(generator, u)), rows(_decode(generator, u))
        assert torch.equal(before, torch.get_rng_state()), "decode draws from the global random state"
        assert same(first, second), "two decodes of the same latents differ"

    def test_samples_do_not_depend_on_the_batch(self) -> None:
        """A latent gives the same sample alone, in any order and in any chunking."""
        generator = self.make()
        u = self.points(generator)
        whole = rows(_decode(generator, u))
        reverse = rows(_decode(generator, u.flip(0)))[::-1]
        assert close(whole, reverse, self.tolerance), "samples change with their order in the batch"
        for size in (1, 2, 3):
            parts = [sample for part in u.split(size) for sample in rows(_decode(generator, part))]
            assert close(whole, parts, self.tolerance), f"samples change when decoded {size} at a time"

    def test_depends_on_its_latents(self) -> None:
        """Different latents do not all give one sample."""
        generator = self.make()
        first, *others = rows(_decode(generator, self.points(generator)))
        assert any(not same(first, other) for other in others), "every latent gives the same sample"

    def test_latents_round_trip(self) -> None:
        """Whitening and mapping back gives the same latents, hence the same samples."""
        generator = self.make()
        u = self.points(generator)
        back = generator.space.whiten(generator.space.latents(u))
        again = rows(_decode(generator, back))
        assert back.shape == u.shape, "whitening changes the shape of u"
        tolerance = max(self.tolerance, 1e-3)  # float32 distribution functions and their inverses
        assert close(rows(_decode(generator, u)), again, tolerance), "u -> z -> u -> z gives other samples"

    def test_gradients_are_those_of_the_samples(self) -> None:
        """Where declared differentiable, autograd agrees with finite differences of a random linear functional."""
        generator = self.make()
        if not generator.differentiable:
            skip("not declared differentiable")
        u = self.points(generator)
        samples = _decode(generator, u)
        assert isinstance(samples, Tensor), "a differentiable generator returns tensors"
        weights = torch.randn(samples.shape[1:], generator=stream(1), dtype=torch.float64).to(samples)

        def functional(point: Tensor) -> Tensor:
            samples = generator.decode(generator.space.latents(point))
            assert isinstance(samples, Tensor), "a differentiable generator returns tensors"
            return (samples * weights).flatten(1).sum(1)

        error = slope_error(slopes(functional, u, 4, self.fd_step))
        assert error <= self.fd_tolerance, f"autograd and finite differences are {error:.2g} apart"

    def test_networks_are_called(self) -> None:
        """Each decode calls at least one of the declared networks, so that network evaluations are counted."""
        generator = self.make()
        calls: list[int] = []
        hooks = [network.register_forward_hook(lambda *_: calls.append(1)) for network in generator.networks]
        _decode(generator, self.points(generator))
        for hook in hooks:
            hook.remove()
        assert calls, "decode runs none of the declared networks through their __call__"

    def test_leaves_no_trace(self) -> None:
        """Decoding and differentiating changes no weight, flag, mode or stored gradient."""
        generator = self.make()
        before = condition(generator)
        u = self.points(generator).requires_grad_(bool(generator.differentiable))
        with torch.set_grad_enabled(bool(generator.differentiable)):
            samples = generator.decode(generator.space.latents(u))
            if generator.differentiable:
                assert isinstance(samples, Tensor), "a differentiable generator returns tensors"
                torch.autograd.grad(samples.sum(), u)
        assert torch.is_grad_enabled(), "decode leaves autograd switched off"
        assert same(before, condition(generator)), "decode changes weights, buffers, gradients, flags or modes"
        with torch.no_grad():
            plain = generator.decode(generator.space.latents(u))
        assert not (isinstance(plain, Tensor) and plain.requires_grad), "decode builds a graph under torch.no_grad()"


def _decode(generator: Generator, u: Tensor) -> Samples:
    with torch.no_grad():
        return generator.decode(generator.space.latents(u))


def condition(generator: Generator) -> list[object]:
    """Return copies of all that a decode must not change."""
    found: list[object] = []
    for network in generator.networks:
        found += [module.training for module in network.modules()]
        found += [tensor.detach().clone() for tensor in network.state_dict().values()]
        found += [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in network.parameters()]
    return found
