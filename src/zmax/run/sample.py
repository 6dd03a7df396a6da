"""The verb that draws from the tilted law instead of climbing to its top."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zmax.core.budget import Budget
from zmax.core.errors import CapabilityError, InputError
from zmax.core.generator import Generator
from zmax.core.methods import samplers
from zmax.core.score import Score
from zmax.core.strategy import Gives, StateT, Strategy
from zmax.diagnose import choose_sampler
from zmax.results.result import Result
from zmax.run.progress import Listener
from zmax.run.resolve import AUTO
from zmax.run.start import Verb, start


def sample(
    generator: Generator | str,
    score: Score | str | Callable[..., object],
    temperature: float | None = None,
    method: str | Strategy[StateT] = "auto",
    budget: int | Budget = 2000,
    seed: int = 0,
    batch_size: int = 32,
    held_out: Score | str | Callable[..., object] | None = None,
    out: str | Path | None = None,
    *,
    params: Mapping[str, object] | None = None,
    keep: int = 16,
    max_failures: float = 0.5,
    progress: bool | Listener | None = None,
) -> Result:
    r"""Draw from the generator's law tilted by a score.

    .. math:: p^*(u) \propto N(u; 0, I_d)\, \exp\big(S(G(z(u))) / \tau\big)

    At a high temperature the draws are samples of G, at a low one they are its best. Every point that the sampler
    visits is scored and journalled as in `maximize`, and the best of them is `result.best`; the draws are
    `result.population` (latents with their weights) and `result.draws` (`keep` samples of it, decoded).

    Args:
        generator, score, budget, seed, batch_size, held_out, out, params, max_failures, progress: as in `maximize`.
        temperature: tau, in units of the score; None means 1, or that of a method given as an instance.
        method: a sampler by name (those of `zmax.methods()` with a parameter `temperature`), an instance of one, or
            "auto".
        keep: how many draws are decoded, and how many of the best samples are kept.

    Returns:
        The result.

    Raises:
        InputError: something named does not exist, does not fit, or fails on the reference batch.
        CapabilityError: the method does not draw from a law.
        FailedRunError: too many evaluations failed on the way; what was scored is kept in `out`.

    Example:
        >>> import torch, zmax
        >>> G = zmax.generator(torch.nn.Identity(), shape=(2,), modality="vector")
        >>> r = zmax.sample(G, lambda x: 3 * x[:, 0], temperature=1.0, budget=4000)
        >>> population = r.population  # the exact law is N((3, 0), I)
        >>> bool((population.log_weight.exp().float() @ population.u)[0].sub(3).abs() < 0.5), len(r.draws)
        (True, 16)
    """
    return start(
        Verb("sample", choose_sampler, _temperature(method, temperature)),
        generator,
        score,
        method,
        budget=budget,
        params=params,
        held_out=held_out,
        out=out,
        progress=progress,
        seed=seed,
        batch_size=batch_size,
        keep=keep,
        max_failures=max_failures,
    )


def _temperature(method: str | Strategy[Any], temperature: float | None) -> dict[str, Any]:
    """Return the temperature as the argument that a named method is given.

    Raises:
        InputError: it is not positive, or is another than that of the instance.
        CapabilityError: the method does not draw from a law.
    """
    own = None
    if isinstance(method, Strategy):
        if Gives.DRAWS not in method.gives:
            raise _no_sampler(type(method).__name__)
        own = method.temperature  # type: ignore[attr-defined]
    elif method != AUTO and ":" not in method and method not in samplers():
        raise _no_sampler(method)
    given = temperature if temperature is not None else 1.0 if isinstance(method, str) else own
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given < math.inf:
        raise InputError("temperature", expected="a positive number, in units of the score", got=repr(given))
    if isinstance(method, str):
        return {"temperature": float(given)}
    if given != own:
        raise InputError("temperature beside a method that is an instance", expected=own, got=given)
    return {}


def _no_sampler(name: str) -> CapabilityError:
    return CapabilityError(f"{name!r} does not draw from a law", expected=f"one of {', '.join(samplers())}")
