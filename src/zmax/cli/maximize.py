"""`zmax maximize`."""

from __future__ import annotations

from zmax.cli.options import Json, ShowProgress
from zmax.cli.starting import (
    BatchSize,
    Calls,
    Device,
    GeneratorName,
    Guard,
    HeldOut,
    Keep,
    MaxFailures,
    Method,
    Nfe,
    Out,
    Params,
    Patience,
    ScoreGrads,
    ScoreName,
    Seconds,
    Seed,
    carry_out,
)


def maximize(
    generator: GeneratorName,
    score: ScoreName,
    method: Method = "auto",
    param: Params = None,
    held_out: HeldOut = None,
    seed: Seed = 0,
    batch_size: BatchSize = 32,
    device: Device = "cpu",
    calls: Calls = None,
    nfe: Nfe = None,
    score_grads: ScoreGrads = None,
    seconds: Seconds = None,
    guard: Guard = "retract",
    patience: Patience = None,
    max_failures: MaxFailures = 0.5,
    out: Out = None,
    keep: Keep = 16,
    json: Json = False,
    progress: ShowProgress = None,
) -> int:
    """Find samples of a generator that maximise a score.

    \b
    Example:
      zmax maximize -g avatars-gan -s attribute:glasses -n 2000 --out runs/glasses

    \b
    Keeps the run, a page (report.html) and the best samples in a folder, and
    prints how they compare with random samples. A run that is interrupted or
    killed goes on with `zmax resume FOLDER`.
    """
    from zmax import maximize as verb

    return carry_out(
        verb,
        (generator, score, method),
        out,
        {"score_calls": calls, "nfe": nfe, "score_grads": score_grads, "seconds": seconds},
        param,
        json=json,
        device=device,
        held_out=held_out,
        seed=seed,
        batch_size=batch_size,
        guard=guard,
        patience=patience,
        max_failures=max_failures,
        keep=keep,
        progress=progress,
    )
