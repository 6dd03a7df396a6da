"""What a method demands of generator and score beyond samples and values, refused early where they cannot give it."""

from __future__ import annotations

from zmax.core.errors import CapabilityError
from zmax.core.generator import Generator
from zmax.core.score import Score
from zmax.core.strategy import Need
from zmax.run.resolve import Method, method_name


def require_gradients(strategy: Method, generator: Generator, target: Score) -> None:
    """Raise CapabilityError if the method needs gradients, products or exact values that G or S cannot give."""
    if Need.SMOOTH in strategy.needs and target.noisy:
        raise CapabilityError(
            f"{method_name(strategy)!r} needs exact values, and the score {target.name!r} is noisy",
            remedy="choose a method that bears noise: 'gradient', 'cma', 'snes', 'random', or 'auto'",
        )
    if Need.GRADIENT in strategy.needs and not (generator.differentiable and target.differentiable):
        dark = [term.name for term in target.terms if term.differentiable is False]
        blind = generator.name if not generator.differentiable else next(iter(dark), target.name)
        raise CapabilityError(
            f"{method_name(strategy)!r} follows gradients, and {blind!r} gives none",
            remedy="choose a method for black boxes: 'cma', 'snes', 'random', or 'auto'",
        )
    if Need.JACOBIAN in strategy.needs and not generator.differentiable:
        raise CapabilityError(
            f"{method_name(strategy)!r} pulls gradients back through the generator, and {generator.name!r} gives none",
            remedy="choose a method that needs no gradient: 'cma', 'snes', 'random', or 'auto'",
        )


def require_latents(strategy: Method, target: Score) -> None:
    """Raise CapabilityError if constraints are on latents, and the method has points scored that none leads to."""
    on = next((one.name for one in target.constraints if one.judge.latents), "")
    if on and Need.BETWEEN in strategy.needs:
        raise CapabilityError(
            f"{method_name(strategy)!r} looks at points that no latent leads to, such as previews",
            expected="constraints on samples",
            got=f"{on!r}, which is on latents",
            remedy="choose a method that proposes latents, such as 'gradient', 'cma', 'noises' or 'random', or 'auto'",
        )
