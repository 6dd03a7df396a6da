"""`zmax sample`."""

from __future__ import annotations

from zmax.cli.options import Json, ShowProgress
from zmax.cli.starting import (
    BatchSize,
    Calls,
    Device,
    GeneratorName,
    HeldOut,
    Keep,
    MaxFailures,
    Method,
    Nfe,
    Out,
    Params,
    ScoreGrads,
    ScoreName,
    Seconds,
    Seed,
    Temperature,
    carry_out,
)


def sample(
    generator: GeneratorName,
    score: ScoreName,
    temperature: Temperature = 1.0,
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
    max_failures: MaxFailures = 0.5,
    out: Out = None,
    keep: Keep = 16,
    json: Json = False,
    progress: ShowProgress = None,
) -> int:
    """Draw samples of a generator's law tilted by a score.

    \b
    Example:
      zmax sample -g avatars-gan -s attribute:glasses -t 1 -n 4000 --out runs/drawn

    \b
    The law is p(x) exp(S(x) / T): a high temperature T leaves the generator as
    it is, a low one keeps its best. Methods that draw from it are those with a
    parameter temperature. Draws are kept in the run's folder beside the best.
    """
    from zmax import sample as verb

    return carry_out(
        verb,
        (generator, score, method),
        out,
        {"score_calls": calls, "nfe": nfe, "score_grads": score_grads, "seconds": seconds},
        param,
        json=json,
        device=device,
        temperature=temperature,
        held_out=held_out,
        seed=seed,
        batch_size=batch_size,
        max_failures=max_failures,
        keep=keep,
        progress=progress,
    )
