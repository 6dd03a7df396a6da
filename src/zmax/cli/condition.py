"""`zmax condition`."""

from __future__ import annotations

from typing import Annotated, Any

from zmax.cli.launch import carry_out, scored, starts
from zmax.core.settings import AND

Scores = Annotated[
    list[str],
    scored("A name of `zmax list scores` or file.py:attr; may be repeated: any of several scores can be asked for."),
]


@starts
def condition(*, score: Scores, **given: Any) -> int:
    """Train a generator to be asked for a score.

    \b
    Examples:
      zmax condition -g avatars-flow -s compressibility -n 4000 --out runs/asked
      zmax sample -g conditioned:runs/asked --ask -0.19

    \b
    It learns from scored samples of the generator. At the end it is asked for
    scores all over their law, and what came is compared with that: how far off,
    how sure, and between which scores to trust it. Interrupted or killed, it
    goes on with `zmax resume FOLDER`.
    """
    from zmax.run import condition as verb

    return carry_out(verb, score=AND.join(score), **given)
