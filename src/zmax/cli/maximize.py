"""`zmax maximize`."""

from __future__ import annotations

from typing import Any

from zmax.cli.asking import Ask, AwayFrom, Guidance, held
from zmax.cli.launch import GeneratorName, carry_out, starts


@starts
def maximize(
    *, generator: GeneratorName, ask: Ask = None, away_from: AwayFrom = None, guidance: Guidance = 0.0, **given: Any
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

    return carry_out(verb, generator=held(generator, ask, away_from, guidance), **given)
