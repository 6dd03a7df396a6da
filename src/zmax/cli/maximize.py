"""`zmax maximize`."""

from __future__ import annotations

from typing import Annotated, Any

from zmax.cli.asking import Ask, AwayFrom, Guidance, held
from zmax.cli.launch import NAMES, GeneratorName, carry_out, scored, starts
from zmax.cli.where import Where, narrowed
from zmax.core.settings import AND

Goals = Annotated[list[str], scored(f"{NAMES}; may be repeated, for the front of several goals.")]


@starts
def maximize(
    *,
    generator: GeneratorName,
    score: Goals,
    where: Where = None,
    ask: Ask = None,
    away_from: AwayFrom = None,
    guidance: Guidance = 0.0,
    **given: Any,
) -> int:
    """Find samples of a generator that maximise a score.

    \b
    Examples:
      zmax maximize -g avatars-gan -s attribute:glasses -n 2000 --out runs/glasses
      zmax maximize -g avatars-gan -s attribute:glasses --where 'brightness <= 0.4'
      zmax maximize -g avatars-gan -s attribute:glasses -s '1 - brightness'

    \b
    Keeps the run, a page (report.html) and the best samples in a folder, and
    prints how they compare with random samples. A run that is interrupted or
    killed goes on with `zmax resume FOLDER`.
    """
    from zmax import maximize as verb

    name = held(generator, ask, away_from, guidance)
    return carry_out(verb, generator=name, score=narrowed(AND.join(score), where), **given)
