"""The verb of the first road: maximise a score over a fixed generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from zmax.core.budget import Budget
from zmax.core.generator import Generator
from zmax.core.score import Score
from zmax.core.strategy import StateT, Strategy
from zmax.diagnose import choose
from zmax.results.result import Result
from zmax.run.progress import Listener
from zmax.run.start import Verb
from zmax.run.start import start as carried_out


def maximize(
    generator: Generator | str,
    score: Score | str | Callable[..., object] | Sequence[Score | str | Callable[..., object]],
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
    guard: str = "retract",
    start: object = None,
    strength: float = 0.5,
    patience: int | None = None,
    progress: bool | Listener | None = None,
) -> Result:
    r"""Find samples x = G(z) that maximise S(x) without leaving where the prior lives.

    .. math:: \max_u\ S(G(z(u))),\qquad u \sim N(0, I_d) \text{ typical}

    The run first scores a small reference batch of prior draws, which also shows whether G and S fit together; the
    rest of the budget is the method's. Everything is charged to the ledger.

    Args:
        generator: a Generator, or a name or path that `load_generator` understands.
        score: a Score, a callable samples -> (n,) values, or what `load_score` understands; or several of these, the
            goals of the run, which then has a front: `result.front`.
        method: a name (see `zmax.methods()`), an instance such as `zmax.search.CMA(step=0.3)`, or "auto".
        budget: score calls, or a `Budget`.
        seed: seed of all randomness; the same seed gives the same run.
        batch_size: samples decoded and scored together; lower it if memory runs out.
        held_out: a second score that no method sees; it judges the winners at the end.
        out: folder of the run, which then survives a crash; in memory when None.
        params: arguments for the method's constructor when it is given by name.
        keep: how many of the best distinct samples are kept.
        max_failures: share of failing evaluations above which the run stops.
        guard: what keeps samples where the prior lives: retract (they are moved back to its typical shell), penalise
            (they pay for leaving it, in units of the score's spread), natural (moved back, and samples pay for looking
            unlike the generator's), or report (plausibility is only shown).
        start: where to begin: the folder of a run (its best), a picture, or a CSV or Parquet file of latents and
            scores; from Python also latents, samples, a result, a frame or a pair (z, score). Latents are G's own z;
            samples are inverted, by the generator's encoder where it has one. What comes with scores is taken as
            evaluated, at no charge; the rest is scored first.
        strength: how far from a start to look first, as a share of new noise; of a path that share is gone anew.
        patience: stop once the held-out score has not risen for so many twentieths of the budget while the score has;
            without one, once the score has not.
        progress: a listener, True or False for a progress bar, None for one where a person watches.

    Returns:
        The result; `result.best` is the best final score seen, of several goals the sample whose least is highest.

    Raises:
        InputError: something named does not exist, does not fit, or fails on the reference batch.
        FailedRunError: too many evaluations failed on the way; what was scored is kept in `out`.

    Example:
        >>> import torch, zmax
        >>> G = zmax.generator(torch.nn.Identity(), shape=(16,), modality="vector")
        >>> r = zmax.maximize(G, lambda x: x[:, 0], method="gradient", budget=320)
        >>> r.best.score > 3.5, r.best.plausibility > 0.05
        (True, True)
    """
    return carried_out(
        Verb("maximize", choose),
        generator,
        score,
        method,
        budget=budget,
        params=params,
        held_out=held_out,
        out=out,
        progress=progress,
        guard=guard,
        at=start,
        strength=strength,
        seed=seed,
        batch_size=batch_size,
        keep=keep,
        max_failures=max_failures,
        patience=patience,
    )
